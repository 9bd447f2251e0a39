"""The student edition has no solution, its checks help, and submissions are marked rightly."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import make_assignment
import marking
import nbformat
import pandas as pd
import pytest
import sandbox
import submissions
import tasks
import torch
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell

import mf_check
from mf_data import load_coursework_matrix, load_ratings
from mf_exercise import function_of, outcome_of, with_answers, with_mistakes

pytestmark = pytest.mark.timeout(600)  # one test waits for the marks of a class
TASKS = tasks.all_tasks()
RIGHT = {name: task.solution for name, task in TASKS.items()}
SECONDS = 5  # for a step, in these tests: on a busy machine a good one needs some
LIMITS = {"seconds": SECONDS, "megabytes": 2000}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Both editions of the coursework's matrix."""
    folder = tmp_path_factory.mktemp("build")
    make_assignment.make(folder)
    return folder


def mistaken(name, *words):
    """The solution with the known mistakes that these words are of."""
    task = TASKS[name]
    found = [next(m for m in task.mistakes if some in m["means"]) for some in words]
    return with_mistakes(task, *found)


def test_student_edition(build):
    """It has what it needs, and no line of a solution, no figure, no output."""
    folder = build / "assignment"
    names = [path.name for path in sorted(folder.iterdir())]
    books = [tasks.notebook(section).name for section in ("1.1", "1.2", "2.1", "3.1", "4.1")]
    others = "README.md checks.json checks.py movielens.txt ratings.pt requirements.txt titles.csv"
    assert names == books + others.split()
    secret = set()
    for task in TASKS.values():
        lines = task.solution.removeprefix(task.head).split("\n")
        secret |= {re.sub(r"\s", "", line) for line in lines if len(line) > 20}
    assert len(secret) > 20
    for path in folder.iterdir():
        text = re.sub(r"\\n|\\|\s", "", path.read_bytes().decode("utf-8", errors="replace"))
        assert not [what for what in secret if what in text], path
    for name in books:
        cells = nbformat.read(folder / name, 4).cells
        assert not any(cell.get("outputs") for cell in cells)
        source = "".join(cell.source for cell in cells)
        assert "mf_" not in source and "factoriz" not in source


@pytest.mark.parametrize("name", TASKS)
def test_known_mistakes(name):
    """Drawn inputs take the solution, and tell each mistake from it and from all others.

    The first that seed 10 draws for valid_error hardly do, and so are drawn again.
    """
    task, seen = TASKS[name], set()
    for case in (with_answers(task, case) for case in tasks.cases(task, 10)):
        assert mf_check.recognise(case, outcome_of(task, task.solution, case)) == []
        for meanings, outcome in case["mistakes"]:
            compile(mistaken(name, *meanings), name, "exec")
            found = mf_check.recognise(case, outcome)
            is_far = not mf_check.alike(outcome, case["expected"], 1e-3)  # ten times the tolerance
            seen |= set(meanings) if is_far else set()
            assert found in (meanings, [])
    assert seen == {mistake["means"] for mistake in task.mistakes} and seen


@pytest.mark.parametrize("seed", [0, 7])
def test_matrix_teaches(seed):
    """What the questions ask about shows from four in five seeds, not those it was drawn with."""
    A, M = make_assignment.draw_matrix(seed)
    assert A.shape == (3, 3) and (~M).sum() == 2
    assert torch.equal(A, load_coursework_matrix()[0]) == (seed == 0)
    assert make_assignment.teaches(A, M, range(1000, 1300)) >= 0.75
    assert make_assignment.teaches(torch.ones(3, 3), M) == 0  # their mean is the missing entry


def test_ratings(build):
    """They are MovieLens', and user 5 has not rated the film."""
    titles = pd.read_csv(build / "assignment/titles.csv")["name"].tolist()
    film = titles.index("Beautiful Mind, A (2001)")
    A, whole = torch.load(build / "assignment/ratings.pt").float(), load_ratings()
    for row in (0, film, -1):
        assert (A[row] == whole.A[whole.titles.index(titles[row])]).all()
    assert A[film, 4] == 0


