"""The student edition has no solution, its checks help, and submissions are marked rightly."""

import csv
import json
import math
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell

from mf_data import load_coursework_matrix, load_ratings

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "assignment"))
import answers  # noqa: E402
import checks  # noqa: E402
import gradebook  # noqa: E402
import make_assignment  # noqa: E402
import marking  # noqa: E402
import sandbox  # noqa: E402
import similar  # noqa: E402
import submissions  # noqa: E402
import tasks  # noqa: E402

TASKS = tasks.tasks()
SECONDS = 4  # for a step, in these tests
LIMITS = {"seconds": SECONDS, "megabytes": 2000}
with_bwrap = pytest.mark.skipif(
    not shutil.which("bwrap"), reason="submissions run in bubblewrap, which is not installed here"
)
MATRIX = "A = [[1.5, 2.5, 0.5], [0.75, 3.25, 1.5], [2.0, 0.25, 3.5]]\n"
MATRIX += "M = [[1, 1, 1], [1, 1, 0], [0, 1, 1]]\n"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The student edition of the coursework's matrix."""
    folder = tmp_path_factory.mktemp("build")
    make_assignment.make(folder)
    return folder


# ------------------------------------------------------------------------------ what students get


def lines_of(task):
    """The lines of a solution without their spaces, apart from those too short to tell."""
    lines = (re.sub(r"\s|#.*", "", line) for line in task.body.splitlines())
    return [line for line in lines if len(line) > 10 and not line.startswith("return")]


def leaks(folder, figures):
    """Lines of solutions and expected figures in the files of a folder: (file, what)."""
    wanted = {line for task in TASKS.values() for line in lines_of(task)}
    wanted |= {str(figure) for figure in figures if len(str(figure)) > 5}
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        text = path.read_bytes().decode("utf-8", errors="replace")
        texts = [text]
        if path.suffix in (".ipynb", ".json"):
            texts += strings(json.loads(text))
        squeezed = "\n".join(re.sub(r"\s", "", text) for text in texts)
        found += [(path.name, what) for what in wanted if what in squeezed]
    return found


def strings(value):
    """All texts in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in strings(part)]


def figures_of(build):
    """The expected figures: what the solutions give, and the product's entries."""
    key = json.loads((build / "key.json").read_text())
    torch.manual_seed(0)
    A, M = load_coursework_matrix()
    U, V = tasks.function_of(TASKS["sgd_factorize"])(A, 2)
    torch.manual_seed(0)
    X, Y = tasks.function_of(TASKS["sgd_factorize_masked"])(A, M, 2)
    entries = torch.cat([U.flatten(), V.flatten(), (U @ V.T).flatten(), (X @ Y.T).flatten()])
    shared = {"count"}  # of the ratings: data, not an answer
    return [v for k, v in key["figures"].items() if k not in shared] + [f"{x:.4f}" for x in entries]


def test_the_student_edition_has_what_it_needs_and_no_solution(build):
    folder = build / "assignment"
    names = [path.name for path in sorted(folder.iterdir())]
    books = [tasks.notebook(section).name for section in ("1.1", "1.2", "2.1", "3.1", "4.1")]
    others = "README.md checks.json checks.py movielens.txt ratings.pt requirements.txt titles.csv"
    assert names == books + others.split()
    assert len(figures_of(build)) > 30 and sum(len(lines_of(task)) for task in TASKS.values()) > 20
    assert leaks(folder, figures_of(build)) == []
    for name in books:
        cells = nbformat.read(folder / name, 4).cells
        assert not any(cell.get("outputs") for cell in cells)
        assert "mf_" not in "".join(cell.source for cell in cells)


