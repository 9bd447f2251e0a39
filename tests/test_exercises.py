"""The exercises "Write it yourself": their check takes the solution, and names the mistakes."""

import re

import nbformat
import pytest
import torch
from conftest import ROOT

import mf_check
import mf_core
from mf_exercise import check, exercises, function_of, outcome_of, with_answers, with_mistakes

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[1-5].*.ipynb"))
MISTAKES = [(x, mistake) for x in exercises().values() for mistake in x.mistakes]
EPOCH = exercises()["epoch_in_order"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, capsys):
    """As it stands, a line says that it is not written; the folded solution passes, and again."""
    cells = nbformat.read(path, 4).cells
    place = next(n for n, cell in enumerate(cells) if "## Write it yourself" in cell.source)
    stub, checked, folded = (cell.source for cell in cells[place + 1 : place + 4])
    solution = re.search(r"A solution</summary>\n\n```python\n(.*?)```", folded, re.S)[1]
    exercise = exercises()[re.match(r"def (\w+)", stub)[1]]
    assert solution == exercise.solution
    space = {"check": check, "torch": torch, "mf_core": mf_core}
    exec(f"{stub}\n{checked}", space)
    assert capsys.readouterr().out == "… not written yet\n"
    exec(f"{solution}\n{checked}\n{checked}", space)
    out = capsys.readouterr().out
    assert out.count("✓") == 2 * len(exercise.cases) and "✗" not in out


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=lambda x: getattr(x, "name", ""))
def test_mistake(exercise, mistake, capsys):
    """It is off by ten times the tolerance on an input; the check says on which, and what it is."""
    program = with_mistakes(exercise, mistake)
    compile(program, exercise.name, "exec")
    cases = [with_answers(exercise, case) for case in exercise.cases]
    outcomes = [(outcome_of(exercise, program, case), case["expected"]) for case in cases]
    assert not all(mf_check.alike(*pair, 1e-3) for pair in outcomes)
    check(function_of(exercise, program))
    out = capsys.readouterr().out
    for words in ("✗", " with\n", "expected:\n", "what came out:\n", mistake["means"]):
        assert words in out


@pytest.mark.parametrize(("old", "new", "words"), [
    ("    U, V = U.clone(), V.clone()\n", "", mf_check.CHANGES),
    ("return U, V", "return [U, V]", mf_check.A_LIST),
    ("    U, V", "    torch.manual_seed(0)\n    U, V", mf_check.SEEDS),
    ("    return U, V", "", "It should end with `return U, V`."),
    ("return U, V", "return U, V.T", "V has the shape (2, 3) instead of (3, 2)."),
    ("return U, V", "return U, V + 9", "Not as expected: V. U is right."),
    ("return U, V", "return 'U', V", "U has the shape () instead of (2, 2)."),
    ("return U, V", "return 1 / 0", "stops with an error, from the last entry"),
])  # fmt: skip
def test_what_else_is_said(old, new, words, capsys):
    """Also when the cell is run again; and then the solution still passes."""
    wrong = function_of(EPOCH, EPOCH.solution.replace(old, new))
    for _ in range(2):
        try:
            check(wrong)
        except ZeroDivisionError:
            assert "1 / 0" in new
        assert words in capsys.readouterr().out
    check(function_of(EPOCH, EPOCH.solution))
    assert "✗" not in capsys.readouterr().out


@pytest.mark.parametrize("draws", [
    "torch.rand({})", "torch.randn(size=({}))", "torch.rand([{}], dtype=torch.float64)",
    "torch.rand({}, requires_grad=True).detach()", "torch.tensor(numpy.random.rand({}))",
])  # fmt: skip
def test_a_run_starts_from_the_drawn_factors(draws):
    """Whatever draws them, and whatever seed the function sets; torch is then as before."""
    U, V = (draws.format(f"{size}, rank") for size in ("len(A)", "A.shape[1]"))
    space = {"torch": torch}
    exec(f"import numpy\ndef f(A, rank, num_epochs): torch.manual_seed(3); return {U}, {V}", space)
    case = {"args": {"A": [[1.0] * 4] * 3, "rank": 2, "num_epochs": 1}, "returns": "UV", "seed": 5}
    outcome, rand = mf_check.call(space["f"], case), torch.rand
    torch.manual_seed(5)
    assert outcome == {"value": [rand(3, 2).tolist(), rand(4, 2).tolist()], "faults": []}
