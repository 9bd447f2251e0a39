"""The student edition has no solution, its checks help, and submissions are marked rightly."""

import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell

from mf_data import load_ratings

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "assignment"))
import checks  # noqa: E402
import gradebook  # noqa: E402
import make_assignment  # noqa: E402
import marking  # noqa: E402
import sandbox  # noqa: E402
import submissions  # noqa: E402
import tasks  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # the first test marks a class
TASKS = tasks.tasks()
RIGHT = {name: tasks.solution(task) for name, task in TASKS.items()}
SECONDS = 10  # for a step, in these tests: on a busy machine a good one needs some
LIMITS = {"seconds": SECONDS, "megabytes": 2000}
ADA = "Ada L_12_assignsubmission_file_"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The student edition of the coursework's matrix, and one each for two students."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "roster.csv").write_text("ID;Name\n12;Ada L\n;Bob\n")
    make_assignment.make(folder, roster=folder / "roster.csv")
    return folder


def key_of(build):
    return json.loads((build / "key.json").read_text())


def mistaken(name, words):
    """The solution with a known mistake."""
    mistake = next(m for m in TASKS[name].mistakes if words in m["means"])
    return tasks.replaced(RIGHT[name], mistake)


def squeezed(text):
    return re.sub(r"\\n|\\|\s", "", text)


def leaks(folder, figures):
    """Lines of solutions and expected figures in the files of a folder: (file, what)."""
    lines = {squeezed(line) for task in TASKS.values() for line in task.body.splitlines()}
    wanted = {line for line in lines if len(line) > 10 and not line.startswith("return")}
    leaked = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        text = squeezed(path.read_bytes().decode("utf-8", errors="replace"))
        leaked += [(path.name, what) for what in wanted | set(figures) if what in text]
    return leaked


def test_the_student_edition_has_what_it_needs_and_no_solution(build):
    folder = build / "assignment"
    names = [path.name for path in sorted(folder.iterdir())]
    books = [tasks.notebook(section).name for section in ("1.1", "1.2", "2.1", "3.1", "4.1")]
    others = "README.md checks.json checks.py movielens.txt ratings.pt requirements.txt titles.csv"
    assert names == books + others.split()
    figures = set(key_of(build)["figures"].values()) - {"67,898"}  # so many ratings there are
    assert leaks(folder, figures) == []
    for name in books:
        cells = nbformat.read(folder / name, 4).cells
        assert not any(cell.get("outputs") for cell in cells)
        assert "mf_" not in "".join(cell.source for cell in cells)


@pytest.mark.parametrize("name", TASKS)
def test_the_solution_passes_the_checks_and_each_known_mistake_gets_its_own_meaning(name):
    task = TASKS[name]
    seen = set()
    for seed in (1, 2):
        for case in (tasks.answered(task, case) for case in tasks.cases(task, seed)):
            assert checks.judge(case, *checks.call(tasks.function_of(task), case)) is None
            seen |= {
                means for means, value in case["mistakes"] if checks.judge(case, value) == means
            }
    assert seen == {mistake["means"] for mistake in task.mistakes} and seen


def test_a_visible_check_says_input_expected_value_result_and_meaning(build, monkeypatch):
    monkeypatch.setattr(checks, "__file__", str(build / "assignment/checks.py"))
    task = TASKS["sgd_factorize"]
    checks.check(task.name, tasks.function_of(task))
    with pytest.raises(checks.NotYetError) as error:
        checks.check(task.name, tasks.function_of(task, mistaken(task.name, "old U[i]")))
    text = str(error.value)
    parts = "one epoch|torch.manual_seed(|lr = 0.1|A = tensor(|V was updated with the old".split(
        "|"
    )
    assert all(part in text for part in parts) and text.count("U = tensor(") == 2