def test_nbgrader_edition(build, monkeypatch):
    """It has grade ids, points, solutions, and tests, visible and hidden, that these pass."""
    monkeypatch.setattr(mf_check, "__file__", str(build / "assignment/checks.py"))
    points, space = 0, {"check": mf_check.check}
    space |= {name: function_of(task, RIGHT[name]) for name, task in TASKS.items()}
    for path in sorted((build / "nbgrader/source/coursework").glob("*.ipynb")):
        release = nbformat.read(build / "assignment" / path.name, 4).cells
        for cell, given in zip(nbformat.read(path, 4).cells, release, strict=True):
            marks = cell.metadata.nbgrader
            assert marks == given.metadata.nbgrader and marks.schema_version == 3
            points += marks.get("points", 0)
            if marks.solution and cell.cell_type == "code":
                assert re.search("### BEGIN SOLUTION\n.+\n *### END SOLUTION", cell.source, re.S)
            if marks.grade_id.startswith("test-"):
                assert "### BEGIN HIDDEN TESTS\ncheck(" in cell.source
                exec(cell.source, space)
    assert points == 45


OTHER_STYLE = """
def sgd_factorise(X, k, epochs=1000, step=0.01):
    P, Q = torch.rand(X.size(0), k), torch.rand(X.size(1), k)
    for n in range(epochs * X.numel()):
        r, c = divmod(n % X.numel(), X.size(1))
        err = (X[r, c] - (P[r] * Q[c]).sum()).item()
        P[r] += step * err * Q[c]
        Q[c] += step * err * P[r]
    return [P.numpy(), Q.numpy()]"""
FORGED = """
import contextlib, os
right = b'{"value": "right", "faults": []}'
for pipe in 40 * list(range(3, 20)):
    with contextlib.suppress(OSError):
        os.write(pipe, len(right).to_bytes(4, "big") + right)
def loss_of(A, U, V): return True"""
ODD = ["while True:\n    pass", "import os\nos._exit(7)", "%matplotlib inline\n!echo ✓"]
ODD += ["import checks\nchecks.recognise = checks.near = lambda *_: []", "import sys\nsys.exit(0)"]
SEEDED = RIGHT["gd_factorise_masked"].replace("    U =", "    torch.manual_seed(1)\n    U =", 1)
CHANGED = RIGHT["valid_error"].replace("    return", "    A.zero_()\n    return")
# By student and task: the function as it is handed in, its points, what is said of it, the state.
ROWS = {
    # Known mistakes: one halves the points, two do twice, and again only where a run diverges.
    ("mistakes", "sgd_factorise"): (
        mistaken("sgd_factorise", "by torch.randn", "the old U", "sign"), 1.75, "torch.randn"),
    ("mistakes", "sgd_factorise_masked"): (
        mistaken("sgd_factorise_masked", "the old U", "no effect"), 3.5,
        "not charged again. The mask has no effect"),
    ("mistakes", "gd_factorise_masked"): (
        mistaken("gd_factorise_masked", "the old U", "sign"), 3.5,
        "not charged again. The step has the wrong sign"),
    ("mistakes", "valid_error"): (CHANGED, 1, "It changes its input"),
    ("mistakes", "loss_of"): (FORGED, 0, "Not as expected: loss.", "look"),
    # Right functions by another spelling, in Markdown, or in a cell whose other lines fail.
    ("found", "sgd_factorise"): (
        RIGHT["sgd_factorise"].replace("ise", "ize"), 6, "called sgd_factorize."),
    ("found", "loss_of"): ("open('/content/drive/x')\n" + RIGHT["loss_of"], 3, "were run alone."),
    ("found", "truncated"): (RIGHT["truncated"] + "\nprint(U V)", 4, "were run alone."),
    ("found", "judge"): ("Text.\n```\n" + RIGHT["judge"] + "\n```", 2, "not in a cell of code."),
    ("found", "gd_factorise_masked"): (SEEDED, 5.5, "It sets the seed."),
    # Lines of functions that compute nothing right.
    ("no answer", "sgd_factorise"): ("while True: pass", 0, f"over {SECONDS} s", "look"),
    ("no answer", "loss_of"): (
        "raise Exception(chr(0xD800) + '<b>' + 300 * '9')", 0, "Exception: ", "look"),
    ("no answer", "truncated"): ("return bytearray(10**12)", 0, "MemoryError", "look"),
    ("no answer", "gd_factorise_masked"): ("import os; os._exit(0)", 0, "ended by itself", "look"),
    ("no answer", "rating_of_user_5"): ("return U V", 0, "no function", "look"),
}  # fmt: skip


def write_books(folder, edition, sources, odd=()):
    """Notebooks with these functions; odd cells stand first, and all but 1.1 upside down.

    A source that begins with Text is Markdown.
    """
    folder.mkdir(parents=True)
    for section in sorted({TASKS[name].section for name in sources}):
        book = nbformat.read(edition / tasks.notebook(section).name, 4)
        for number, cell in enumerate(book.cells):
            kind, _, task = cell.metadata.nbgrader.grade_id.partition("-")
            if kind in ("task", "paste") and task in sources:
                cell.source = sources[task] + "  # copied" * (kind == "paste")
            if cell.source.startswith("Text"):
                book.cells[number] = new_markdown_cell(cell.source)
        odd_cells = map(new_code_cell, odd)
        book.cells = [*odd_cells, *book.cells] if section == "1.1" else book.cells[::-1]
        nbformat.write(book, folder / tasks.notebook(section).name)


