"""Finds each student's notebooks in a folder, and in them functions and answers in words.

All files are listed first, those in archives too; their names say whose they are. A notebook is
known by the functions and questions in it, never by its name; a cell by its grade_id or, where a
notebook has lost these, by its source.
"""

import html
import json
import os
import re
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unicodedata import normalize

import nbformat
from tasks import notebook, sections, tasks

ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
LARGEST, LARGEST_ARCHIVE = 20 * 2**20, 2**30  # bytes of a notebook, and of what is packed together
CELLS = 2000  # of a notebook
EMPTY = "*Your answer here.*"
OWN = SimpleNamespace(kind="own", about="", source="", locked=False)  # a cell that was not given
MOODLE = r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<file>.*))?"
CANVAS = r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d\d+)_(?P<attempt>\d\d+)_(?P<file>.+)"
BLACKBOARD = r".+_(?P<name>[^_]+)_attempt_(?P<attempt>[\d-]+)(?:_(?P<file>.+)|\.txt)"


def identified(name):
    """What a platform's name of a file or folder says, as a dictionary; None for another name."""
    matches = (re.fullmatch(form, name) for form in (MOODLE, CANVAS, BLACKBOARD))
    return next((match.groupdict() for match in matches if match), None)


def unpack(path, target):
    """Unpack an archive with the times of its files; ValueError if it holds too much."""
    if path.suffix.lower() != ".zip":
        with tarfile.open(path) as archive:
            check_size(sum(info.size for info in archive))
            archive.extractall(target, filter="data")
        return
    with zipfile.ZipFile(path) as archive:
        check_size(sum(info.file_size for info in archive.infolist()))
        for info in archive.infolist():
            when = time.mktime((*info.date_time, 0, 0, -1))
            os.utime(archive.extract(info, target), (when, when))


def check_size(size, most=LARGEST_ARCHIVE):
    if size > most:
        raise ValueError("it is too large")


def files_in(folder, scratch, nested=0):
    """(names from the folder on, file or None, what is to be said) of all files in a folder.

    Archives are folders, unpacked below scratch: those in the folder, and those in these.
    """
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        ending = ARCHIVE.search(path.name)
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        if path.is_symlink():
            yield parts, None, f"{path.name} is a link: not read."
        elif path.is_dir():
            if not any(path.iterdir()):
                yield (*parts, ""), None, ""
        elif ending and nested < 2:
            around = *parts[:-1], path.name[: ending.start()]
            target, trouble = Path(tempfile.mkdtemp(dir=scratch)), ""
            try:
                unpack(path, target)
            except Exception as error:  # a damaged archive may raise anything
                trouble = f"{path.name} cannot be read to its end: {type(error).__name__}: {error}"
            inside = list(files_in(target, scratch, nested + 1))
            if trouble or not inside:
                yield (*around, ""), None, trouble
            for inner, file, note in inside:
                yield (*around, *inner), file, note
        else:
            yield parts, path, ""


def students_in(folder, known_files):
    """All students of a folder, and notes on what belongs to nobody.

    A student has key, name, id, late, notebooks, online_text and notes. known_files are the names
    of what the students were given; what is neither a notebook nor one of these is noted.
    """
    given = "|".join(re.escape(Path(name).stem) for name in known_files if name.endswith(".ipynb"))
    students, notes = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        files = list(files_in(folder, scratch))
        inside = [parts[:-1] for parts, file, _ in files if file]
        around = len(os.path.commonprefix(inside))
        if all(len(folders) > around for folders in inside):  # folders around the class's
            files = [(parts[around:] or ("",), *rest) for parts, *rest in files]
        for parts, file, note in files:
            at = next((at for at, part in enumerate(parts[:3]) if identified(part)), 0)
            says = identified(parts[at]) or {"name": parts[0]}
            if len(parts) == 1 and not identified(parts[0]):
                if not parts[0].endswith(".ipynb"):
                    notes.append(note or f"{parts[0]} is nobody's: not read.")
                    continue
                name = re.sub(given, "", Path(parts[0]).stem).strip(" _-.")
                says["name"] = name or folder.resolve().name  # ada_1.1-gradient-… is ada's
            student = student_of(students, says["name"], says.get("id") or "")
            student.late = student.late or ("LATE" if says.get("late") else "")
            student.notes += [note] if note else []
            attempt = int(re.sub(r"\D", "", says.get("attempt") or "0"))
            name = "/".join(parts[at + 1 :]) or says.get("file", parts[0])
            if file and name:  # a receipt of Blackboard's has none
                add_file(student, name, (attempt, file.stat().st_mtime), file, known_files)
    return list(students.values()), notes


def student_of(students, name, id_):
    """The student of that name or ID, a new one if need be."""
    key = id_ or normalize("NFC", name)
    name = name.lstrip("=+-@")  # a spreadsheet would take it for a formula
    new = {"key": key, "name": name, "id": id_, "late": "", "online_text": ""}
    return students.setdefault(key, SimpleNamespace(**new, notebooks=[], notes=[]))