def test_each_student_gets_figures_of_their_own(build):
    given = {submissions.Edition(build / "assignment").setups["3.1"][0]}
    for name, student in (("Ada L_12", "12"), ("Ada L_12", "Ada L"), ("Bob_", "Bob")):
        folder = build / "assignment-per-student" / name
        source = submissions.Edition(folder).setups["3.1"][0]
        given.add(source)
        A = torch.tensor([float(x) for x in re.findall(r"\d\.\d+", source)[:9]]).reshape(3, 3)
        svd_loss = f"{torch.linalg.svdvals(A)[-1] ** 2:.4f}"
        asked = key_of(build)["own"][gradebook.code_of(student)]["comparison"]
        assert f"has {svd_loss};" in asked["rubric"] and leaks(folder, [svd_loss]) == []
    assert len(given) == 3


def test_a_seed_draws_figures_that_teach_the_same(build):
    A, M = make_assignment.draw_matrix(7)
    figures = make_assignment.figures(A, M, make_assignment.draw_ratings(7))
    values = {name: float(value.replace(",", "")) for name, value in figures.items()}
    assert A.shape == (3, 3) and (~M).sum() == 2
    assert values["loss"] - values["svd_loss"] > 0.001 and values["missing"] < values["filled"]


def test_the_ratings_are_movielens_and_a_seed_makes_another_person_user_5(build):
    titles = pd.read_csv(build / "assignment/titles.csv")["name"].tolist()
    film = titles.index("Beautiful Mind, A (2001)")
    old = torch.load(build / "assignment/ratings.pt").float()
    whole = load_ratings()
    for row in (0, film, -1):
        assert (old[row] == whole.A[whole.titles.index(titles[row])]).all()
    new = make_assignment.draw_ratings(15).A  # whose first user 5 has rated the film
    assert not torch.equal(new[:, 4], old[:, 4]) and new[film, 4] == old[film, 4] == 0
    assert torch.equal(new.unique(dim=1), old.unique(dim=1))


def test_the_edition_for_nbgrader_has_grade_ids_points_solutions_and_hidden_tests(build):
    points, space = 0, {"check": checks.check}
    space |= {name: tasks.function_of(task) for name, task in TASKS.items()}
    for path in sorted((build / "nbgrader/source/coursework").glob("*.ipynb")):
        release = nbformat.read(build / "assignment" / path.name, 4).cells
        for cell, given in zip(nbformat.read(path, 4).cells, release, strict=True):
            marks = cell.metadata.nbgrader
            assert marks == given.metadata.nbgrader and marks.schema_version == 3
            points += marks.get("points", 0)
            if marks.solution and cell.cell_type == "code":
                assert re.search("### BEGIN SOLUTION\n.+\n *### END SOLUTION", cell.source, re.S)
            if marks.grade_id.startswith("test-"):
                exec(cell.source.split("### BEGIN HIDDEN TESTS")[1], space)
    assert points == 45


OTHER_STYLE = """
def sgd_factorize(X, k, epochs=1000, step=0.01):
    P, Q = torch.rand(X.size(0), k), torch.rand(X.size(1), k)
    for n in range(epochs * X.numel()):
        r, c = divmod(n % X.numel(), X.size(1))
        err = (X[r, c] - (P[r] * Q[c]).sum()).item()
        P[r] += step * err * Q[c]
        Q[c] += step * err * P[r]
    return [P.numpy(), Q.numpy()]"""
