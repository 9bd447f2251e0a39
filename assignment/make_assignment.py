"""The student edition, build/assignment: `make assignment`, with SEED=7 for another matrix.

Beside it is written what only an instructor needs: seed.txt, for marking; rubrics.md, for the
questions in words; and nbgrader/source, the same edition with solutions and hidden tests, in whose
formgrader these questions are marked.
"""

import argparse
import json
import re
import shutil
from itertools import compress
from pathlib import Path

import nbformat
import pandas as pd
import tasks
import torch
from jinja2 import Template
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tasks import HERE, ROOT, all_tasks, british, cases, seed_of

from mf_core import sgd_factorize, sgd_factorize_masked
from mf_data import load_coursework_matrix, load_ratings
from mf_exercise import with_answers

FEWEST = 20  # ratings of a film, as 4.1.toml and students.md say: the students' run is short
PACKAGES = "torch numpy pandas matplotlib jupyterlab ipykernel".split()
EMPTY = "*Your answer here.*"
STUB = "    # Your code here ({}).\n    raise NotImplementedError()\n"
REGION = "    ### BEGIN SOLUTION\n{}\n    ### END SOLUTION\n"
HIDDEN = "\n### BEGIN HIDDEN TESTS\ncheck({0}, {1!r})\n### END HIDDEN TESTS"


def draw_matrix(seed):
    """Another 3 x 3 matrix, and a mask with two gaps that share no row and no column.

    They are drawn until they teach what the coursework's teach, which are those of seed 0.
    """
    if seed == 0:
        return load_coursework_matrix()
    generator = torch.Generator().manual_seed(seed)
    while True:
        A = (0.05 + 3.4 * torch.rand(3, 3, generator=generator)).round(decimals=4)
        M = torch.ones(3, 3, dtype=torch.bool)
        rows, columns = (torch.randperm(3, generator=generator)[:2] for _ in range(2))
        M[rows, columns] = False
        if teaches(A, M) >= 0.8:
            return A, M


def teaches(A, M, seeds=range(100)):
    """The share of the seeds that show what the questions in words are about.

    SGD ends above the floor in four decimals, it fits observed entries better than it predicts
    missing ones, and these it predicts better than the observed entries' mean does.
    """
    floor, mean = torch.linalg.svdvals(A)[-1] ** 2, ((A - A[M].mean())[~M] ** 2).sum()
    shown = []
    for generator in (torch.Generator().manual_seed(seed) for seed in seeds):
        U, V = sgd_factorize(A, 2, generator=generator)
        X, Y = sgd_factorize_masked(A, M, 2, generator=generator)
        loss, squares = ((A - U @ V.T) ** 2).sum(), (A - X @ Y.T) ** 2
        is_above = loss > floor and f"{loss:.4f}" != f"{floor:.4f}"
        shown.append(is_above and bool(squares[M].sum() < squares[~M].sum() < mean))
    return sum(shown) / len(shown)


def graded(cell, name, kind, points=None):
    """The cell with nbgrader's metadata: its kind is read-only, task, test or answer."""
    locked = kind in ("read-only", "test")
    marks = {"schema_version": 3, "grade_id": name, "task": False, "grade": points is not None}
    marks |= {"solution": not locked, "locked": locked} | ({"points": points} if points else {})
    cell.metadata = {"nbgrader": marks} | dict.fromkeys(["editable", "deletable"] * locked, False)
    cell.id = re.sub("[^a-z0-9-]", "-", name)
    return cell