def add_file(student, name, newness, file, known_files):
    """Read a notebook or Moodle's online text; note what is neither."""
    if name.endswith("onlinetext.html"):
        plain = re.sub(r"<[^>]*>", " ", file.read_text("utf-8", errors="replace"))
        student.online_text = html.unescape(plain).strip()
    elif name.endswith(".ipynb"):
        try:
            check_size(file.stat().st_size, LARGEST)
            data = file.read_bytes()
            cells = cells_of(data)
        except Exception as error:  # whatever is wrong with a file that anybody may have made
            student.notes.append(f"{name} is not a notebook: {type(error).__name__}: {error}"[:200])
            return
        if data not in [book.data for book in student.notebooks]:
            book = SimpleNamespace(name=name, newness=newness, data=data, cells=cells)
            student.notebooks.append(book)
    elif name.rpartition("/")[2] not in known_files:
        student.notes.append(f"Not read: {name}.")


def cells_of(data):
    """A notebook's cells, each with kind, source and grade_id ("" if it has none)."""
    cells, known = json.loads(data.decode("utf-8-sig"))["cells"], []
    check_size(len(cells), CELLS)
    for cell in cells:
        marks = cell.get("metadata", {}).get("nbgrader")
        name = marks.get("grade_id") if isinstance(marks, dict) else ""
        name, source = name if isinstance(name, str) else "", "".join(cell["source"])
        known.append(SimpleNamespace(kind=cell["cell_type"], source=source, grade_id=name))
    return known


class Edition:
    """The cells that the students were given, in the folder source."""

    def __init__(self, source):
        self.given, self.setups = {}, {}
        for section in sections():
            for cell in nbformat.read(source / notebook(section).name, as_version=4).cells:
                marks, text = cell.metadata["nbgrader"], cell.source.strip()
                kind, _, about = marks["grade_id"].partition("-")
                given = {"kind": kind, "about": about, "source": text, "locked": marks["locked"]}
                self.given[marks["grade_id"]] = SimpleNamespace(**given)
                if kind == "code":
                    self.setups.setdefault(section, []).append(text)
        self.by_source = {given.source: given for given in self.given.values()}
        del self.by_source[EMPTY]

    def recognise(self, book):
        """Give the notebook's cells the given cell that they were, and the code to run of them."""
        for cell in book.cells:
            source = cell.source.strip()
            cell.given = self.given.get(cell.grade_id) or self.by_source.get(source, OWN)
            as_given = source == cell.given.source and cell.given.kind != "code"
            only_shows = cell.given.kind in ("test", "run", "answer") and "def " not in source
            cell.code = "" if cell.kind != "code" or as_given or only_shows else cell.source

    def programs(self, book, task):
        """The cells that define a task's function, apart from its copy in 1.2."""
        form = re.compile(rf"^[ \t]*(?:def[ \t]+{task}\b|{task}[ \t]*=)", re.MULTILINE)
        own = [cell.code for cell in book.cells if cell.given.kind != "paste"]
        return [code for code in own if form.search(code)]

    def steps(self, book, names):
        """(label, source) of the cells to run before the tasks of these names are called."""
        needed = sorted({tasks()[name].section for name in names})
        steps = [("a given cell", source) for x in needed for source in self.setups.get(x, [])]
        for number, cell in enumerate((cell for cell in book.cells if cell.kind == "code"), 1):
            is_copy = cell.given.kind == "paste" and cell.given.about in names
            if cell.code and not is_copy:
                steps.append((f"{book.name}, code cell {number}", cell.code))
        return steps

    def answers(self, book, questions):
        """{question: what stands from it to the next given cell}, and a list of what else is."""
        answers, elsewhere, current = {name: [] for name in questions}, [], None
        for cell in book.cells:
            source, given = cell.source.strip(), cell.given
            for question in questions if given is OWN else []:  # answered in a cell without a name
                if source.startswith(self.given[f"asks-{question}"].source):
                    given = self.given[f"asks-{question}"]
            if given.kind in ("asks", "answer"):
                current = given.about
            own = source.replace(EMPTY, "").strip()
            if given.locked:
                lines = given.source.splitlines() if cell.kind != "code" else source.splitlines()
                own = "\n".join(x for x in source.splitlines() if x not in lines).strip()
            elif given.kind in ("task", "paste") or (cell.kind == "code" and current is None):
                own = ""
            if own:
                answers.get(current, elsewhere).append(own)
            if given.kind not in ("asks", "answer", "own"):
                current = None
        return {name: "\n\n".join(parts) for name, parts in answers.items()}, elsewhere


def choose(student, edition, questions):
    """{task: the notebook that counts or None}, {question: answer}, notes on older notebooks."""
    chosen, notes = {}, []
    books = sorted(student.notebooks, key=lambda book: (book.newness, book.name))
    for book in books:
        edition.recognise(book)
    for task in tasks():
        written = [book for book in books if edition.programs(book, task)]
        chosen[task] = (written or [None])[-1]
        for book in written[:-1]:
            notes.append(f"{book.name} has {task} too; {chosen[task].name}, newer, counts.")
    read = [edition.answers(book, questions) for book in books]
    elsewhere = [text for _, texts in read for text in texts]
    elsewhere += [student.online_text] if student.online_text else []
    words = {}
    for name in questions:
        answers = [answers[name] for answers, _ in read if answers[name]]
        words[name] = answers[-1] if answers else "\n\n".join(elsewhere)
    return chosen, words, notes