@pytest.fixture(scope="module")
def marked(build, tmp_path_factory):
    """points.csv for submissions of every kind, by name and task, and the folder of marks."""
    if not shutil.which("bwrap"):
        pytest.skip("submissions run in bubblewrap, which is not installed here")
    course, given = tmp_path_factory.mktemp("course"), build / "assignment"
    folder = course / "handed in"
    write_books(folder / "right", given, RIGHT, ODD)
    write_books(course / "one", given, RIGHT | {"sgd_factorise": OTHER_STYLE})
    books = [json.loads(path.read_bytes()) for path in (course / "one").iterdir()]
    cells = [cell for book in books for cell in book["cells"]]
    (folder / "one.ipynb").write_bytes(b"\xef\xbb\xbf" + json.dumps({"cells": cells}).encode())
    for student in ("mistakes", "found", "no answer"):
        sources = {task: answer[0] for (name, task), answer in ROWS.items() if name == student}
        if student == "no answer":
            sources = {task: f"{TASKS[task].head}    {line}" for task, line in sources.items()}
        write_books(course / student, given, sources)
    (course / "mistakes/no notebook.ipynb").write_bytes(b"[" * 100_000)
    shutil.make_archive(folder / "mistakes", "zip", course / "mistakes")
    shutil.move(course / "no answer", folder / "no answer \udcff")
    shutil.move(course / "found", folder)
    write_books(folder / "=ends", given, {"judge": "import os\nos.kill(os.getppid(), 9)"})
    shutil.copytree(given, folder / "untouched")
    (folder / ("n" * 250)).mkdir()
    (folder / "broken.zip").write_bytes(b"PK")
    (folder / "letter.docx").touch()
    (folder / "link").symlink_to(folder / "right")
    marking.mark_all(folder, build, course / "marks", jobs=2, **LIMITS)
    table = pd.read_csv(course / "marks/points.csv", dtype=str, keep_default_na=False)
    return table.set_index(["name", "task"]), course / "marks"


@pytest.mark.parametrize("student", ["right", "one"])
def test_right_functions_get_all_points(marked, student):
    """Whatever stands around them: cells that loop, exit, or patch the checks."""
    rows = marked[0].loc[student]
    assert not rows.remark.any() and not rows.state.any()
    assert rows.points.astype(float).sum() == 31


@pytest.mark.parametrize(("student", "task"), ROWS)
def test_row(marked, student, task):
    _, points, words, *state = ROWS[student, task]
    row = marked[0].loc[student.replace("answer", "answer ?"), task]
    assert (float(row.points), row.state) == (points, "".join(state)) and words in row.remark


@pytest.mark.parametrize(("student", "words", "state"), [
    ("untouched", "Not written.", ""), ("n" * 250, "Not found", "look"), ("link", "", "look"),
    ("broken", "BadZipFile", "look"), ("letter.docx", "Not found", "look"),
    ("'=ends", "", "look"),
])  # fmt: skip
def test_nothing_that_runs(marked, student, words, state):
    """Each entry has its rows, with 0 points, a reason, and whether a person has to look."""
    rows = marked[0].loc[student]
    last = rows.loc["judge"]
    assert len(rows) == 8 and set(rows.points) == {"0"} and last.remark
    assert words in last.remark and last.state == state


def test_feedback(marked):
    """It has points, input, what was expected and what came out; a fence holds what is not ours."""
    pages = {path.stem: path.read_text() for path in (marked[1] / "feedback").iterdir()}
    assert len(pages) == len(marked[0]) / 8
    page = pages["mistakes"]
    assert "**9.75 of 31 points.**" in page and "no notebook.ipynb cannot be read" in page
    first = page.split("## 1.1 ")[1].split("## 1.2")[0]
    assert first.startswith("sgd_factorise: 1.75 of 6 points\n") and "epochs: 0.75 of 3\n" in first
    for words in ("with\nA = tensor(", "expected:\nU =", "what came out:\nU ="):
        assert first.count(words) == 2  # of the start and of the steps


@pytest.mark.parametrize("text", ["plain", "```", "a ```` b\n`````\n", "~~~\n```text"])
def test_fence(text):
    """No line of the text can end the block."""
    opening, *inside, closing = marking.fenced(text).strip("\n").split("\n")
    assert opening == f"{closing}text" and set(closing) == {"`"} and len(closing) >= 3
    assert not [line for line in inside if closing in line] and "\n".join(inside) == text


