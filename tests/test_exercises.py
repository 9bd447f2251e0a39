"""The exercises "Write it yourself": their check takes the solution, and names the mistakes."""

import re

import nbformat
import pytest
import torch
from conftest import ROOT

import mf_check
from mf_exercise import check, exercises, function_of, outcome_of, with_answers, with_mistakes

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MISTAKES = [(x, mistake) for x in exercises().values() for mistake in x.mistakes]


def epoch(body):
    """A function for the exercise of 1.1, whose last lines are these."""
    exercise = exercises()["epoch_in_order"]
    return function_of(exercise, f"def epoch_in_order(A, U, V, order, lr=0.01):\n{body}\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, capsys):
    """Its cells are the exercise's; as it stands, a quiet line says that it is not written."""
    cells = nbformat.read(path, 4).cells
    place = next(n for n, cell in enumerate(cells) if "## Write it yourself" in cell.source)
    stub, checked, folded = (cell.source for cell in cells[place + 1 : place + 4])
    name = re.match(r"def (\w+)", stub)[1]
    solution = exercises()[name].solution
    assert f"A solution</summary>\n\n```python\n{solution}```" in folded
    space = {"check": check, "torch": torch, "mf_core": __import__("mf_core")}
    exec(f"{stub}\n{checked}", space)
    assert capsys.readouterr().out == "… not written yet\n"
    exec(f"{solution}\n{checked}\n{checked}", space)  # and again, when the cell is run again
    out = capsys.readouterr().out
    assert out.count("✓") == 2 * len(exercises()[name].cases) and "✗" not in out


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=lambda x: getattr(x, "name", ""))
def test_mistake(exercise, mistake, capsys):
    """It runs or stops on its own account, and the check says what it means."""
    program = with_mistakes(exercise, mistake)
    compile(program, exercise.name, "exec")
    check(function_of(exercise, program))
    out = capsys.readouterr().out
    for words in ("✗", " with\n", "expected:\n", "what came out:\n", mistake["means"]):
        assert words in out


def test_mistakes_are_far_from_right():
    """Ten times the tolerance, on one input at least."""
    for exercise, mistake in MISTAKES:
        cases = [with_answers(exercise, case) for case in exercise.cases]
        program = with_mistakes(exercise, mistake)
        outcomes = [outcome_of(exercise, program, case) for case in cases]
        pairs = zip(outcomes, cases, strict=True)
        assert not all(mf_check.alike(x, case["expected"], 1e-3) for x, case in pairs), mistake


@pytest.mark.parametrize(("body", "words"), [
    ("    return [U, V]", "✗"),
    ("    U += 1", "It should end with `return U, V`."),
    ("    return U, V.T", "V has the shape (2, 3) instead of (3, 2)."),
    ("    return U + 9, V + 9", "Not as expected: U, V."),
    ("    return 'U', V", "U has the shape () instead of (2, 2)."),
])  # fmt: skip
def test_what_is_not_known_is_described(body, words, capsys):
    check(epoch(body))
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("    U, V = U.clone(), V.clone()\n", "", mf_check.CHANGES),
    ("return U, V", "return [U, V]", mf_check.A_LIST),
    ("    U, V", "    torch.manual_seed(0)\n    U, V", mf_check.SEEDS),
])  # fmt: skip
def test_fault_beside_a_right_value(old, new, fault, capsys):
    exercise = exercises()["epoch_in_order"]
    wrong = function_of(exercise, exercise.solution.replace(old, new))
    for _ in range(2):  # nor is the next run of the cell changed by what the first one changed
        check(wrong)
        assert f"What this means: {fault}\n" in capsys.readouterr().out
    check(function_of(exercise, exercise.solution))
    assert "✗" not in capsys.readouterr().out


def test_an_error_that_is_not_known_is_raised(capsys):
    with pytest.raises(ZeroDivisionError):
        check(epoch("    return 1 / 0"))
    assert "epoch_in_order stops with an error, from the last" in capsys.readouterr().out


@pytest.mark.parametrize("draws", [
    "torch.rand({})", "torch.randn(size=({}))", "torch.rand([{}], dtype=torch.float64)",
    "torch.rand({}, requires_grad=True).detach()", "torch.tensor(numpy.random.rand({}))",
])  # fmt: skip
def test_a_run_starts_from_the_drawn_factors(draws):
    """Whatever draws them; seeds in the function change nothing, and torch is as before."""
    U, V = (draws.format(f"{size}, rank") for size in ("len(A)", "A.shape[1]"))
    space = {"torch": torch}
    exec(f"import numpy\ndef f(A, rank, num_epochs): torch.manual_seed(3); return {U}, {V}", space)
    case = {"args": {"A": [[1.0] * 4] * 3, "rank": 2, "num_epochs": 1}, "returns": "UV", "seed": 5}
    rand = torch.rand
    outcome = mf_check.call(space["f"], case)
    torch.manual_seed(5)
    assert outcome == {
        "value": [torch.rand(3, 2).tolist(), torch.rand(4, 2).tolist()],
        "faults": [],
    }
    assert torch.rand is rand