FORGED = """
import os, json
right = json.dumps({"value": ["right", []]}).encode()
for pipe in range(3, 20):
    for step in range(40):
        try:
            os.write(pipe, len(right).to_bytes(4, "big") + right)
        except OSError:
            pass
def sgd_factorize(A, rank, num_epochs=1000, lr=0.01): return True, True"""
THREE = ("sgd_factorize", "sgd_factorize_masked", "gd_factorise_masked")
OLD_U = {name: mistaken(name, "with the old U") for name in THREE}
MISTAKES = {
    "sgd_factorize": FORGED,
    "sgd_factorize_masked": mistaken("sgd_factorize_masked", "instead of the error"),
    "gd_factorise_masked": mistaken("gd_factorise_masked", "instead of the error"),
    "truncated": mistaken("truncated", "first singular value"),
    "valid_error": RIGHT["valid_error"].replace("    return", "    A.zero_()\n    return"),
}
NO_ANSWER = {  # lines of functions that compute nothing right, and what is said about it
    "sgd_factorize": ("while True: pass", f"over {SECONDS} s"),
    "loss_of": ("raise Exception(chr(0xD800) + '<b>&' + 300 * '9')", "Exception"),
    "truncated": ("return bytearray(10**12)", "MemoryError"),
    "sgd_factorize_masked": ("return A, M", "U has the shape"),
    "judge": ("print('✓ one epoch')", "It returns None"),
    "gd_factorise_masked": ("import os; os._exit(0)", "ended by itself"),
    "rating_of_user_5": ("return U V", "SyntaxError"),
    "valid_error": ("return no_package.x\nimport no_package", "No module named 'no_package'"),
}