def cells_of(section, known, seed, solved):
    """The cells of a section's notebook, with what is known in the place of {{ names }}.

    If solved, it has solutions and hidden tests for nbgrader.
    """
    for number, cell in enumerate(tasks.sections()[section]["cells"]):
        kind = next(k for k in ("task", "question", "paste", "text", "code") if k in cell)
        name = f"{'run' if cell.get('run') is False else kind}-{section.replace('.', '-')}-{number}"
        if kind in ("task", "paste"):
            task = all_tasks()[cell[kind]]
            body = REGION.format(task.solution.removeprefix(task.head).rstrip())
            name = f"{kind}-{task.name}"
            stub = STUB.format(f"{task.points} points" if kind == "task" else "not marked again")
            yield graded(new_code_cell(task.head + (body if solved else stub)), name, "task")
        if kind == "task":
            test = f"check({task.name})"
            if solved:
                found = cases(task, seed_of(seed, "hidden", task.name))
                test += HIDDEN.format(task.name, [with_answers(task, case) for case in found])
            yield graded(new_code_cell(test), f"test-{task.name}", "test", task.points)
        elif kind == "question":
            asks = f"{Template(cell['text']).render(known).strip()} ({cell['points']} points)"
            yield graded(new_markdown_cell(asks), f"asks-{cell[kind]}", "read-only")
            answer = new_markdown_cell(EMPTY)
            yield graded(answer, f"answer-{cell[kind]}", "answer", cell["points"])
        elif kind in ("text", "code"):
            new = new_markdown_cell if kind == "text" else new_code_cell
            yield graded(new(Template(cell[kind]).render(known).strip()), name, "read-only")


def write_edition(folder, data, visible, seed, solved=False):
    """A whole edition in a folder, which it replaces."""
    A, M, ratings, titles = data
    rows = {"A": [[round(x, 4) for x in row] for row in A.tolist()], "M": M.int().tolist()}
    typed = {x: "[\n" + "".join(f"    {row},\n" for row in rows[x]) + "]" for x in rows}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    for section in tasks.sections():
        path = tasks.notebook(section)
        title = british(nbformat.read(path, 4).cells[0].source.splitlines()[0]).removeprefix("# ")
        cells = list(cells_of(section, typed | {"title": title}, seed, solved))
        book = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(book, folder / path.name)
    (folder / "checks.json").write_text(json.dumps(visible), encoding="utf-8")
    shutil.copy(ROOT / "mf_check.py", folder / "checks.py")
    locked = (ROOT / "requirements.txt").read_text().splitlines()
    packages = [line for line in locked if line.split("==")[0] in PACKAGES]
    (folder / "requirements.txt").write_text("\n".join(packages) + "\n")
    readme = Template((HERE / "students.md").read_text(encoding="utf-8")).render(packages=packages)
    (folder / "README.md").write_text(readme + "\n", encoding="utf-8")
    torch.save(ratings.half(), folder / "ratings.pt")  # half stars are exact in half precision
    shutil.copy(ROOT / "data/movielens/README.txt", folder / "movielens.txt")  # its licence
    pd.Series(titles, name="name").to_csv(folder / "titles.csv", index_label="movie")


def make(build, seed=0):
    """Write both editions, the rubrics and the seed into the folder build."""
    ratings = load_ratings()
    chosen = ratings.M.sum(1) >= FEWEST
    data = *draw_matrix(seed), ratings.A[chosen], list(compress(ratings.titles, chosen))
    visible = {
        name: [with_answers(task, case) for case in cases(task, seed_of(seed, "visible", name))]
        for name, task in all_tasks().items()
    }
    write_edition(build / "assignment", data, visible, seed)
    write_edition(build / "nbgrader/source/coursework", data, visible, seed, solved=True)
    rubrics = "# Rubrics\n"
    for section, template in tasks.sections().items():
        for cell in (cell for cell in template["cells"] if "question" in cell):
            rubrics += f"\n## {section} {cell['question']} ({cell['points']} points)\n"
            rubrics += cell["text"] + cell["rubric"]
    (build / "rubrics.md").write_text(rubrics, encoding="utf-8")
    (build / "seed.txt").write_text(str(seed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--seed", type=int, default=0, help="of another matrix, mask and inputs")
    arguments = parser.parse_args()
    make(arguments.build, arguments.seed)
    print(f"For students: {arguments.build}/assignment. For you: {arguments.build}/rubrics.md, and")
    print(f"{arguments.build}/nbgrader/source/coursework for nbgrader, which has the solutions")
