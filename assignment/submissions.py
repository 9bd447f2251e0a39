"""Finds each student's notebooks in a folder: folders, archives, what learning platforms hand out.

All files are listed first, archives like folders; their names say whose they are.
"""

import html
import io
import json
import re
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unicodedata import normalize

ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
LARGEST, LARGEST_ARCHIVE = 20 * 2**20, 2**28  # bytes of a notebook, and of what is packed together
NOTEBOOKS, CELLS = 25, 2000  # of a student, of a notebook
MOODLE = r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<file>.*))?"
CANVAS = r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_(?P<attempt>\d+)_(?P<file>.+)"
BLACKBOARD = r".+_(?P<name>[^_]+)_attempt_(?P<attempt>[\d-]+)(?:_(?P<file>.+)|\.txt)"


def identified(name):
    """What a platform's name of a file or folder says, as a dictionary; None for another name."""
    matches = (re.fullmatch(form, name) for form in (MOODLE, CANVAS, BLACKBOARD))
    return next((match.groupdict() for match in matches if match), None)


def limited(name, open_file):
    """The bytes of a file, but not many more than it may have."""
    with open_file() as file:
        return file.read(LARGEST_ARCHIVE if ARCHIVE.search(name) else LARGEST + 1)


def members(name, data):
    """The files in an archive: (name, time, size, function that opens it)."""
    if name.lower().endswith(".zip"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        for info in archive.infolist():
            when = time.mktime((*info.date_time, 0, 0, -1))
            yield info.filename, when, info.file_size, partial(archive.open, info)
    else:
        archive = tarfile.open(fileobj=io.BytesIO(data))
        for info in filter(tarfile.TarInfo.isfile, archive):
            yield info.name, info.mtime, info.size, partial(archive.extractfile, info)


def unpacked(parts, when, open_file, nested=0):
    """(list of names, time, function that reads it) of a file, or of all files in an archive."""
    name, read = parts[-1], partial(limited, parts[-1], open_file)
    ending = ARCHIVE.search(name)
    if not ending or nested > 3:
        yield parts, when, read
        return
    total = 0
    try:
        for path, inner_when, size, inner_open in members(name, read()):
            total += size
            if total > LARGEST_ARCHIVE * (1 if nested else 8):
                raise ValueError("it is too large")
            names = [part for part in path.split("/") if part not in ("", ".", "..")]
            inner = [*parts[:-1], name[: ending.start()], *names]
            if not path.endswith("/") and not is_hidden(inner):
                yield from unpacked(inner, inner_when, inner_open, nested + 1)
    except Exception as error:  # a damaged archive may raise anything
        trouble = f"{name} cannot be read to its end: {type(error).__name__}: {error}"
        yield [*parts[:-1], name[: ending.start()], name], when, trouble


def is_hidden(parts):
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def listed(entry):
    """All files of an entry of the class's folder, as unpacked() has them; links are ignored."""
    found, top = [], entry.parent.resolve()
    for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
        parts = path.relative_to(entry.parent).parts
        if path.is_file() and path.resolve() == top.joinpath(*parts) and not is_hidden(parts):
            found += unpacked(list(parts), path.stat().st_mtime, partial(open, path, "rb"))
    while found and all(len(parts) > 2 for parts, _, _ in found):
        folders = {parts[1] for parts, _, _ in found}
        if len(folders) > 1 or identified(*folders):
            break  # else one folder is around everything, and says nothing
        found = [([parts[0], *parts[2:]], when, read) for parts, when, read in found]
    return found


def holds_class(files, alone):
    """Whether an entry holds a class: a platform's names, or folders and nothing beside it."""
    names = {parts[1] for parts, _, _ in files if len(parts) > 1}
    folders = len(names) > 1 and all(len(parts) > 2 for parts, _, _ in files)
    return any(map(identified, names)) or (alone and folders)


def students_in(folder, known_files):
    """All students of a folder, and notes on what belongs to nobody.

    A student has key, name, id, late, notebooks, online_text and notes. known_files are the names
    of what the students were given; what is neither a notebook nor one of these is noted.
    """
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    holders = [path for path in entries if path.is_dir() or ARCHIVE.search(path.name)]
    given = "|".join(re.escape(Path(name).stem) for name in known_files if name.endswith(".ipynb"))
    students, notes = {}, []
    for entry in entries:
        platform = identified(entry.name)
        if entry.is_symlink() or not (entry in holders or platform or entry.suffix == ".ipynb"):
            notes.append(f"{entry.name} is nobody's: not read.")
            continue
        files = listed(entry)
        if not platform and entry in holders and holds_class(files, holders == [entry]):
            files = [(parts[1:], when, read) for parts, when, read in files if len(parts) > 1]
        for parts, when, read in files or [([entry.name], 0, None)]:
            says = identified(parts[0]) or {"name": ARCHIVE.sub("", parts[0])}
            if parts == [entry.name] and not platform and entry not in holders:
                name = re.sub(given, "", entry.stem).strip(" _-.")  # ada_1.1-gradient-… is ada's
                says["name"] = name or folder.resolve().name
            student = student_of(students, says["name"], says.get("id") or "")
            student.late = student.late or ("LATE" if says.get("late") else "")
            attempt = int(re.sub(r"\D", "", says.get("attempt") or "0"))
            file = "/".join(parts[1:]) or says.get("file", parts[0])
            if file and read:  # a receipt of Blackboard's has no file
                add_file(student, file, (attempt, when), read, known_files)
    for student in students.values():
        if names := student.unread:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            student.notes.append(f"Not read: {', '.join(names[:3])}{more}.")
    return list(students.values()), notes


def student_of(students, name, id_):
    """The student of that name or ID, a new one if need be."""
    key = id_ or normalize("NFC", name)
    new = {"key": key, "name": name, "id": id_, "late": "", "online_text": ""}
    new |= {"notebooks": [], "notes": [], "unread": []}
    return students.setdefault(key, SimpleNamespace(**new))


def add_file(student, name, newness, read, known_files):
    """Read a notebook or Moodle's online text; note what is neither."""
    if isinstance(read, str):  # the trouble with an archive
        student.notes.append(read)
    elif name.endswith("onlinetext.html"):
        plain = re.sub(r"<[^>]*>", " ", read().decode("utf-8", errors="replace"))
        student.online_text = html.unescape(plain).strip()
    elif not name.endswith(".ipynb") or len(student.notebooks) == NOTEBOOKS:
        if name.rpartition("/")[2] not in known_files:
            student.unread.append(name)
    else:
        try:
            data = read()
            cells = cells_of(data)
        except Exception as error:  # whatever is wrong with a file that anybody may have made
            student.notes.append(f"{name} is not a notebook: {type(error).__name__}: {error}"[:200])
            return
        taken = [book.name for book in student.notebooks]
        name += f" ({len(taken) + 1})" * (name in taken)
        if data not in [book.data for book in student.notebooks]:
            student.notebooks.append(
                SimpleNamespace(name=name, newness=newness, data=data, cells=cells)
            )


def cells_of(data):
    """A notebook's cells, each with kind, source and grade_id ("" if it has none)."""
    if len(data) > LARGEST:
        raise ValueError("it is too large")
    cells, found = json.loads(data.decode("utf-8-sig"))["cells"], []
    if len(cells) > CELLS:
        raise ValueError(f"it has more than {CELLS} cells")
    for cell in cells:
        marks = cell.get("metadata", {}).get("nbgrader")
        name = marks.get("grade_id") if isinstance(marks, dict) else ""
        name, source = name if isinstance(name, str) else "", "".join(cell["source"])
        found.append(SimpleNamespace(kind=cell["cell_type"], source=source, grade_id=name))
    return found
