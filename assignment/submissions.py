"""Finds the students' notebooks in a folder, and in them what is to be run.

A notebook is known by the functions in it, never by its name, and a given cell by its source.
"""

import json
import re
import zipfile
from itertools import islice
from pathlib import PurePath
from typing import NamedTuple

import nbformat
from tasks import all_tasks, notebook, sections

LARGEST, MOST = 20 * 2**20, 50  # bytes of a notebook, and notebooks of a student
NOT_WRITTEN = "Not written."
NOT_FOUND = "Not found: no notebook has a function of this name in a cell of code."


class Notebook(NamedTuple):
    """cells are (label, source) to run; stubs are the tasks whose cells are as they were given."""

    name: str
    cells: list
    stubs: set

    def programs(self, task):
        """The sources that define a task's function."""
        form = re.compile(rf"^[ \t]*(?:def[ \t]+{task}\b|{task}[ \t]*=)", re.MULTILINE)
        return [source for _, source in self.cells if form.search(source)]


def entries(folder):
    """{name: path}: the folders, zip files and notebooks in a folder, one for each student.

    The name is the entry's, without .zip or .ipynb. SystemExit if two names are the same.
    """
    found, files = {}, {}
    for path in sorted(path for path in folder.iterdir() if not is_hidden(path.name)):
        packed = path.suffix.lower() in (".zip", ".ipynb") and not path.is_dir()
        name = path.stem if packed else path.name
        same = files.setdefault(file_name(name).casefold(), path)
        if same != path:
            both = f"{same.name} and {path.name} have the same name"
            raise SystemExit(f"{folder}: {both}. Rename one, or take it away")
        found[name] = path
    return found


def file_name(name):
    """A safe name of a file for a student, without its ending."""
    return re.sub(r"[^\w .()+,-]", "-", name).encode()[:200].decode(errors="ignore")


def is_hidden(name):
    return any(part.startswith((".", "__MACOSX")) for part in PurePath(name).parts)


def files_in(path):
    """(name, content) of the notebooks of an entry and of the zip files in it, links left out."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in inside if not path.is_symlink() else []:
        name = str(file.relative_to(path)) if file != path else path.name
        if file.suffix.lower() not in (".zip", ".ipynb") or file.is_symlink() or is_hidden(name):
            continue
        with file.open("rb") as opened:
            if name.lower().endswith(".ipynb"):
                yield name, opened.read(LARGEST)
            else:
                archive = zipfile.ZipFile(opened)
                for member in archive.namelist():
                    if member.lower().endswith(".ipynb") and not is_hidden(member):
                        yield member, archive.open(member).read(LARGEST)


class Edition:
    """The code cells that the students were given; setups, by section, are to be run first."""

    def __init__(self, source):
        self.given, self.setups = {}, {}
        for section in sections():
            for cell in nbformat.read(source / notebook(section).name, as_version=4).cells:
                if cell.cell_type == "code":
                    name = cell.metadata["nbgrader"]["grade_id"]
                    self.given[cell.source.strip()] = name
                    if name.startswith("code-"):
                        self.setups[section] = "a given cell", cell.source

    def read_entry(self, path):
        """The notebooks of an entry, and sentences on those that cannot be read."""
        found, notes = [], []
        for name, data in islice(files_in(path), MOST):
            try:
                found.append(self.read_notebook(name, data))
            except Exception as error:  # of a file that may be anything at all
                notes.append(f"{name} cannot be read: {type(error).__name__}: {error}"[:200])
        return found, notes

    def read_notebook(self, name, data):
        """The notebook without cells that are as they were given, or copies of another section."""
        book = Notebook(name, [], set())
        cells = json.loads(data.decode("utf-8-sig"))["cells"]
        for number, cell in enumerate((x for x in cells if x["cell_type"] == "code"), 1):
            source, is_copy = "".join(cell["source"]), "'paste-" in str(cell.get("metadata"))
            given = self.given.get(source.strip())
            if not given and not is_copy:
                book.cells.append((f"{name}, code cell {number}", source))
            elif given and given.startswith("task-"):
                book.stubs.add(given.removeprefix("task-"))
        return book


def choose(task, notebooks):
    """The first notebook that has the task's function, and a remark if that is not all."""
    written = [book for book in notebooks if book.programs(task)]
    if written:
        first, *others = written
        different = [book.name for book in others if book.programs(task) != first.programs(task)]
        return first, f"{different[0]} has it too; {first.name} counts." if different else ""
    sources = "\n".join(source for book in notebooks for _, source in book.cells)
    unknown = set(re.findall(r"def[ \t]+(\w+)", sources)) - set(all_tasks())
    untouched = any(task in book.stubs for book in notebooks) and not unknown
    return None, NOT_WRITTEN if untouched else NOT_FOUND
