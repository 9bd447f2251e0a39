"""The tasks: their texts from the templates beside this file, their solutions from the notebooks.

A task is a function that the student writes. Its solution is never typed here: it is a function
of the notebook, or the statements of its cells tagged "answer" that lead to the values asked for.
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


@cache
def tasks():
    """All tasks by name, each with its section."""
    cells = [(section, cell) for section in sections() for cell in sections()[section]["cells"]]
    return {
        cell["task"]: SimpleNamespace(
            **cell, name=cell["task"], section=section, body=_body(section, cell)
        )
        for section, cell in cells if "task" in cell
    }  # fmt: skip


def head(task):
    """The first lines of a task's function, which the student gets."""
    doc = task.doc.strip()
    doc += "\n" * ("\n" in doc)
    doc = textwrap.indent(f'"""{doc}"""', "    ")
    return f"def {task.name}({task.parameters}):\n{doc}\n"


def solution(task):
    return head(task) + textwrap.indent(task.body, "    ")


def notebook(section):
    return next((ROOT / "notebooks").glob(f"{section}-*.ipynb"))


def _body(section, cell):
    """The solution's statements, with what the template says to replace in them."""
    cells = [c for c in nbformat.read(notebook(section), 4).cells if c.cell_type == "code"]
    wanted = cell["answer"]
    if isinstance(wanted, str):  # the name of a function
        source = next(c.source for c in cells if f"def {wanted}(" in c.source)
        function = next(x for x in ast.parse(source).body if getattr(x, "name", "") == wanted)
        first = function.body[bool(ast.get_docstring(function))]
        lines = source.splitlines()[first.lineno - 1 : function.end_lineno]
        return replaced(textwrap.dedent("\n".join(lines)), cell)
    answers = [c.source for c in cells if "answer" in c.metadata.get("tags", [])]
    given = {name.split("=")[0].strip() for name in cell["parameters"].split(",")}
    lines = _leading_to(wanted, [replaced(source, cell) for source in answers], given)
    return "\n".join([*lines, f"return {cell.get('return', ', '.join(wanted))}"])


def _leading_to(wanted, sources, given):
    """The assignments that lead from the given names to the wanted ones, in their order."""
    needed, chosen = set(wanted), []
    for source in reversed(sources):
        nodes = [x for x in ast.walk(ast.parse(source)) if isinstance(x, ast.Assign)]
        assigned = set()
        for node in sorted(nodes, key=lambda x: -x.lineno):
            target = {x.id for t in node.targets for x in ast.walk(t) if isinstance(x, ast.Name)}
            if target & (needed - given):
                needed |= {x.id for x in ast.walk(node.value) if isinstance(x, ast.Name)}
                assigned |= target
                lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
                chosen.insert(0, textwrap.dedent("\n".join(lines)))
        given = given | assigned  # an earlier cell may mean something else by them
    return chosen


def replaced(text, cell):
    """The text after all replacements of a template's cell or of a mistake."""
    for old, new in cell.get("replace", []):
        text = text.replace(old, new)
    return text


def function_of(task, source=None):
    """The solution, or another program for the same task, as a function."""
    space = {"torch": torch}
    exec(source or solution(task), space)
    return space[task.name]


def answered(task, case, mistakes=True):
    """The case with what is expected, and what each known mistake would give.

    The long run with the defaults comes last, and is not made with the mistakes.
    """
    case = case | {"returns": task.returns, "mistakes": []}
    case["expected"] = call(FAST.get(task.name) or function_of(task), case)[0]
    for mistake in task.mistakes if mistakes and case["name"] != "the defaults" else []:
        wrong = replaced(solution(task), mistake)
        try:
            value = call(function_of(task, wrong), case)[0]
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
    return [
        {
            "name": case["name"],
            "points": case["points"],
            "seed": seed % 1000,
            "hint": case.get("hint", ""),
            "args": {name: drawn.get(value, value) for name, value in case["args"].items()},
        }
        for case in task.cases
    ]