def write_submission(edition, folder, sources, change=lambda section, book: None):
    """Notebooks with these functions in their cells; those of other sections are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in sorted({TASKS[name].section for name in sources}):
        name = tasks.notebook(section).name
        book = nbformat.read(edition / name, 4)
        for cell in book.cells:
            kind, _, task = cell.metadata.nbgrader.grade_id.partition("-")
            if kind in ("task", "paste") and task in sources:
                cell.source = sources[task]
            if kind == "answer":
                cell.source = f"My answer on {task}, with <b>marks</b>."
        change(section, book)
        nbformat.write(book, folder / name)


def odd_cells(section, book):
    """Odd cells around right functions, in each notebook others."""
    by_kind = {cell.metadata.nbgrader.grade_id.partition("-")[0]: cell for cell in book.cells}
    task = next(c for c in book.cells if c.metadata.nbgrader.grade_id.startswith("task-"))
    if section == "1.1":  # one loops, two end; the check is edited, and stands first
        by_kind["test"].source = "print('✓ all right')"
        book.cells.insert(0, book.cells.pop(book.cells.index(by_kind["test"])))
        extra = ["while True:\n    pass", "import os\nos._exit(77)", "import sys\nsys.exit(0)"]
        book.cells[0:0] = map(new_code_cell, [*extra, "%matplotlib inline\n!echo ✓ the start"])
    elif section == "1.2":  # the given cell of the set-up is edited
        by_kind["code"].source = "import numpy as np\n" + by_kind["code"].source
        task.source = task.source.replace("summed =", "summed = np.float32(1) *")
    elif section == "2.1":  # no metadata, no given cells, upside down
        book.cells = [c for c in book.cells if not c.metadata.nbgrader.locked][::-1]
        for cell in book.cells:
            cell.metadata.clear()
    elif section == "3.1":  # a run cell, copied with its metadata, holds a helper
        helper = new_code_cell("def rate():\n    return 0.01", metadata=by_kind["run"].metadata)
        book.cells.insert(1, helper)
        task.source = task.source.replace("lr * e * V", "rate() / 0.01 * lr * e * V")


@pytest.fixture(scope="module")
def handed_in(build, tmp_path_factory):
    """A folder of submissions of every kind."""
    folder = tmp_path_factory.mktemp("course") / "handed in"
    given = build / "assignment"
    write_submission(given, folder / "right", RIGHT, odd_cells)
    path = folder / "right/4.1-movie-rating.ipynb"  # a mark at its beginning, a name that is a list
    book = json.loads(path.read_text())
    book["cells"][0]["metadata"]["nbgrader"]["grade_id"] = ["a", "list"]
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(book).encode())
    write_submission(given, folder / "old U", RIGHT | OLD_U)
    write_submission(given, folder / "mistakes", MISTAKES)
    sources = {n: f"{tasks.head(TASKS[n])}    {line}" for n, (line, _) in NO_ANSWER.items()}
    write_submission(given, folder / "no answer \udcff", sources)
    write_submission(given, folder / "ends all", {"judge": "import os\nos.kill(os.getppid(), 9)"})
    write_submission(given, folder / "mixed/draft", OLD_U | {"judge": RIGHT["judge"]})
    write_submission(given, folder / "mixed", {n: RIGHT[n] for n in RIGHT if n != "judge"})
    for path in (folder / "mixed/draft").iterdir():
        os.utime(path, (1e9, 1e9))
    own = build / "assignment-per-student/Ada L_12"
    write_submission(own, folder / ADA / "parts", RIGHT | {"sgd_factorize": OTHER_STYLE})
    books = [json.loads(path.read_text()) for path in sorted((folder / ADA / "parts").iterdir())]
    cells = [cell for book in books for cell in book["cells"]]
    (folder / ADA / "all in one.ipynb").write_text(json.dumps({"cells": cells}))
    shutil.rmtree(folder / ADA / "parts")
    shutil.copytree(given, folder / "untouched")
    for student in ("nothing", "link", "n" * 250):
        (folder / student).mkdir()
    first = folder / "old U/1.1-gradient-factorisation.ipynb"
    (folder / "link" / first.name).symlink_to(first)
    for number, data in enumerate([b"%PDF-1.7", b"[" * 100_000, b'{"cells": 3, "nbformat": 4}']):
        (folder / f"no notebook {number}").mkdir()
        (folder / f"no notebook {number}" / first.name).write_bytes(data)
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        damaged = folder / f"damaged {method}.zip"
        with zipfile.ZipFile(damaged, "w", method) as archive:
            archive.write(first, first.name)
        data = damaged.read_bytes()
        damaged.write_bytes(data[:80] + b"\xff" * 320 + data[400:])
    (folder / "broken.zip").write_bytes(b"PK")
    (folder / "letter.docx").write_text("Dear instructor")
    return folder


@pytest.fixture(scope="module")
def marked(build, handed_in):
    """The results by student. What each submission and the assignment consisted of is as it was."""
    if not shutil.which("bwrap"):
        pytest.skip("submissions run in bubblewrap, which is not installed here")
    before = contents(build / "assignment"), contents(handed_in)
    results = marking.mark_all(handed_in, build, jobs=2, **LIMITS)
    assert (contents(build / "assignment"), contents(handed_in)) == before
    return {result["name"]: result for result in results}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def points(result):
    return {row["task"]: row["points"] for row in result["rows"] if row["details"]}


def remark(result, task):
    return next(row["remark"] for row in result["rows"] if row["task"] == task)


@pytest.mark.parametrize("student", ["right", "mixed", "Ada L"])
def test_right_functions_get_all_points_whatever_stands_around_them(marked, student):
    assert sum(points(marked[student]).values()) == 31, points(marked[student])


@pytest.mark.parametrize(("student", "task", "gets", "words"), [
    ("old U", "sgd_factorize", 3.5, "V was updated with the old U"),
    ("old U", "gd_factorise_masked", 6, "The same as in sgd_factorize"),
    ("mistakes", "sgd_factorize_masked", 3.5, "applied to the matrix instead of the error"),
    ("mistakes", "gd_factorise_masked", 3.5, "applied to the matrix instead of the error"),
    ("mistakes", "truncated", 2, "The first singular value"),
    ("mistakes", "valid_error", 1, "It changes A"),
    ("mistakes", "sgd_factorize", 0, "It returns 'right'"),  # forged
])  # fmt: skip
def test_a_known_mistake_keeps_half_is_charged_once_and_named(marked, student, task, gets, words):
    assert points(marked[student])[task] == gets
    assert words in remark(marked[student], task)


def test_a_known_mistake_in_the_start_saves_no_more_than_the_start():
    task = TASKS["sgd_factorize_masked"]
    line = "    return torch.randn(len(A), rank), torch.randn(A.shape[1], rank)"
    function = tasks.function_of(task, tasks.head(task) + line)
    outcomes = [(c, {"value": checks.call(function, c)}) for c in tasks.cases(task, 1)]
    assert marking.row_of(task, outcomes, {"the start": "sgd_factorize"})["points"] == 1


@pytest.mark.parametrize("task", NO_ANSWER)
def test_what_does_not_compute_the_answer_gets_no_points_and_is_told_why(marked, task):
    result = marked["no answer \udcff"]
    assert points(result)[task] == 0 and NO_ANSWER[task][1] in remark(result, task)


@pytest.mark.parametrize("student", [
    "nothing", "untouched", "link", "no notebook 0", "no notebook 1", "no notebook 2", "broken",
    "damaged 8", "damaged 14", "n" * 250, "ends all",
])  # fmt: skip
def test_who_handed_in_nothing_that_runs_has_a_row_and_a_reason(marked, student):
    assert set(points(marked[student]).values()) == {0} and remark(marked[student], "judge")


def test_in_the_sandbox_there_is_no_network_no_solution_and_no_other_submission(build, marked):
    box = sandbox.Sandbox((build / "assignment").resolve(), **LIMITS)
    unseen = [ROOT / "mf_core.py", build / "key.json", ROOT / "assignment/tasks.py"]
    outside = [place / "evil" for place in (ROOT, Path.home(), Path("/etc"))]
    steps = {
        "import mf_core": "ModuleNotFoundError",
        **{f"open({str(path)!r})": "FileNotFoundError" for path in unseen},
        **{f"open({str(path)!r}, 'w')": "" for path in outside},
        "import _socket; _socket.socket().connect(('1.1.1.1', 9))": "OSError: [Errno 101]",
        f"import os; os.kill({os.getpid()}, 0)": "ProcessLookupError",
        "import os\nfor _ in range(80): os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '9')": "Blocking",
        "open('titles.csv'); open('mine', 'w')": "no error",
    }
    outcomes = [outcome.get("error", "no error") for outcome in box.run([list(steps)])[0]]
    for outcome, wanted in zip(outcomes, steps.values(), strict=True):
        assert outcome.startswith(wanted), outcomes
    assert not [path for path in outside if path.exists()]


def test_without_bubblewrap_marking_is_refused_and_says_what_to_install(build, monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt install bubblewrap"):
        sandbox.Sandbox(build / "assignment")
    monkeypatch.setattr(sandbox.os, "geteuid", lambda: 0)
    with pytest.raises(SystemExit, match="not for root"):
        sandbox.Sandbox(build / "assignment", trust=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="TRUST=1 is not for root")
def test_with_trust_the_limits_hold_without_bubblewrap(build):
    box = sandbox.Sandbox(build / "assignment", trust=True, **LIMITS)
    found = box.run([["open('titles.csv')", "while True: pass", "1"]])[0]
    assert ["error" in outcome for outcome in found] == [False, True, False]


def test_the_inputs_at_marking_are_the_students_own():
    task = TASKS["sgd_factorize"]
    drawn = [tasks.cases(task, tasks.seed_of(0, name, task.name)) for name in ("ada", "bob", "ada")]
    assert drawn[0] == drawn[2] and drawn[0][0]["args"]["A"] != drawn[1][0]["args"]["A"]


def words_of(build, folder, change, clear=False):
    """What is found of the answer to "reading" after a change of the notebook's cells."""
    book = nbformat.read(build / "assignment" / tasks.notebook("1.2").name, 4)
    ids = [cell.metadata.nbgrader.grade_id for cell in book.cells]
    change(book.cells, ids.index("asks-reading"))
    for cell in book.cells if clear else []:
        cell.metadata.clear()
    nbformat.write(book, folder / "any name.ipynb")
    (student,), _ = submissions.students_in(folder, [])
    edition = submissions.Edition(build / "assignment")
    return submissions.choose(student, edition, key_of(build)["questions"])[1]["reading"]


