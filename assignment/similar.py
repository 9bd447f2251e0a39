"""Pairs of students whose code is the same up to names: a list for the lecturer's eye alone."""

import ast
from collections import defaultdict
from itertools import combinations

from gradebook import write_table

RARE = 0.2  # of the class: code that more students share is how one writes it


def shape(source):
    """A program without names, comments, docstrings and layout; "" if it is none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    numbers = {}
    for node in ast.walk(tree):
        for field in ("id", "arg", "name"):
            if isinstance(name := getattr(node, field, None), str):
                setattr(node, field, str(numbers.setdefault(name, len(numbers))))
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def write_similar(path, results):
    """A table of the pairs that share rare code in two tasks or more, the worst first."""
    students = defaultdict(list)
    for result in results:
        for task, source in result["programs"].items():
            if program := shape(source):
                students[task, program].append(f"{result['name']} {result['code']}")
    shared = defaultdict(list)
    for (task, _), names in students.items():
        if len(names) <= max(2, RARE * len(results)):
            for pair in combinations(sorted(names), 2):
                shared[pair].append(task)
    pairs = sorted((-len(tasks), pair, tasks) for pair, tasks in shared.items() if len(tasks) > 1)
    rows = [{"one": a, "other": b, "tasks": ", ".join(tasks)} for _, (a, b), tasks in pairs]
    write_table(path, ["one", "other", "tasks"], rows)
