"""The tasks: their texts from the templates beside this file, their solutions from the notebooks.

A task is a function that the student writes. Its solution is never typed here: it is the function
of the same name in the section's notebook.
"""

import ast
import hashlib
import re
import textwrap
import tomllib
from functools import cache
from itertools import combinations, count
from pathlib import Path
from types import SimpleNamespace

import nbformat
import torch

from mf_check import alike, plain
from mf_exercise import with_answers

TITLES = ["Dangerous Minds (1995)", "Beautiful Girls (1996)", "Mask, The (1994)"]
TITLES += ["Rain Man (1988)", "Salt (2010)", "Beautiful Thing (1996)"]
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def template(name):
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def sections():
    """The templates by section: {"1.1": {"cells": [...]}, ...}."""
    return {path.stem: template(path.stem) for path in sorted(HERE.glob("[1-9].*.toml"))}


def notebook(section):
    return next((ROOT / "notebooks").glob(f"{section}-*.ipynb"))


def british(text):
    """The text in the spelling of the course's sheet, which the student edition has throughout."""
    return re.sub("(factori)z", r"\1s", text)


@cache
def all_tasks():
    """The tasks by name: what the template says, section, head, solution, mistakes and points.

    The head is the function's first lines, which the student gets.
    """
    found, shared = {}, template("mistakes")
    for section, cell in ((section, x) for section, t in sections().items() for x in t["cells"]):
        if name := cell.get("task"):
            head, body = _answer(section, name, cell["doc"])
            known = {"name": name, "section": section, "head": head, "solution": head + body}
            known["points"] = sum(case["points"] for case in cell["cases"])
            known["mistakes"] = cell["mistakes"] + sum(map(shared.get, cell.get("also", [])), [])
            found[name] = SimpleNamespace(**cell | known)
    return found


def _answer(section, name, doc):
    """The head, with this docstring, and the body of a function of the section's notebook."""
    sources = [british(cell.source) for cell in nbformat.read(notebook(section), 4).cells]
    source = next(source for source in sources if f"def {name}(" in source)
    function = next(x for x in ast.parse(source).body if getattr(x, "name", "") == name)
    lines = source.splitlines()
    body = lines[function.body[0].end_lineno : function.end_lineno]  # after its own docstring
    doc = textwrap.indent(f'"""{doc}"""', "    ")
    return f"{lines[function.lineno - 1]}\n{doc}\n", "\n".join(body) + "\n"


def seed_of(*words):
    """A seed from words, such as a student's name."""
    digest = hashlib.sha256("\n".join(map(str, words)).encode(errors="backslashreplace")).digest()
    return int.from_bytes(digest[:4], "big")


def cases(task, seed):
    """Inputs for a task, drawn until they tell the known mistakes apart: name, points, seed, args.

    args are numbers, or what is drawn by that name.
    """
    for number in count():
        drawn, found = draw(seed + number), []
        for case in task.cases:
            args = {name: drawn.get(value, value) for name, value in case["args"].items()}
            known = {"returns": task.returns, "seed": (seed + number) % 1000}
            found.append({**case, **known, "args": args})
        if tells_apart(task, found):
            return found


def draw(seed):
    """{name: what a case can name}."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape, scale=1.0):
        return (scale * torch.rand(*shape, generator=generator)).round(decimals=2)

    m = int(torch.randint(3, 5, (), generator=generator))
    n = 7 - m  # 3 x 4 or 4 x 3
    A, U, V = rand(m, n, scale=4) + 0.5, rand(m, 2), rand(n, 2)
    M = torch.ones(m, n, dtype=torch.bool)
    unseen, zero = torch.randperm(m * n, generator=generator).split([3, m * n - 3])
    M.view(-1)[unseen] = False
    A.view(-1)[zero[0]] = 0  # an observed entry
    drawn = {"A": A, "A transposed": A.T, "M": M, "U": U, "V": V, "X": A + rand(m, n) - 0.5}
    drawn["ratings"] = (2 * A * M).round() / 2
    drawn |= {"rated": drawn["ratings"] > 0, "films": rand(7, 3), "users": rand(8, 3)}
    drawn |= {"3 x 3": rand(3, 3, scale=4), "4 x 4": rand(4, 4, scale=4)}
    drawn = {name: plain(matrix) for name, matrix in drawn.items()}
    place = int(torch.randint(4, (), generator=generator))
    return drawn | {"titles": [*TITLES[:place], "Beautiful Mind, A (2001)", *TITLES[place:]]}


def tells_apart(task, found):
    """Whether each mistake is wrong in a case, and all that are wrong in a case differ there."""
    seen = set()
    for case in (with_answers(task, case) for case in found):
        known = [(tuple(means), outcome) for means, outcome in case["mistakes"]]
        wrong = [x for x in known if not alike(x[1], case["expected"], 1e-3)]
        seen |= {means for means, _ in wrong}
        if any(alike(x[1], y[1], 1e-3) for x, y in combinations(wrong, 2)):
            return False
    return seen == {(mistake["means"],) for mistake in task.mistakes}
