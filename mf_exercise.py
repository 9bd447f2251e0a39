"""The exercises, "Write it yourself", and what known mistakes give.

data/exercises.toml has a solution of each, inputs, and mistakes as edits of the solution. The tasks
of the student edition have the same fields.
"""

import tomllib
from functools import cache
from itertools import permutations
from types import SimpleNamespace

import torch

import mf_check
import mf_core
from mf_paths import DATA


@cache
def exercises():
    """{name: name, solution, returns, cases and mistakes}."""
    found = tomllib.loads((DATA / "exercises.toml").read_text(encoding="utf-8"))
    return {name: SimpleNamespace(**fields, name=name) for name, fields in found.items()}


def check(function):
    """Say whether the function solves the exercise of its name, or what is not right yet."""
    exercise = exercises()[function.__name__]
    try:
        mf_check.check(function, [with_answers(exercise, case) for case in exercise.cases])
    except mf_check.NotYetError as sentence:
        print(sentence)


def with_answers(task, case, most=1):
    """The case with what is expected, and what known mistakes give, alone or so many at once.

    Those of several at once are computed as they are asked for, once.
    """
    case = {"seed": 0, "returns": task.returns} | case
    case["expected"] = outcome_of(task, task.solution, case)
    mistakes = outcomes_of_mistakes(task, case, most)
    return case | {"mistakes": list(mistakes) if most == 1 else mistakes}


def outcomes_of_mistakes(task, case, most):
    """(meanings, outcome) for each known mistake, then for each pair of them, and so on."""
    seen = {task.solution}
    for count in range(1, most + 1):
        for mistakes in permutations(task.mistakes, count):
            program = with_mistakes(task, *mistakes)
            if program not in seen:
                yield [mistake["means"] for mistake in mistakes], outcome_of(task, program, case)
            seen.add(program)


def with_mistakes(task, *mistakes):
    """The solution with these mistakes: a program for the same task."""
    program = task.solution
    for old, new in (edit for mistake in mistakes for edit in mistake["edits"]):
        program = program.replace(old, new)
    return program


def function_of(task, program):
    space = {"torch": torch, "mf_core": mf_core}
    exec(program, space)
    return space[task.name]


def outcome_of(task, program, case):
    try:
        return mf_check.call(function_of(task, program), case)
    except Exception as error:
        return mf_check.failed(error)
