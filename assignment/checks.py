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
        except NotImplementedError:
            raise NotYetError(f"{name} is not written yet.") from None
        except Exception:
            print(f"{name} stops with an error, {describe(case)}")
            raise
        if meaning := judge(case, value, changed):
            raise NotYetError(f"{name}, {explain(case, listed(case, value), meaning)}")
        print(f"✓ {case['name']}")


def call(function, case):
    """The function's value on a case's input, in lists, and the names of what it changed there.

    All randomness starts from the case's seed.
    """
    for set_seed in (torch.manual_seed, numpy.random.seed, random.seed):
        set_seed(case["seed"])
    given = {name: as_tensor(value) for name, value in case["args"].items()}
    value = plain(function(*given.values()))
    matrices = {name: x for name, x in given.items() if isinstance(x, torch.Tensor)}
    return value, [name for name, x in matrices.items() if x.tolist() != case["args"][name]]


def judge(case, value, changed=()):
    """What is wrong with a value, as a sentence; None if it is right."""
    names = case["returns"]
    values = in_list(case, value) if value is not None else []
    if len(values) != len(names):
        return f"It returns {value!r:.60}. It should end with `return {', '.join(names)}`."
    expected = [torch.tensor(x, dtype=torch.float64) for x in in_list(case, case["expected"])]
    for number, (name, right) in enumerate(zip(names, expected, strict=True)):
        try:
            x = torch.tensor(values[number], dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            return f"{name} is {values[number]!r:.60}, which is not a number or a matrix."
        values[number] = x.reshape(()) if right.ndim == 0 and x.numel() == 1 else x
    if near(values, expected):
        return f"It changes {', '.join(changed)}: work on a .clone()." if changed else None
    for meaning, wrong in case["mistakes"]:
        if near(values, in_list(case, wrong)):
            return meaning
    for name, x, right in zip(names, values, expected, strict=True):
        if x.shape != right.shape:
            return f"{name} has the shape {tuple(x.shape)} instead of {tuple(right.shape)}."
    off = [n for n, x, y in zip(names, values, expected, strict=True) if not near([x], [y])]
    return f"Not as expected: {', '.join(off)}. {case['hint']}".strip()


def in_list(case, value):
    """What the function returns as a new list, also where it is a single value."""
    several = len(case["returns"]) > 1 and isinstance(value, list)
    return list(value) if several else [value]


def explain(case, came_out, meaning=None):
    """All that helps: the input, what was expected, what came out, and what that means."""
    expected = listed(case, case["expected"])
    parts = [describe(case), f"expected:\n{expected}", f"what came out:\n{came_out}"]
    return "\n\n".join(parts + ([f"What this means: {meaning}"] if meaning else []))


def listed(case, value):
    """What a function returns, each part with its name."""
    return "\n".join(map(shown, case["returns"], in_list(case, value)))


def describe(case):
    """The input of a case, in words."""
    given = "\n".join(shown(name, value) for name, value in case["args"].items())
    return f"{case['name']}: after torch.manual_seed({case['seed']}), with\n{given}"


def plain(value):
    """A value as numbers in lists."""
    if isinstance(value, (tuple, list)):
        return [plain(x) for x in value]
    if hasattr(value, "tolist"):
        return (value.detach() if hasattr(value, "detach") else value).tolist()
    return value if value is None or isinstance(value, (int, float)) else repr(value)[:60]


def as_tensor(value):
    return torch.tensor(value) if isinstance(value, list) and isinstance(value[0], list) else value


def shown(name, value):
    """name = value, with the rows of a matrix below one another."""
    try:
        value = float(f"{value:.6g}") if isinstance(value, float) else value
        text = str(as_tensor(value)) if isinstance(value, list) else repr(value)
    except (TypeError, ValueError, IndexError):
        text = repr(value)
    return f"{name} = {text[:600]}".replace("\n", "\n" + " " * len(f"{name} = "))


def near(values, others):
    pairs = [(torch.as_tensor(x).double(), torch.as_tensor(y).double())
             for x, y in zip(values, others, strict=True)]  # fmt: skip
    return all(x.shape == y.shape and torch.allclose(x, y, rtol=1e-3, atol=2e-4) for x, y in pairs)