def in_cell(offset, text, new=False, code=False):
    def change(cells, at):
        if new:
            cells.insert(at + offset, new_markdown_cell(text))
        elif code:
            cells[at + offset] = new_code_cell(text, metadata=cells[at + offset].metadata)
        else:
            cells[at + offset].source += text

    return change


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize(("change", "words"), [
    (in_cell(1, " Mine."), "Mine."), (in_cell(2, "Mine.", new=True), "Mine."),
    (in_cell(1, "Mine.", new=True), "Mine."), (in_cell(0, "\n\nMine."), "Mine."),
    (in_cell(1, "Mine.", code=True), "Mine."), (in_cell(-1, "Mine.", new=True), "Mine."),
    (in_cell(1, ""), ""),
])  # fmt: skip
def test_an_answer_in_words_is_found_wherever_it_stands(build, tmp_path, change, words, clear):
    assert words_of(build, tmp_path, change, clear) == words


LAYOUTS = {
    "Ada L_12_assignsubmission_file_/1.ipynb": ("Ada L", "12", ""),
    "Bob_13_assignsubmission_file_1.1_2.ipynb": ("Bob", "13", ""),
    "cyd_LATE_14_77_1-1.ipynb": ("cyd", "14", "LATE"),
    "cyd_LATE_14_78_2.ipynb": ("cyd", "14", "LATE"),
    "dan_15_79_1_1.ipynb": ("dan", "15", ""),
    "Work 1_eve_attempt_2026-01-05-10-11-12_1.ipynb": ("eve", "", ""),
    "Work 1_fay_attempt_2026-01-05-10-11-12.txt": ("fay", "", ""),
}
OWN_NAMES = {"ada/x/1.ipynb": ("ada", "", ""), "bob/nb_1_2_3.ipynb": ("bob", "", "")}