@pytest.mark.parametrize("leak", ["solution", "figure", "output", "module"])
def test_a_planted_leak_is_found(build, tmp_path, leak):
    folder = tmp_path / "assignment"
    shutil.copytree(build / "assignment", folder)
    book = nbformat.read(folder / "2.1-truncated-svd.ipynb", 4)
    if leak == "solution":
        book.cells[2].source += "\n\n    S_cut = S.clone( )"
    elif leak == "figure":
        key = json.loads((build / "key.json").read_text())
        book.cells[2].source += f"\nIt is {key['figures']['svd_loss']}."
    elif leak == "output":
        book.cells[1].outputs = [
            nbformat.v4.new_output("stream", text=tasks.solution(TASKS["truncated"]))
        ]
    else:
        shutil.copy(ROOT / "notebooks/1.1-gradient-factorisation.ipynb", folder / "old.txt")
    nbformat.write(book, folder / "2.1-truncated-svd.ipynb")
    where = "old.txt" if leak == "module" else "2.1-truncated-svd.ipynb"
    assert {file for file, _ in leaks(folder, figures_of(build))} == {where}


@pytest.mark.parametrize("name", TASKS)
def test_the_solution_passes_the_checks_and_each_known_mistake_gets_its_own_meaning(name):
    task = TASKS[name]
    seen = set()
    for seed in (1, 2):
        for case in (tasks.answered(task, case) for case in tasks.cases(task, seed)):
            assert checks.judge(case, case["expected"]) is None
            seen |= {
                meaning
                for meaning, value in case["mistakes"]
                if checks.judge(case, value) == meaning
            }
    assert seen == {mistake["means"] for mistake in task.mistakes} and seen


def test_a_visible_check_says_input_expected_value_result_and_meaning(build, monkeypatch):
    monkeypatch.setattr(checks, "__file__", str(build / "assignment/checks.py"))
    task = TASKS["sgd_factorize"]
    mistake = next(m for m in task.mistakes if "old U[i]" in m["means"])
    wrong = tasks.function_of(task, tasks.replaced("1.1", tasks.solution(task), mistake))
    checks.check(task.name, tasks.function_of(task))
    with pytest.raises(checks.NotYetError) as error:
        checks.check(task.name, wrong)
    text = str(error.value)
    for part in ("one epoch", "torch.manual_seed(", "lr = 0.1", "A = tensor(",
                 "expected:", "what came out:",
                 "V was updated with the old U[i]"):  # fmt: skip
        assert part in text, part
    assert text.count("U = tensor(") == 2
    with pytest.raises(checks.NotYetError, match="not written yet"):
        space = {}
        exec(make_assignment.head(task) + make_assignment.STUB, space)
        checks.check(task.name, space[task.name])


@pytest.mark.parametrize(("value", "message"), [
    (None, "returns None"), ([[1.0]], "returns something else"),
    (["x", "y"], "U is 'x', which is not"),
    ([[[1.0, 2.0]], [[1.0, 2.0]]], r"U has the shape \(1, 2\) instead of"),
    ([[[math.nan] * 2] * 3, [[math.nan] * 2] * 4], "beyond all bounds"),
])  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named(value, message):
    case = {"returns": ["U", "V"], "expected": [[[1.0] * 2] * 3, [[1.0] * 2] * 4], "mistakes": []}
    assert re.search(message, checks.judge(case, value))


def test_another_matrix_and_seed_change_data_figures_and_checks(build, tmp_path):
    file = tmp_path / "matrix.toml"
    file.write_text(MATRIX)
    key = make_assignment.make(tmp_path, file, 7)
    cells = "".join(
        c.source
        for c in nbformat.read(tmp_path / "assignment/3.1-masked-factorisation.ipynb", 4).cells
    )
    assert "[0.75, 3.25, 1.5]" in cells and "[1, 1, 0]" in cells and "3.3359" not in cells
    own = torch.linalg.svdvals(make_assignment.read_matrix(file)[0])[-1] ** 2
    assert key["figures"]["svd_loss"] == f"{own:.4f}"
    assert f"{own:.4f}" in key["questions"]["comparison"]["rubric"]
    checks_of = [(at / "assignment/checks.json").read_bytes() for at in (tmp_path, build)]
    assert checks_of[0] != checks_of[1]
    assert (
        leaks(tmp_path / "assignment", [key["figures"]["svd_loss"], key["figures"]["loss"]]) == []
    )
    A, M = make_assignment.draw_matrix(7)
    assert A.shape == (3, 3) and (~M).sum() == 2


