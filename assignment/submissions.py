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
NOT_FOUND = "Not found: no notebook has a function of this name."
OWN_LINES = re.compile(r"^(?:(?:import|from)[ \t].*|def[ \t].*(?:\n(?:[ \t)].*)?)*)", re.MULTILINE)


class Notebook(NamedTuple):
    """cells are (label, source) to run, texts the others; stubs are tasks as they were given."""

    name: str
    cells: list
    texts: list
    stubs: set


class Found(NamedTuple):
    """Where a task's function is: under which name, and its imports and functions, each alone."""

    book: Notebook = None
    name: str = ""
    rescue: list = []
    remark: str = ""
    state: str = ""


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
        book = Notebook(name, [], [], set())
        for number, cell in enumerate(json.loads(data.decode("utf-8-sig"))["cells"], 1):
            source, is_copy = "".join(cell["source"]), "'paste-" in str(cell.get("metadata"))
            given, is_code = self.given.get(source.strip()), cell["cell_type"] == "code"
            if not given and not is_copy:
                label = f"{name}, cell {number}, {cell['cell_type']}"
                (book.cells if is_code else book.texts).append((label, source))
            elif given and given.startswith("task-"):
                book.stubs.add(given.removeprefix("task-"))
        return book


def find(task, notebooks):
    """The first function of a task's name, in either spelling, in cells of code, then in others."""
    name = task.replace("ise", "i[sz]e")
    form = re.compile(rf"^[ \t]*(?:def[ \t]+({name})\b|({name})[ \t]*=[^=])", re.M | re.I)
    for kind in ("cells", "texts"):
        hits = [(book, *cell) for book in notebooks for cell in getattr(book, kind)]
        if hits := [hit for hit in hits if form.search(hit[2])]:
            book, label, source = hits[0]
            label, source = [hit[1:] for hit in hits if hit[0] is book][-1]  # the last one counts
            names = [one or other for one, other in form.findall(source)]
            spelled = task if task in names else names[-1]
            remarks = [f"It is called {spelled}."] * (spelled != task)
            remarks += [f"It is in {label}, not in a cell of code."] * (kind == "texts")
            versions = {hit[0].name: hit[2] for hit in hits}
            others = [name for name, text in versions.items() if text != versions[book.name]]
            remarks += [f"{others[0]} has it too; {book.name} counts."] if others else []
            rescue = OWN_LINES.findall(source)
            return Found(book, spelled, rescue, " ".join(remarks), "look" if others else "")
    sources = "\n".join(source for book in notebooks for _, source in book.cells)
    unknown = set(re.findall(r"def[ \t]+(\w+)", sources)) - set(all_tasks())
    if any(task in book.stubs for book in notebooks) and not unknown:
        return Found(remark=NOT_WRITTEN)
    return Found(remark=NOT_FOUND, state="look")