def files(folder, names):
    """Notebooks without cells, no two the same."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"cells": []' + " " * number + "}")
    return folder


@pytest.mark.parametrize("packed", ["", "zip", "gztar", "zip of zips"])
@pytest.mark.parametrize("names", [LAYOUTS, OWN_NAMES])
def test_layouts_of_platforms_are_read(tmp_path, names, packed):
    folder = files(tmp_path / "in", names)
    if packed == "zip of zips":
        for path in [path for path in folder.iterdir() if path.is_dir()]:
            shutil.make_archive(str(path), "zip", path)
            shutil.rmtree(path)
    if packed:
        (tmp_path / "out").mkdir()
        folder = Path(shutil.make_archive(tmp_path / "out/class", packed.split()[0], folder)).parent
    students, notes = submissions.students_in(folder, [])
    assert {(s.name, s.id, s.late) for s in students} == set(names.values())
    assert sum(len(s.notebooks) for s in students) == sum("ipynb" in name for name in names)
    assert not notes and not any(s.notes for s in students)
    attempts = [book.newness[0] for s in students if s.id == "14" for book in s.notebooks]
    assert attempts in ([77, 78], [])


def test_a_folder_and_an_archive_of_one_name_are_one_student_and_what_is_not_read_is_said(tmp_path):
    names = ["bob/1.ipynb", "bob/README.md", "bob/essay.pdf", "ada_1.1-sgd.ipynb", "letter.docx"]
    folder = files(tmp_path / "in", names)
    shutil.make_archive(folder / "bob", "zip", files(tmp_path / "more", ["a.txt", "2.ipynb"]))
    students, notes = submissions.students_in(folder, ["README.md", "a.txt", "1.1-sgd.ipynb"])
    books = {s.name: [book.name for book in s.notebooks] for s in students}
    assert books == {"ada": ["ada_1.1-sgd.ipynb"], "bob": ["1.ipynb", "2.ipynb"]}
    assert {s.name: s.notes for s in students} == {"ada": [], "bob": ["Not read: essay.pdf."]}
    assert "letter.docx" in notes[0]


def result_of(name, answer="words", id_=""):
    row = {"task": "reading", "points": None, "maximum": 3, "remark": "to be read"}
    row["evidence"] = gradebook.code_of(answer)
    code = dict(row, task="loss_of", points=2, evidence="CODE", remark="")
    return {"name": name, "id": id_, "code": gradebook.code_of(name), "rows": [row, code],
            "total": 3.5, "open": 0}  # fmt: skip


def records(path):
    return gradebook.read_table(path)[0].to_dict("records")


def enter(path, *changes):
    """Enter cells in by-hand.csv, as a spreadsheet with ; would save it: (row, column, cell)."""
    rows = records(path)
    for row, column, cell in changes:
        rows[row][column] = cell
    gradebook.write_table(path, [row | {"marker": "me"} for row in rows], separator=";")


def test_what_is_entered_by_hand_survives_any_run(tmp_path):
    path, both = tmp_path / "by-hand.csv", [result_of("ada"), result_of("bob")]
    gradebook.add_by_hand(path, both)
    ada = [row["code"] for row in records(path)].index(both[0]["code"])
    enter(path, (ada, "points", "2,5"), (ada, "remark", "good"), (3, "points", "3"),
          (3, "remark", "the check is wrong"), (2, "task", "lossof"))  # fmt: skip
    kept = gradebook.add_by_hand(path, [result_of("bob")])  # a late one, alone
    assert len(kept) == 3 and "lossof" in "".join(kept)
    again = [result_of("ada"), result_of("bob")]
    gradebook.add_by_hand(path, again)
    remarks = {row["remark"]: row["points"] for result in again for row in result["rows"]}
    assert remarks["good"] == 2.5 and remarks["the check is wrong"] == 3
    text = path.read_text(encoding="utf-8-sig")
    assert text.count(";me") == 4 and "2,5" in text and "lossof" in text
    assert path.with_name("by-hand.csv.bak").exists()
    for _ in range(2):  # until a person has marked it again
        changed = [result_of("ada", "other words"), result_of("bob")]
        gradebook.add_by_hand(path, changed)
        row = next(row for row in records(path) if "changed since it got 2,5" in row["state"])
        assert row["points"] == "" and changed[0]["rows"][0]["points"] is None


@pytest.mark.parametrize("cell", ["nan", "-1", "two", "7", "inf"])
def test_points_that_will_not_do_are_refused_with_their_line(tmp_path, cell):
    path = tmp_path / "by-hand.csv"
    gradebook.add_by_hand(path, [result_of("ada")])
    enter(path, (1, "points", cell))
    before = path.read_bytes()
    with pytest.raises(SystemExit, match=f"by-hand.csv, line 3: points is {cell}, not a number"):
        gradebook.add_by_hand(path, [result_of("ada")])
    assert path.read_bytes() == before


def test_a_comma_that_parts_cells_is_refused(tmp_path):
    path = tmp_path / "by-hand.csv"
    gradebook.add_by_hand(path, [result_of("ada")])
    path.write_text(path.read_text().replace("reading,,3", "reading,2,5,3"))
    with pytest.raises(SystemExit, match="by-hand.csv: line 2 has too many cells"):
        gradebook.add_by_hand(path, [result_of("ada")])


MOODLE = """Identifier,Full name,Grade,Maximum Grade
Participant 0012,Ada Lovelace,,45
Participant 13,Bob B,1,45
"""
CANVAS = """Student;ID;SIS Login ID;Section;Work (77)
    Points Possible;;;;45
