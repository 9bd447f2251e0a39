"""Checks of your functions on small inputs, whose answers are in checks.json.

They say what was expected, on which input, what came out, and what that usually means. The inputs
at marking are others.
"""

import json
import random
from pathlib import Path

import numpy
import torch


class NotYetError(AssertionError):
    """An answer that is not right yet; a notebook shows its text alone."""

    def _render_traceback_(self):
        return str(self).splitlines()


def check(name, function, cases=None):
    """Try the function on all inputs of this task; raise NotYetError at the first that is wrong."""
    file = Path(__file__).with_name("checks.json")
    for case in cases or json.loads(file.read_text(encoding="utf-8"))[name]:
        try:
            value, changed = call(function, case)
            value = plain(value)
        except NotImplementedError:
            raise NotYetError(f"{name} is not written yet.") from None
        except Exception:
            print(f"{name} stops with an error, {describe(case)}")
            raise
        if meaning := judge(case, value):
            raise NotYetError(explain(name, case, value, meaning))
        if changed:
            raise NotYetError(f"{name}, {describe(case)}\n\n{changes(changed)}")
        print(f"✓ {case['name']}")


def call(function, case):
    """The function's value on the input of a case, and the names of the matrices that it changed.

    All randomness starts from the case's seed.
    """
    for set_seed in (torch.manual_seed, numpy.random.seed, random.seed):
        set_seed(case["seed"])
    given = {name: _tensor(value) for name, value in case["args"].items()}
    before = {name: x.clone() for name, x in given.items() if isinstance(x, torch.Tensor)}
    value = function(*given.values())
    return value, [name for name, x in before.items() if not torch.equal(x, given[name])]


def changes(names):
    return f"It changes {' and '.join(names)}, which it was given. Work on a copy: .clone()."


def judge(case, value):
    """What is wrong with a value, as a sentence; None if it is right."""
    names, expected = case["returns"], case["expected"]
    if len(names) == 1:
        value, expected = [value], [expected]
    wanted = f"`return {', '.join(names)}`"
    if not isinstance(value, list) or len(value) != len(names):
        what = "None" if value is None else "something else"
        return f"It returns {what}. It should end with {wanted}."
    if value == [None]:
        return f"It returns None. It should end with {wanted}: what is printed is not returned."
    got, shapes = [], [torch.tensor(right).shape for right in expected]
    for name, x, shape in zip(names, value, shapes, strict=True):
        try:
            x = torch.tensor(x, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            return f"{name} is {x!r:.60}, which is not a number or a matrix of numbers."
        got.append(x.reshape(()) if not shape and x.numel() == 1 else x)
    if _near(got, expected):
        return None
    for meaning, wrong in case["mistakes"]:
        if _near(got, wrong if len(names) > 1 else [wrong]):
            return meaning
    for name, x, shape in zip(names, got, shapes, strict=True):
        if x.shape != shape:
            return f"{name} has the shape {(*x.shape,)} instead of {(*shape,)}."
    if not all(x.isfinite().all() for x in got):
        return "The numbers grew beyond all bounds. Does each step make the error smaller?"
    if case.get("otherwise"):
        return case["otherwise"]
    off = [n for n, x, y in zip(names, got, expected, strict=True) if not _near([x], [y])]
    return f"{' and '.join(off)} {'differ' if len(off) > 1 else 'differs'} from what was expected."


def explain(name, case, value, meaning):
    """All that helps: the input, what was expected, what came out, and what that means."""
    names, expected = case["returns"], case["expected"]
    if len(names) == 1:
        value, expected = [value], [expected]
    parts = [f"{name}, {describe(case)}"]
    for what, values in (("expected", expected), ("what came out", value)):
        shown = values if isinstance(values, list) and len(values) == len(names) else [values]
        rows = zip(names, shown, strict=False)
        parts.append(f"{what}:\n" + "\n".join(_shown(k, x) for k, x in rows))
    return "\n\n".join([*parts, f"What this means: {meaning}"])


def describe(case):
    """The input of a case, in words."""
    given = "\n".join(_shown(name, value) for name, value in case["args"].items())
    return f"{case['name']}: after torch.manual_seed({case['seed']}), with\n{given}"


def plain(value):
    """A value as numbers in lists."""
    if isinstance(value, (tuple, list)):
        return [plain(x) for x in value]
    if hasattr(value, "tolist"):
        return (value.detach() if hasattr(value, "detach") else value).tolist()
    return value if value is None or isinstance(value, (int, float)) else repr(value)[:60]


def _tensor(value):
    return torch.tensor(value) if isinstance(value, list) and isinstance(value[0], list) else value


def _shown(name, value):
    """name = value, with the rows of a matrix below one another."""
    try:
        text = str(_tensor(value)) if isinstance(value, list) else repr(value)
    except (TypeError, ValueError, IndexError):
        text = repr(value)
    return f"{name} = {text[:600]}".replace("\n", "\n" + " " * len(f"{name} = "))


def _near(values, others):
    pairs = [(torch.as_tensor(x).double(), torch.as_tensor(y).double())
             for x, y in zip(values, others, strict=True)]  # fmt: skip
    return all(x.shape == y.shape and torch.allclose(x, y, rtol=1e-3, atol=2e-4) for x, y in pairs)