def test_the_ratings_are_movielens_and_a_seed_makes_another_person_user_5(build):
    folder = build / "assignment"
    with open(folder / "titles.csv", newline="", encoding="utf-8") as file:
        titles = [row["name"] for row in csv.DictReader(file)]
    film, old = titles.index("Beautiful Mind, A (2001)"), torch.load(folder / "ratings.pt")
    whole = load_ratings()
    for row in (0, film, -1):
        assert (old[row] == whole.A[whole.titles.index(titles[row])]).all()
    new = make_assignment.draw_ratings(15).A  # whose first user 5 has rated the film
    assert not torch.equal(new[:, 4], old[:, 4]) and new[film, 4] == old[film, 4] == 0
    assert torch.equal(new.unique(dim=1), old.unique(dim=1).float())


@pytest.mark.parametrize(("text", "message"), [
    ("A = [[1.0]]\nM = [[1]]", "square, of one size"), ("A = 3", "needs A and M"),
    ("A = [", "needs A and M"),
    (MATRIX.replace("[0, 1, 1]", "[2, 1, 1]"), "M needs 0 and 1"),
    (MATRIX.replace("[0, 1, 1]", "[1, 1, 1]").replace("[1, 1, 0]", "[1, 1, 1]"), "M needs 0 and 1"),
])  # fmt: skip
def test_a_matrix_that_will_not_do_is_refused(text, message, tmp_path):
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(SystemExit, match=f"m.toml.*{message}"):
        make_assignment.read_matrix(tmp_path / "m.toml")


def test_the_edition_for_nbgrader_has_grade_ids_points_solutions_and_hidden_tests(build):
    seen, points = [], 0
    for path in sorted((build / "nbgrader/source/coursework").glob("*.ipynb")):
        release = nbformat.read(build / "assignment" / path.name, 4).cells
        for cell, given in zip(nbformat.read(path, 4).cells, release, strict=True):
            marks = cell.metadata.nbgrader
            assert marks == given.metadata.nbgrader and marks.schema_version == 3
            seen.append((path.name, marks.grade_id))
            points += marks.get("points", 0)
            if marks.solution and cell.cell_type == "code":
                body = cell.source.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
                assert body.strip() and "BEGIN SOLUTION" not in given.source
            if marks.grade_id.startswith("test-"):
                hidden = cell.source.split("### BEGIN HIDDEN TESTS")[1]
                exec(
                    hidden,
                    {"check": checks.check, **{n: tasks.function_of(t) for n, t in TASKS.items()}},
                )
    assert len(set(seen)) == len(seen) and points == 45


# ------------------------------------------------------------------------------------ submissions

OTHER_STYLE = {
    "sgd_factorize": '''
def sgd_factorize(X, k, epochs=1000, step=0.01):
    P, Q = torch.rand(X.size(0), k), torch.rand(X.size(1), k)
    for n in range(epochs * X.numel()):
        r, c = divmod(n % X.numel(), X.size(1))
        err = (X[r, c] - (P[r] * Q[c]).sum()).item()
        P[r] += step * err * Q[c]
        Q[c] += step * err * P[r]
    return [P.numpy(), Q.numpy()]''',
    "sgd_factorize_masked": '''
def one_cell(A, P, Q, r, c, step):
    err = A[r][c] - P[r] @ Q[c]
    P[r] += step * err * Q[c]
    Q[c] += step * err * P[r]

def sgd_factorize_masked(A, mask, rank, n_epochs=1000, lr=0.01):
    U = torch.rand((len(A), rank)).double(); V = torch.rand((A.shape[1], rank)).double()
    seen = mask.nonzero().tolist()
    for epoch in range(n_epochs):
        for r, c in seen:
            one_cell(A.double(), U, V, r, c, lr)
    return U, V''',
    "judge": "def judge(A, M, X):\n    d = ((A - X) ** 2).numpy(); m = M.numpy()\n"
             "    return float(d[m].sum()), float(d.sum() - d[m].sum())",
    "gd_factorise_masked": '''
def gd_factorise_masked(A, M, rank, num_epochs=1000, lr=1e-5):
    U = torch.rand(A.shape[0], rank)
    V = torch.rand(A.shape[1], rank)
    for _ in range(num_epochs):
        err = torch.where(M, A - torch.einsum("ik,jk->ij", U, V), 0.0)
        U += lr * err.mm(V)
        V += lr * err.t().mm(U)
    return U, V''',
    "rating_of_user_5": "def rating_of_user_5(U, V, titles):\n"
                        "    return torch.mv(V, U[titles.index('Beautiful Mind, A (2001)')])[4]",
    "valid_error": "def valid_error(A, M, U, V):\n    return (((A - U @ V.T) * M) ** 2).sum()",
}  # fmt: skip
ODD = (
    "def sgd_factorize(A, rank, num_epochs=1000, lr=0.01):\n"
    "    raise Exception(chr(0xD800) + '<b>&' + 300 * '9')"
)
FORGED = """
import os, json, torch, checks
torch.allclose = lambda *a, **k: True
checks.judge = lambda *a: None
checks.plain = lambda x: x
open("checks.json", "w").write("{}")
for fd in range(3, 20):
    try:
        for step in range(40):
            os.write(fd, (json.dumps([step, "value", "right"]) + "\\n").encode())
    except OSError:
        pass
class Right:
    def __eq__(self, other): return True
def sgd_factorize(A, rank, num_epochs=1000, lr=0.01):
    return Right(), Right()"""