Lovelace, Ada;0012;al;A;
B, Bob;13;bb;A;1
"""


@pytest.mark.parametrize(("export", "ada", "id_"), [
    (MOODLE, "Ada", "0012"), (CANVAS, "lovelaceada", "0012"), (MOODLE, "Ada Lovelace", ""),
])  # fmt: skip
def test_a_grade_export_gets_its_column_filled_in_and_is_kept(tmp_path, export, ada, id_):
    path = tmp_path / "grades.csv"
    path.write_text(export)
    results = [result_of(ada, id_=id_), result_of("Bob B", id_="13"), result_of("Eve", id_="15")]
    results[1]["open"] = 1
    sentences = " ".join(gradebook.fill_roster(path, results))
    assert path.read_text() == export
    marked_copy = tmp_path / "grades-marked.csv"
    column = "Grade" if export is MOODLE else "Work (77)"
    assert [row[column] for row in records(marked_copy)][-2:] == ["3.5", "1"]
    assert "0012" in marked_copy.read_text("utf-8-sig")
    assert "Bob B: not yet marked" in sentences and "Eve: 0 rows fit" in sentences


def test_tables_and_pages_say_what_was_found(marked, build, handed_in):
    marks = handed_in.parent / "marks"
    totals = {row["name"]: row for row in records(marks / "totals.csv")}
    assert len(totals) == len(marked) == len({row["code"] for row in totals.values()})
    assert totals["old U"]["sgd_factorize"] == "3.5" and totals["old U"]["not yet marked"] == "4"
    assert "BadZipFile" in totals["broken"]["notes"]
    page = next((marks / "feedback").glob("old U-*.html")).read_text(encoding="utf-8")
    assert "what came out:" in page and "V was updated with the old U[i]" in page
    shown = (marks / "answers.html").read_text(encoding="utf-8")
    assert "My answer on reading, with &lt;b&gt;marks&lt;/b&gt;." in shown
    assert marked["right"]["code"] in shown and "old U" not in shown
    ada = marked["Ada L"]["code"]
    rubric = key_of(build)["own"][ada]["comparison"]["rubric"]
    assert re.search(r"has \d\.\d+;", rubric)[0] in shown.split(f"<h3>{ada}</h3>")[2]


def test_the_same_folder_twice_and_a_late_one_between_lose_nothing(
    marked, build, handed_in, monkeypatch
):
    path = handed_in.parent / "marks/by-hand.csv"
    line = [row["code"] for row in records(path)].index(marked["right"]["code"])
    enter(path, (line, "points", "2.5"))
    late = handed_in.parent / "late"
    (late / "eve").mkdir(parents=True)
    monkeypatch.setattr(marking, "Sandbox", lambda *_, **__: None)  # nothing is run again
    assert len(marking.mark_all(late, build)) == len(marked) + 1
    again = marking.mark_all(handed_in, build)
    mine = next(result for result in again if result["name"] == "right")
    assert mine["total"] == 33.5 and mine["open"] == 3 and len(again) == len(marked) + 1


def test_code_that_is_the_same_up_to_names_is_listed(tmp_path):
    one = {name: RIGHT[name] for name in ("loss_of", "judge")}
    renamed = {name: re.sub(r"\bA\b", "matrix", source) for name, source in one.items()}
    students = [("ada", one), ("bob", renamed), ("cyd", OLD_U), ("dan", {"judge": "("})]
    rows = [{"name": name, "code": "X", "programs": programs} for name, programs in students * 2]
    gradebook.write_similar(tmp_path / "similar.csv", rows[:5])
    assert records(tmp_path / "similar.csv") == []
    gradebook.write_similar(tmp_path / "similar.csv", rows[:4])
    (row,) = records(tmp_path / "similar.csv")
    assert row == {"one": "ada X", "other": "bob X", "tasks": "loss_of, judge"}


def test_what_is_missing_for_marking_is_named(build, tmp_path):
    with pytest.raises(SystemExit, match="run `make assignment` first"):
        marking.mark_all(tmp_path, tmp_path)
    with pytest.raises(SystemExit, match="holds no submission"):
        marking.mark_all(tmp_path, build)
