"""The check of a function, on inputs that tell the known mistakes apart.

It says what was expected, on which input, what came out, and what that usually means. A case has an
input, the outcome of a right function there, and the outcome of each known mistake.
"""

import copy
import json
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest.mock import patch

import numpy
import torch

CHANGES = "It changes its input, which others use as well: work on a .clone()."
SEEDS = "It sets the seed. Leave that to whoever calls it, or all starts are the same."
A_LIST = "It returns a list: without the brackets, `return` makes a tuple."
SEEDING = [(torch, "manual_seed"), (numpy.random, "seed")]
DRAWING = [(torch, "rand"), (torch, "randn")]
DRAWING += [(numpy.random, name) for name in ("rand", "randn", "random", "uniform", "normal")]


class NotYetError(AssertionError):
    """An answer that is not right yet; a notebook shows its text alone."""

    def _render_traceback_(self):
        return str(self).splitlines()


def check(function, cases=None):
    """Try the function on all cases; raise NotYetError at the first where it is not right.

    If no cases are passed, they are those of the function's name in checks.json, beside this file.
    """
    name = function.__name__
    if cases is None:
        file = Path(__file__).with_name("checks.json")
        cases = json.loads(file.read_text(encoding="utf-8"))[name]
    for case in cases:
        try:
            outcome = call(function, case)
        except NotImplementedError:
            raise NotYetError("… not written yet") from None
        except Exception as error:
            outcome = failed(error)
            if not recognise(case, outcome):
                print(f"✗ {name} stops with an error, {describe(case)}")
                raise
        if (meanings := recognise(case, outcome)) != []:
            raise NotYetError(f"✗ {name}, {explain(case, outcome, meanings)}")
        print(f"✓ {case['name']}")


def call(function, case):
    """The outcome of a function: its value, in lists, and its faults besides a wrong value.

    All randomness starts from the case's seed, and a seed that the function sets has no effect.
    Where epochs are run, what is drawn in the shape of U or V is U or V as they are from that seed:
    a mistake in the start is then one of the case without an epoch alone.
    """
    faults = []
    given = {name: as_input(value) for name, value in case["args"].items()}
    before = repr(plain([*given.values()]))
    is_run = case["args"].get("num_epochs", 0) > 0 and "rank" in case["args"]
    replaced = [(*place, lambda *_: None if is_run else faults.append(SEEDS)) for place in SEEDING]
    if is_run:
        torch.manual_seed(case["seed"])
        U, V = (torch.rand(n, case["args"]["rank"], dtype=torch.float32) for n in given["A"].shape)
        start = {tuple(X.shape): X for X in (U.T, V.T, U, V)}
        replaced += [(*place, draw_as(start, getattr(*place))) for place in DRAWING]
    torch.manual_seed(case["seed"])
    numpy.random.seed(case["seed"])
    with ExitStack() as stack:
        for place in replaced:
            stack.enter_context(patch.object(*place))
        value = function(*given.values())
    if isinstance(value, list) and len(case["returns"]) > 1:
        faults.append(A_LIST)
    if repr(plain([*given.values()])) != before:
        faults.append(CHANGES)
    return {"value": plain(value), "faults": faults}


def draw_as(start, real):
    """A function that draws as the real one does, but for the shapes of the start."""

    def draw(*size, **options):
        X = real(*size, **options)
        if (known := start.get(tuple(numpy.shape(X)))) is not None:
            with torch.no_grad():  # X may require a gradient
                torch.as_tensor(X).copy_(known)
        return X

    return draw


def failed(error):
    """The outcome of a function that stops with an error."""
    return {"error": f"{type(error).__name__}: {error}"[:400]}


def recognise(case, outcome):
    """What is wrong with an outcome, in known sentences: [] if it is right, None if unknown."""
    faults = [fault for fault in (CHANGES, SEEDS, A_LIST) if fault in outcome.get("faults", [])]
    if alike(outcome, case["expected"]):
        return faults
    for meanings, wrong in case["mistakes"]:
        if alike(outcome, wrong):
            return [*meanings, *faults]
    return None


