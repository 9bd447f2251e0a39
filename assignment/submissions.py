"""Finds the students' notebooks in a folder, and in them what is to be run.

A notebook is known by the functions in it, never by its name, and a given cell by its source.
"""

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import PurePath

import nbformat
from tasks import all_tasks, notebook, sections

LARGEST, MOST = 20 * 2**20, 50  # bytes of a notebook, and notebooks of a student
NOT_WRITTEN = "Not written."


@dataclass
class Notebook:
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

    The name is the entry's, without .zip or .ipynb. SystemExit if there is none, or if two names
    are the same as names of files.
    """
    found, files = {}, {}
    for path in sorted(folder.iterdir()):
        packed = path.suffix.lower() in (".zip", ".ipynb") and not path.is_dir()
        name = path.stem if packed else path.name
        if not is_hidden(name):
            same = files.setdefault(file_name(name).casefold(), path)
            if same != path:
                both = f"{same.name} and {path.name} have the same name"
                raise SystemExit(f"{folder}: {both}. Rename one, or take it away")
            found[name] = path
    if not found:
        raise SystemExit(f"{folder} holds no submission: no folder, zip file or notebook")
    return found


def file_name(name):
    """A safe name of a file for a student, without its ending."""
    return re.sub(r"[^\w .()+,-]", "-", name).encode()[:200].decode(errors="ignore")


def is_hidden(name):
    return any(part.startswith((".", "__MACOSX")) for part in PurePath(name).parts)


def is_notebook(name):
    return name.lower().endswith(".ipynb") and not is_hidden(name)


class Edition:
    """The code cells that the students were given, in the folder source."""

    def __init__(self, source):
        self.given, self.setups = {}, {}
        for section in sections():
            for cell in nbformat.read(source / notebook(section).name, as_version=4).cells:
                if cell.cell_type == "code":
                    name = cell.metadata["nbgrader"]["grade_id"]
                    self.given[cell.source.strip()] = name
                    if name.startswith("code-"):
                        self.setups[section] = cell.source

    def set_up(self, found):
        """(label, source) of the cells to run before any other, for these tasks."""
        needed = sorted({task.section for task in found})
        return [("a given cell", self.setups[section]) for section in needed]

    def read_entry(self, path):
        """All notebooks of an entry, and sentences on what cannot be read."""
        found, notes = [], []

        def read(name, open_file, argument):
            """Read a notebook, or those of a zip file, which may be anything at all."""
            try:
                with open_file(argument) as file:
                    if is_notebook(name) and len(found) < MOST:
                        found.append(self.read_notebook(name, file.read(LARGEST)))
                    else:
                        with zipfile.ZipFile(file) as archive:
                            for inner in filter(is_notebook, archive.namelist()):
                                read(inner, archive.open, inner)
            except Exception as error:
                notes.append(f"{name} cannot be read: {type(error).__name__}: {error}"[:200])

        inside = path.is_dir() and not path.is_symlink()
        for file in sorted(path.rglob("*")) if inside else [path]:
            name = str(file.relative_to(path if inside else path.parent))
            if file.is_symlink():
                notes.append(f"{name} is a link: not read.")
            elif is_notebook(name) or (file.suffix.lower() == ".zip" and not is_hidden(name)):
                read(name, file.open, "rb")
            elif file == path:
                notes.append(f"{name} is not a folder, a zip file or a notebook.")
        return found, notes

    def read_notebook(self, name, data):
        """The notebook without the cells that are as they were given."""
        book = Notebook(name, [], set())
        cells = json.loads(data.decode("utf-8-sig"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        for number, source in enumerate(sources, 1):
            given = self.given.get(source.strip())
            if not given:
                book.cells.append((f"{name}, code cell {number}", source))
            elif given.startswith("task-"):
                book.stubs.add(given.removeprefix("task-"))
        return book


def choose(task, notebooks, notes):
    """The first notebook that has the task's function, and a remark if that is not all.

    notes are sentences on what could not be read.
    """
    written = [book for book in notebooks if book.programs(task)]
    if written:
        first, *others = written
        different = [book.name for book in others if book.programs(task) != first.programs(task)]
        return first, f"{different[0]} has it too; {first.name} counts." if different else ""
    sources = "\n".join(source for book in notebooks for _, source in book.cells)
    own = set(re.findall(r"^[ \t]*def[ \t]+(\w+)", sources, re.MULTILINE)) - set(all_tasks())
    if not own and any(task in book.stubs for book in notebooks):
        return None, NOT_WRITTEN
    return None, " ".join(["Not found: no notebook has it in a cell of code.", *notes[:3]])
