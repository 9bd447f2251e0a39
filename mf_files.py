"""Files that nobody vouches for: CSV, also in a zip, read strictly; downloads that replace nothing.

What is wrong with a file is a ValueError, or FileNotFoundError, that names it, line and remedy.
"""

import csv
import io
import lzma
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PureWindowsPath

import numpy as np

__all__ = ["by_number", "existing", "fetch", "line_of", "only", "opened_zip", "parsed", "reading",
           "records"]  # fmt: skip

MAX_ID = 2**31 - 1  # the largest number of a movie or user
MAX_LINE = 2**17  # bytes
UNREADABLE = (csv.Error, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
              RuntimeError, OSError)  # fmt: skip  # what reading a damaged file or zip may raise
MAX_UNPACKED, MAX_RATIO = (
    2**32,
    100,
)  # bytes of a file in a zip: four times ml-32m, packed a hundredfold


def existing(file):
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "is missing"
        raise FileNotFoundError(
            f"{file} {what}; data/README.md says where to get it, and what `make data` downloads"
        )
    return file


def by_number(file, columns, max_id=MAX_ID):
    """{number: the other columns' fields} of a CSV file whose first column numbers its records."""
    found = {}
    for line, (number, *others) in records(file, columns):
        number = parsed(file, line, columns[0], number, high=max_id)
        if number in found:
            raise ValueError(
                f"{file} has a second line for {columns[0]} {number}, line {line}; drop one"
            )
        found[number] = others
    return found


def records(file, columns):
    """Of every record of a CSV file with a header: its first line, its fields in these columns."""
    with reading(file) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        header = next(filter(None, reader), [])
        if missing := [column for column in columns if column not in header]:
            needs = f"its first line needs {','.join(columns)}"
            raise ValueError(f"{file} has no column {', '.join(missing)}; {needs}")
        where = [header.index(column) for column in columns]
        line = reader.line_num + 1  # a quoted field may span lines
        for fields in reader:
            if fields and len(fields) != len(header):
                needs = f"it needs {len(header)} as its header"
                raise ValueError(f"{file} has {len(fields)} fields on line {line}; {needs}")
            if "" in fields:
                needs = f"{header[fields.index('')]} needs a value"
                raise ValueError(f"{file} has an empty field on line {line}: {needs}")
            if any("\0" in field for field in fields):
                raise ValueError(f"{file} has a NUL character on line {line}; get it again")
            if fields:
                yield line, [fields[k] for k in where]
            line = reader.line_num + 1


def parsed(file, line, column, text, kind=int, low=0, high=MAX_ID):
    try:
        value = kind(text) if "_" not in text else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        needs = f"{'a whole number' if kind is int else 'a number'} from {low} to {high}"
        raise ValueError(f"{file} has {text!r:.40} on line {line}: {column} needs {needs}")
    return value


def line_of(file, where):
    """The line of the first record that is marked in `where`."""
    return next(islice(records(file, []), int(np.argmax(where)), None))[0]


class _Bounded(io.RawIOBase):
    """The bytes of a file without an endless line; plain: whether no quote or NUL is among them."""

    def __init__(self, raw):
        self.inner, self.plain, self.length = raw, True, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        block = self.inner.read(min(len(buffer), MAX_LINE // 2))
        end = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self.length = len(block) - end - 1 + (self.length if end < 0 else 0)
        if self.length > MAX_LINE:
            raise OSError(f"a line is longer than {MAX_LINE} bytes")
        self.plain = self.plain and b'"' not in block and b"\0" not in block
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def reading(file):
    """The bytes of a file in a folder or a zip, to read; ValueError where they cannot be read."""
    try:
        with file.open("rb") as raw:
            yield io.BufferedReader(_Bounded(raw), 2**18)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8 ({error}); save it so") from error
    except UNREADABLE as error:
        raise ValueError(f"{file} cannot be read ({error}); get it again") from error


@contextmanager
def opened_zip(path):
    """The zip file, to read, if no name in it leads out and no file unpacks to far too much."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # what is not a zip file raises half a dozen kinds
        what = f"neither a folder nor a sound zip file ({error})"
        raise ValueError(f"{path} is {what}: name one of them, or get it again") from error
    with archive:
        for info in archive.infolist():
            name = PureWindowsPath(info.filename)  # which takes both kinds of slash, and a drive
            if name.anchor or ".." in name.parts:
                what = f"has a file {info.filename!r:.100}, outside its own folder"
                raise ValueError(f"{path} {what}; do not trust it")
            # zipfile reads no more of a file than is declared here.
            if info.file_size > min(MAX_UNPACKED, MAX_RATIO * info.compress_size + 2**20):
                what = f"unpacks to far too much ({info.filename!r:.100})"
                raise ValueError(f"{path} {what}; do not trust it")
        yield archive


def only(path, archive, name):
    """The one file of this name in whatever folder of the zip, as a path to open."""
    found = [file for file in archive.namelist() if PureWindowsPath(file).name == name]
    if len(found) != 1:
        raise ValueError(f"{path} has {len(found)} files {name}; it needs one: get it again")
    return zipfile.Path(archive, found[0])


def fetch(url, file, check, timeout):
    """Download a file and give it its name if check(file) raises no ValueError."""
    import pooch  # here, because it takes a while

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        what = f"{next(filter(os.path.lexists, file.parents))} is a file, and needs to be a folder"
        raise NotADirectoryError(f"{what}: move it away") from error
    for left in file.parent.glob("unfinished-*"):  # of a download that was killed
        shutil.rmtree(left, ignore_errors=True)
    by_hand = f"Try again later, or put {file.name} into {file.parent} by hand (data/README.md)"
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="unfinished-") as folder:
        unfinished = Path(folder) / file.name
        try:
            download = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=timeout)
            download(url, unfinished, None)
        except (OSError, ValueError) as error:  # what requests raises is one of them
            reason = " ".join(str(error).split())
            raise OSError(f"{url} cannot be downloaded. {by_hand}. The reason: {reason}") from error
        try:
            check(unfinished)
        except ValueError as error:
            what = f"{url} gave a wrong or damaged file"
            raise ValueError(f"{what}. {by_hand}. The reason: {error}") from error
        try:
            os.link(unfinished, file)  # unlike a renaming, it never replaces a file
        except FileExistsError as error:
            spare = Path(tempfile.mkdtemp(dir=file.parent, prefix="downloaded-")) / file.name
            os.rename(unfinished, spare)
            what = f"{file} has appeared meanwhile and is kept"
            raise FileExistsError(f"{what}; the download is {spare}") from error