def mistaken(name, words):
    """The solution with a known mistake."""
    task = TASKS[name]
    mistake = next(m for m in task.mistakes if words in m["means"])
    return tasks.replaced(task.section, tasks.solution(task), mistake)


def write_submission(build, folder, answers, change=None):
    """Notebooks with these functions in their cells; those of other sections are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in sorted({TASKS[name].section for name in answers}):
        name = tasks.notebook(section).name
        book = nbformat.read(build / "assignment" / name, 4)
        for cell in book.cells:
            kind, _, task = cell.metadata.nbgrader.grade_id.partition("-")
            if kind in ("task", "paste") and task in answers:
                cell.source = answers[task]
            if kind == "answer":
                cell.source = f"My answer on {task}, with <b>marks</b>."
        if change:
            change(book)
        nbformat.write(book, folder / name)


def spoil(book):
    """Edit the first check, delete the second cell of text, and put the last check first."""
    ids = [cell.metadata.nbgrader.grade_id for cell in book.cells]
    book.cells[ids.index("test-sgd_factorize")].source = "print('✓ all right')"
    book.cells.insert(0, book.cells.pop(ids.index("test-sgd_factorize")))


def without_tests(book):
    book.cells = [c for c in book.cells if not c.metadata.nbgrader.locked][::-1]
    for cell in book.cells:
        cell.metadata.clear()


def add(*sources):
    return lambda book: book.cells.__setitem__(slice(0, 0), map(new_code_cell, sources))


def edit(start, change):
    """Change the source of the given cell whose grade_id starts so."""

    def changed(book):
        for cell in book.cells:
            if cell.metadata.nbgrader.grade_id.startswith(start):
                cell.source = change(cell.source)

    return changed


def copied_run_cell(book):
    """A run cell, copied with its metadata, holds a helper."""
    cell = next(c for c in book.cells if c.metadata.nbgrader.grade_id.startswith("run-"))
    helper = nbformat.from_dict(dict(cell))
    helper.source = "def rate():\n    return 0.01\nrun = sgd_factorize(A, 2)"
    book.cells.insert(1, helper)


OUTSIDE = f"""
import os, pathlib
for place in ({str(ROOT)!r}, os.path.expanduser("~"), "/tmp", "/etc", "{{marks}}"):
    try:
        pathlib.Path(place, "evil").write_text("evil")
    except OSError:
        pass