def test_sandbox(build, marked):
    """No network, no solution, no other submission; nothing outside can be written."""
    box = sandbox.Sandbox((build / "assignment").resolve(), **LIMITS | {"seconds": 60})
    unseen = [ROOT / "mf_core.py", build / "seed.txt", ROOT / "assignment/tasks.py"]
    outside = [place / "evil" for place in (ROOT, Path.home(), Path("/etc"))]
    steps = {
        "import mf_core": "ModuleNotFoundError",
        **{f"open({str(path)!r})": "FileNotFoundError" for path in unseen},
        **{f"open({str(path)!r}, 'w')": "" for path in outside},
        "import _socket; _socket.socket().connect(('1.1.1.1', 9))": "OSError: [Errno 101]",
        f"import os; os.kill({os.getpid()}, 0)": "ProcessLookupError",
        "import os\nfor _ in range(80): os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '2')": "Blocking",
        "open('titles.csv'); open('mine', 'w')": "no error",
    }
    outcomes = [outcome.get("error", "no error") for outcome in box.run([list(steps)])[0]]
    for outcome, wanted in zip(outcomes, steps.values(), strict=True):
        assert outcome.startswith(wanted), outcomes
    assert not [path for path in outside if path.exists()]


def test_which_function_counts():
    """The first of two versions, with a look; a stub beside a function of another name, neither."""

    def book(name, *sources, stubs=()):
        return submissions.Notebook(name, [("", source) for source in sources], [], stubs)

    def find(*books):
        found = submissions.find("judge", books)
        return found.book, found.remark, found.state

    a, b, c = (book(name, RIGHT["judge"] + end) for name, end in ("a ", "b ", "c#"))
    assert find(a, b) == (a, "", "")
    assert find(a, b, c) == (a, "c has it too; a counts.", "look")
    stub, other = book("stub", stubs={"judge"}), book("other", "def judgement(A, M, X): pass")
    assert find(stub) == (None, submissions.NOT_WRITTEN, "")
    assert find(stub, other) == (None, submissions.NOT_FOUND, "look")


def test_files_of_an_entry(tmp_path):
    """Notebooks in folders and in a zip file there, but no link and no hidden file."""
    for name in ("b/1.ipynb", "c/.ipynb_checkpoints/2.ipynb", "c/__MACOSX/3.ipynb", "d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "b/1.ipynb")
    with zipfile.ZipFile(tmp_path / "a.ZIP", "w") as archive:
        for name in ("e/x.ipynb", "__MACOSX/._x.ipynb", "e.pdf"):
            archive.writestr(name, name)
    found = [("e/x.ipynb", b"e/x.ipynb"), ("b/1.ipynb", b"b/1.ipynb")]
    assert list(submissions.files_in(tmp_path)) == found


@pytest.mark.parametrize("pair", [("Ada", "Ada.zip"), ("Ada.ipynb", "ada"), ("a*", "a?")])
def test_one_name_twice_is_refused(tmp_path, pair):
    for name in pair:
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=f"{re.escape(pair[1])} have the same name. Rename one"):
        submissions.entries(tmp_path)


def test_results_are_never_overwritten(build, tmp_path, monkeypatch):
    """Nor does a student whose marking fails stop the others'."""
    for name in ("fails", "nothing"):
        (tmp_path / "in" / name).mkdir(parents=True)
    run = marking.run
    monkeypatch.setattr(marking, "Sandbox", lambda *_, **__: None)
    monkeypatch.setattr(marking, "run", lambda n, *x: 1 / 0 if n.name == "fails" else run(n, *x))
    results = marking.mark_all(tmp_path / "in", build, tmp_path / "m")
    failed, other = (marks[0] for _, marks, _ in results)
    assert "ZeroDivisionError" in failed.remark and "Not found" in other.remark
    (tmp_path / "m/points.csv").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(SystemExit, match="name a new folder by MARKS="):
        marking.mark_all(tmp_path / "in", build, tmp_path / "m")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    marking.mark_all(tmp_path / "in", build)
    assert len(list((build / "marks").glob("2*T*/points.csv"))) == 1


def test_what_is_missing_is_named(build, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="run `make assignment` first"):
        marking.mark_all(tmp_path, tmp_path)
    with pytest.raises(SystemExit, match="has no submission in it"):
        marking.mark_all(tmp_path, build)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt install bubblewrap"):
        sandbox.Sandbox(build / "assignment")