def alike(outcome, other, tolerance=1e-4):
    if "error" in outcome or "error" in other:
        return outcome.get("error") == other.get("error")
    return near(outcome["value"], other["value"], tolerance)


def near(x, y, tolerance=1e-4):
    """Whether numbers, or lists of numbers, agree within the tolerance, absolute and relative."""
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(near(*pair, tolerance) for pair in zip(x, y, strict=True))
    if isinstance(x, list) and len(x) == 1:
        return near(x[0], y, tolerance)
    if isinstance(x, (int, float)) and isinstance(y, (int, float)):
        return abs(x - y) <= tolerance * (1 + min(abs(x), abs(y)))
    return x is None and y is None


def explain(case, outcome, meanings=None):
    """All that helps: the input, what was expected, what came out, and what that means."""
    expected = named(case, case["expected"]["value"])
    came_out = outcome["error"] if "error" in outcome else named(case, outcome["value"])
    means = " ".join(meanings or [differing(case, outcome)])
    came = f"what came out:\n{came_out}\n\nWhat this means: {means}"
    return f"{describe(case)}\n\nexpected:\n{expected}\n\n{came}"


def differing(case, outcome):
    """What can be said of an outcome that is not known."""
    if "error" in outcome:
        return outcome["error"]
    names, values = case["returns"], parts(case, outcome["value"])
    if outcome["value"] is None or len(values) != len(names):
        return f"It should end with `return {', '.join(names)}`."
    right, wrong = [], []
    for name, x, y in zip(names, values, parts(case, case["expected"]["value"]), strict=True):
        (right if near(x, y) else wrong).append(name)
        if not near(x, y) and shape(x) != shape(y):
            return f"{name} has the shape {shape(x)} instead of {shape(y)}."
    so_far = f" {', '.join(right)} is right." if right else ""
    return f"Not as expected: {', '.join(wrong)}.{so_far} {case.get('hint', '')}".strip()


def shape(value):
    return (len(value), *shape(value[0])) if isinstance(value, list) and value else ()


def parts(case, value):
    """What the function returns as a list, also where it is a single value."""
    return value if len(case["returns"]) > 1 and isinstance(value, list) else [value]


def named(case, value):
    """What the function returns, each part with its name."""
    values, names = parts(case, value), case["returns"]
    return "\n".join(map(shown, names if len(names) == len(values) else "?" * len(values), values))


def describe(case):
    """The input of a case, in words."""
    given = "\n".join(shown(name, value) for name, value in case["args"].items())
    seed = f"after torch.manual_seed({case['seed']}), " if "num_epochs" in case["args"] else ""
    return f"{case['name']}: {seed}with\n{given}"


def shown(name, value):
    """name = value, with the rows of a matrix below one another."""
    value = float(f"{value:.6g}") if isinstance(value, float) else value
    with suppress(TypeError, ValueError, RuntimeError):  # of lists that are no matrix
        value = as_input(value)
    return f"{name} = {str(value)[:600]}".replace("\n", "\n" + " " * len(f"{name} = "))


def plain(value):
    """A value as numbers in lists."""
    if isinstance(value, (tuple, list)):
        return [plain(x) for x in value]
    if hasattr(value, "tolist"):
        return (value.detach() if hasattr(value, "detach") else value).tolist()
    return value if value is None or isinstance(value, (int, float)) else repr(value)[:60]


def as_input(value):
    """A new tensor of a list whose numbers are decimals or booleans; a copy of anything else."""
    first = value
    while isinstance(first, list) and first:
        first = first[0]
    is_tensor = isinstance(value, list) and isinstance(first, (float, bool))
    return torch.tensor(value) if is_tensor else copy.deepcopy(value)
