"""The tasks: their texts from the templates beside this file, their solutions from the notebooks.

A task is a function that the student writes. Its solution is never typed here: it is the function
of the same name in the section's notebook.
"""

import ast
import hashlib
import json
import textwrap
import tomllib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import torch
from checks import call, plain

from mf_core import sgd_factorize, sgd_factorize_masked

TITLES = ["Dangerous Minds (1995)", "Beautiful Girls (1996)", "Mask, The (1994)"]
TITLES += ["Rain Man (1988)", "Salt (2010)", "Beautiful Thing (1996)"]
FAST = {"sgd_factorize": sgd_factorize, "sgd_factorize_masked": sgd_factorize_masked}  # same bits
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@cache
def sections():
    """The templates by section: {"1.1": {"cells": [...]}, ...}."""
    files = sorted(HERE.glob("[1-9].*.toml"))
    return {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}


def notebook(section):
    return next((ROOT / "notebooks").glob(f"{section}-*.ipynb"))


@cache
def all_tasks():
    """The tasks by name: what the template says, section, head, solution and points.

    The head is the function's first lines, which the student gets.
    """
    found = {}
    for section, template in sections().items():
        for cell in template["cells"]:
            if name := cell.get("task"):
                head, body = _answer(section, name, cell["doc"])
                known = {"name": name, "section": section, "head": head, "solution": head + body}
                known["points"] = sum(case["points"] for case in cell["cases"])
                found[name] = SimpleNamespace(**cell, **known)
    return found


def _answer(section, name, doc):
    """The head, with this docstring, and the body of a function of the section's notebook."""
    cells = nbformat.read(notebook(section), 4).cells
    source = next(cell.source for cell in cells if f"def {name}(" in cell.source)
    function = next(x for x in ast.parse(source).body if getattr(x, "name", "") == name)
    lines = source.splitlines()
    body = lines[function.body[0].end_lineno : function.end_lineno]  # after its own docstring
    doc = textwrap.indent(f'"""{doc}"""', "    ")
    return f"{lines[function.lineno - 1]}\n{doc}\n", "\n".join(body) + "\n"


def with_mistake(task, mistake):
    """The solution with a known mistake: a program for the same task."""
    program = task.solution
    for old, new in mistake["replace"]:
        program = program.replace(old, new)
    return program


def function_of(task, program=None):
    """The solution, or another program for the same task, as a function."""
    space = {"torch": torch}
    exec(program or task.solution, space)
    return space[task.name]


def with_answers(task, case, mistakes=True):
    """The case with what is expected, and what each known mistake would give.

    The long run with the defaults comes last, and is not made with the mistakes.
    """
    case = case | {"returns": task.returns, "mistakes": []}
    case["expected"] = call(FAST.get(task.name) or function_of(task), case)[0]
    for mistake in task.mistakes if mistakes and case["name"] != "the defaults" else []:
        try:
            value = call(function_of(task, with_mistake(task, mistake)), case)[0]
            json.dumps(value, allow_nan=False)
        except (IndexError, RuntimeError, ValueError):  # it does not run, or gives infinite numbers
            continue
        case["mistakes"].append([mistake["means"], value])
    return case


def seed_of(*words):
    """A seed from words, such as a student's name."""
    digest = hashlib.sha256("\n".join(map(str, words)).encode(errors="backslashreplace")).digest()
    return int.from_bytes(digest[:4], "big")


def cases(task, seed):
    """Inputs for a task, drawn from the seed: [{"name", "points", "seed", "args"}, ...]."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape, scale=1.0):
        return (scale * torch.rand(*shape, generator=generator)).round(decimals=2)

    m = int(torch.randint(3, 5, (), generator=generator))
    n = 7 - m  # 3 x 4 or 4 x 3
    A, U, V = rand(m, n, scale=4) + 0.5, rand(m, 2), rand(n, 2)
    M = torch.ones(m, n, dtype=torch.bool)
    M.view(-1)[torch.randperm(m * n, generator=generator)[:3]] = False
    drawn = {"A": A, "A transposed": A.T, "M": M, "U": U, "V": V, "X": A + rand(m, n) - 0.5}
    drawn |= {"ratings": (2 * A * M).round() / 2, "films": rand(7, 3), "users": rand(8, 3)}
    drawn |= {"3 x 3": rand(3, 3, scale=4), "4 x 4": rand(4, 4, scale=4)}
    drawn = {name: plain(matrix) for name, matrix in drawn.items()}
    place = int(torch.randint(4, (), generator=generator))
    drawn["titles"] = [*TITLES[:place], "Beautiful Mind, A (2001)", *TITLES[place:]]
    found = []
    for case in task.cases:
        args = {name: drawn.get(value, value) for name, value in case["args"].items()}
        found.append({"hint": "", **case, "seed": seed % 1000, "args": args})
    return found