"""
SGD = "def sgd_factorize(A, rank, num_epochs=1000, lr=0.01):\n"
PRINTS = SGD + "    print('U = tensor([[0.6168, -0.1530]])\\n✓ one epoch')"
LOOP = SGD + "    while True:\n        pass"
HOG = SGD + "    return bytearray(10**12)"
DROPS = SGD + "    return torch.rand(40_000_000_000)"
ZEROS = SGD + "    return torch.zeros(len(A), rank), torch.zeros(A.shape[1], rank)"
RIGHT = {name: tasks.solution(task) for name, task in TASKS.items()}
ONE = {"sgd_factorize": RIGHT["sgd_factorize"]}
FIRST = "1.1-gradient-factorisation.ipynb"
OLD_U = {
    name: mistaken(name, "with the old U")
    for name in ("sgd_factorize", "sgd_factorize_masked", "gd_factorise_masked")
}
SPOILS_A = ONE["sgd_factorize"].replace("    return U", "    A.zero_()\n    return U")
USES_NUMPY = ONE["sgd_factorize"].replace("e = ", "e = np.float32(1) * ")
USES_HELPER = ONE["sgd_factorize"].replace("lr * e * V", "rate() / 0.01 * lr * e * V")
PACKAGE = "import no_such_package as np\n" + USES_NUMPY


def together(build, folder, answers):
    """All notebooks in one, with these functions."""
    write_submission(build, folder / "apart", answers)
    books = [nbformat.read(path, 4) for path in sorted((folder / "apart").iterdir())]
    books[0].cells = sum((book.cells for book in books), [])
    nbformat.write(books[0], folder / "all in one.ipynb")
    shutil.rmtree(folder / "apart")


@pytest.fixture(scope="module")
def handed_in(build, tmp_path_factory):
    """A folder of submissions of every kind."""
    folder = tmp_path_factory.mktemp("course") / "handed in"

    def hand_in(student, answers, change=None):
        write_submission(build, folder / student, answers, change)

    hand_in("coursework", RIGHT)
    hand_in("other style", OTHER_STYLE)
    hand_in("old U", OLD_U)
    masked = ("sgd_factorize_masked", "gd_factorise_masked")
    hand_in("masked matrix", {name: mistaken(name, "instead of the error") for name in masked})
    hand_in("exchanged", {"sgd_factorize": mistaken("sgd_factorize", "Rows and columns")})
    (folder / "nothing").mkdir()
    shutil.copytree(build / "assignment", folder / "untouched")
    hand_in("tests deleted", ONE, without_tests)
    hand_in("tests edited", {"sgd_factorize": mistaken("sgd_factorize", "wrong sign")}, spoil)
    hand_in("loops", {"sgd_factorize": LOOP})
    hand_in("loops in a cell", ONE, add("while True:\n    pass"))
    hand_in("memory", {"sgd_factorize": HOG, "sgd_factorize_masked": DROPS})
    outside = OUTSIDE.format(marks=folder.parent / "marks")
    hand_in("outside", ONE, add(outside, "import sys\nsys.exit(0)"))
    hand_in("exits", ONE, add("import os\nos._exit(77)"))
    hand_in("odd \udcff", {"sgd_factorize": ODD})
    hand_in("zeros", {"sgd_factorize": ZEROS})
    hand_in("prints", {"sgd_factorize": PRINTS}, add("%matplotlib inline\n!echo ✓ the start"))
    hand_in("forged", {"sgd_factorize": FORGED})
    hand_in("spoils A", {"sgd_factorize": SPOILS_A})
    hand_in("set-up", {"sgd_factorize": USES_NUMPY}, edit("code-", "import numpy as np\n{}".format))
    hand_in("copied cell", {"sgd_factorize": USES_HELPER}, copied_run_cell)
    hand_in("package", {"sgd_factorize": PACKAGE})
    hand_in("syntax", {"sgd_factorize": SGD + "    return U V"})
    together(build, folder / "all in one", RIGHT)
    hand_in("renamed", RIGHT)
    for path in (folder / "renamed").iterdir():
        path.rename(path.with_name("copy of " + path.name.replace(".", "_", 1)))
    hand_in("mixed/draft", OLD_U | {"judge": RIGHT["judge"]})
    hand_in("mixed/final", RIGHT | {"judge": SGD})
    for path in (folder / "mixed/draft").iterdir():
        os.utime(path, (1e9, 1e9))
    for number, data in enumerate(
        (b"%PDF-1.7", b"[1, 2]", b"[" * 100_000, b'{"cells": 3, "nbformat": 4}')
    ):
        (folder / f"no notebook {number}").mkdir()
        (folder / f"no notebook {number}" / FIRST).write_bytes(data)
    (folder / "link").mkdir()
    (folder / "link" / FIRST).symlink_to(folder / "coursework" / FIRST)
    hand_in("odd notebook", ONE)
    path = folder / "odd notebook" / FIRST
    book = json.loads(path.read_text())
    book["cells"][0]["metadata"]["nbgrader"]["grade_id"] = ["a", "list"]
    for cell in book["cells"]:
        cell["id"] = "equal"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(book).encode())
    (folder / ("n" * 250)).mkdir()
    with zipfile.ZipFile(folder / "old U.zip", "w") as archive:  # beside the folder of that name
        archive.write(folder / "coursework/2.1-truncated-svd.ipynb", "mine/2.1.ipynb")
    for method, where in ((zipfile.ZIP_DEFLATED, "zlib"), (zipfile.ZIP_LZMA, "lzma")):
        with zipfile.ZipFile(folder / f"damaged {where}.zip", "w", method) as archive:
            archive.write(folder / "coursework" / FIRST, FIRST)
        data = bytearray((folder / f"damaged {where}.zip").read_bytes())
        data[80:400] = b"\xff" * 320
        (folder / f"damaged {where}.zip").write_bytes(data)
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


def remark(result, task="sgd_factorize"):
    return next(row["remark"] for row in result["rows"] if row["task"] == task)


@pytest.mark.parametrize("student", ["coursework", "all in one", "renamed", "mixed"])
def test_right_functions_get_all_points_wherever_they_stand(marked, student):
    assert sum(points(marked[student]).values()) == 31


def test_another_style_gets_the_same_points(marked):
    unwritten = {"loss_of": 0, "truncated": 0}
    assert points(marked["other style"]) == points(marked["coursework"]) | unwritten


@pytest.mark.parametrize(("student", "task", "gets", "words"), [
    ("old U", "sgd_factorize", 3.5, "V was updated with the old U"),
    ("old U", "gd_factorise_masked", 6, "The same as in sgd_factorize"),
    ("old U", "truncated", 4, ""),
    ("masked matrix", "sgd_factorize_masked", 3.5, "applied to the matrix instead of the error"),
    ("masked matrix", "gd_factorise_masked", 3.5, "applied to the matrix instead of the error"),
    ("exchanged", "sgd_factorize", 3, "Rows and columns are exchanged"),
    ("tests edited", "sgd_factorize", 3.5, "wrong sign"),
    ("spoils A", "sgd_factorize", 3, "It changes A"),
])  # fmt: skip
def test_a_known_mistake_keeps_half_is_charged_once_and_named(marked, student, task, gets, words):
    assert points(marked[student])[task] == gets
    assert words in remark(marked[student], task)


@pytest.mark.parametrize(("student", "words"), [
    ("nothing", "no notebook"), ("untouched", "Not written"), ("loops", f"over {SECONDS} s"),
    ("memory", "more memory than 2000 MB"),
    ("prints", "It returns None"), ("zeros", "With no epoch"), ("odd \udcff", "Exception"),
    ("forged", ""), ("no notebook 0", "no notebook"), ("no notebook 1", "no notebook"),
    ("no notebook 2", "no notebook"), ("no notebook 3", "no notebook"), ("link", "no notebook"),
    ("broken", "no notebook"), ("damaged zlib", "no notebook"), ("damaged lzma", "no notebook"),
    ("n" * 250, "no notebook"), ("package", "No module named 'no_such_package'"),
    ("syntax", "SyntaxError"),
])  # fmt: skip
def test_what_does_not_compute_the_answer_gets_no_points_and_is_told_why(marked, student, words):
    assert set(points(marked[student]).values()) == {0}
    assert words in remark(marked[student]) and remark(marked[student])


@pytest.mark.parametrize(
    "student",
    ["tests deleted", "loops in a cell", "outside", "exits", "set-up", "copied cell"]
    + ["odd notebook"],
)
def test_right_functions_keep_their_points_whatever_stands_around_them(marked, student):
    assert points(marked[student])["sgd_factorize"] == 6
