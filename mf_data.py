"""The data sets: the coursework's 3 x 3 matrix, and ratings from three sources (data/README.md)."""

import hashlib
import os
import sys
import tomllib
import warnings
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mf_files import by_number, existing, fetch, line_of, only, opened_zip, parsed, reading, records
from mf_synthetic import USER_5, synthetic_ratings

__all__ = ["Ratings", "download_ratings", "load_coursework_matrix", "load_ratings", "load_start"]

DATA = Path(__file__).resolve().parent / "data"
PLACES = {"course": "course", "movielens": "movielens/ml-latest-small.zip"}  # in DATA
MAX_CELLS = 200_000_000  # of a dense table of ratings: 1 GB with its mask
CHUNK = 2**20  # records of a CSV file read at a time


@dataclass(frozen=True)
class Ratings:
    """Ratings of m movies (rows) by n users (columns), and where they came from."""

    A: torch.Tensor  # (m, n) float32, 0 where there is no rating; sparse COO if too large for that
    M: torch.Tensor | None  # (m, n) bool; None if A is sparse: its stored entries are the ratings
    titles: list[str]  # of the m movies
    source: str  # "synthetic", "course" or "movielens"
    note: str  # what the data are and their licence, for the reader
    genres: list[str] | None = None  # of the m movies, where the source tells
    expected: torch.Tensor | None = None  # (m, n) float32: a cell's mean rating; synthetic only


def load_coursework_matrix() -> tuple[torch.Tensor, torch.Tensor]:
    """The coursework's A (3, 3), float32, and section 3.1's M (3, 3), bool, with two missing."""
    table = tomllib.loads((DATA / "coursework.toml").read_text(encoding="utf-8"))
    A = torch.tensor(table["A"], dtype=torch.float32)
    return A, torch.tensor(table["M"], dtype=torch.bool)


def load_start(section: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The start (U, V), 3 x 2, float32, found for the report's run of section "1.2" or "3.1"."""
    start = tomllib.loads((DATA / "starts.toml").read_text(encoding="utf-8"))[section]
    return tuple(torch.tensor(start[name], dtype=torch.float32) for name in "UV")


def load_ratings(source="synthetic", path=None, *, seed: int = 0, users: int = 10_000) -> Ratings:
    """Movie ratings from one of three sources.

    "synthetic" needs no file: invented titles and simulated ratings of 1000 movies by so many
    `users`, the same for the same seed on any machine. "course" reads ratings.pt and titles.csv in
    the folder `path`. "movielens" reads ratings.csv and movies.csv of a folder or zip file, rows in
    the order of the movies' numbers and columns in that of the users', movies without a rating left
    out. Without `path`, these two are read from where `download_ratings` puts them. A table of more
    than MAX_CELLS cells, such as ml-25m, comes as a sparse tensor.

    Raises TypeError or ValueError for a wrong argument, ValueError for a file that does not hold
    what it should, and FileNotFoundError.
    """
    if source == "synthetic":
        if path is not None:
            raise ValueError(f"path is {path!r:.60}; synthetic ratings need none: leave it out")
        for name, value, least in (("seed", seed, 0), ("users", users, USER_5 + 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r:.60}; it needs an integer from {least} on")
        note = f"Synthetic ratings (seed {seed}): simulated, with invented titles; no real "
        note += "viewer or film is behind them."
        return Ratings(**synthetic_ratings(seed, users), source=source, note=note)
    readers = {"course": _course, "movielens": _movielens}
    if not isinstance(source, str) or source not in readers:
        raise ValueError(f"source is {source!r:.60}; it needs 'synthetic', 'course' or 'movielens'")
    return readers[source](DATA / PLACES[source] if path is None else _place("path", path))


def _place(name, value):
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} is {value!r:.60}; it needs to name a file or folder")
    return Path(value)


# ------------------------------------------------------------------------------- the course's files


def _course(folder):
    A = _tensor(existing(folder / "ratings.pt"))
    names = by_number(existing(folder / "titles.csv"), ["movie", "name"], max_id=len(A) - 1)
    if missing := sorted(set(range(len(A))) - names.keys()):
        raise ValueError(
            f"{folder / 'titles.csv'} has no title for movie {missing[0]}; "
            f"it needs one line for each of the {len(A)} movies of ratings.pt, from 0 on"
        )
    titles = [names[movie][0] for movie in range(len(A))]
    note = "The course's extract of the Netflix Prize ratings; they are not redistributed here."
    return Ratings(A, A != 0, titles, "course", note)


def _tensor(file):
    """The course's tensor, float32, from a file of torch.save."""
    try:
        if zipfile.is_zipfile(file):
            with opened_zip(file) as archive:  # refuses what unpacks to far too much
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is damaged: its checksum is wrong")
        A = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises half a dozen kinds for a file that is not a tensor
        raise ValueError(f"{file} is not a tensor saved by torch.save: {error!r:.300}") from error
    kinds = torch.float16, torch.bfloat16, torch.float32, torch.float64
    plain = isinstance(A, torch.Tensor) and A.layout == torch.strided and A.device.type == "cpu"
    if not plain or A.is_nested or A.ndim != 2 or A.dtype not in kinds or A.numel() > MAX_CELLS:
        what = f"a dense two-dimensional float tensor of at most {MAX_CELLS} cells"
        raise ValueError(f"{file} does not hold {what}; get it again")
    if not ((A == 0) | ((A >= 1) & (A <= 5))).all() or not A.any():
        raise ValueError(f"{file} has no rating or other values than 0 (not rated) and 1 to 5")
    try:
        _check(file)
    except ValueError as error:
        warnings.warn(f"{file} is not the file that the course published: {error}", stacklevel=4)
    return A.detach().float().contiguous()


# -------------------------------------------------------------------------------------- MovieLens


def _movielens(path):
    if path.is_dir():
        return _from_tables(existing(path / "ratings.csv"), existing(path / "movies.csv"))
    with opened_zip(existing(path)) as zipped:
        return _from_tables(only(path, zipped, "ratings.csv"), only(path, zipped, "movies.csv"))


def _from_tables(ratings_file, movies_file):
    movies = by_number(movies_file, ["movieId", "title", "genres"])
    table = _rating_table(ratings_file)
    cols, user_ids = pd.factorize(table.pop("userId"), sort=True)
    rows, movie_ids = pd.factorize(table["movieId"], sort=True)
    if unknown := set(movie_ids) - movies.keys():
        line = line_of(ratings_file, table["movieId"].isin(unknown))
        raise ValueError(f"{ratings_file} rates a movie that movies.csv lacks, on line {line}")
    size = len(movie_ids), len(user_ids)
    place = rows * size[1] + cols
    order = _order(place)
    if (np.diff(place[order]) == 0).any():
        line = line_of(ratings_file, pd.Series(place).duplicated())
        raise ValueError(f"{ratings_file} has a second rating by one user, line {line}: drop one")
    index, stars = np.stack([rows[order], cols[order]]), table["rating"].to_numpy()[order]
    A = torch.sparse_coo_tensor(index, stars, size, is_coalesced=True, check_invariants=True)
    dense = size[0] * size[1] <= MAX_CELLS
    A = A.to_dense() if dense else A
    titles, genres = zip(*(movies[movie] for movie in movie_ids), strict=True)
    note = "MovieLens (GroupLens): for research; cite Harper & Konstan (2015); redistribution on "
    note += "the same conditions."
    return Ratings(A, A > 0 if dense else None, list(titles), "movielens", note, list(genres))


def _order(place):
    """np.argsort, a part at a time: so Ctrl-C works within a second for tens of millions."""
    edges = np.linspace(0, place.max() + 1, 17).astype(np.int64)
    parts = (np.flatnonzero((place >= a) & (place < b)) for a, b in pairwise(edges))
    return np.concatenate([part[np.argsort(place[part], kind="stable")] for part in parts])


def _rating_table(file):
    """userId, movieId (int32) and rating (float32) of every record: 25 million in seconds."""
    kinds = {"userId": "int32", "movieId": "int32", "rating": "float32"}
    try:
        with reading(file) as raw:
            missing = {"keep_default_na": False, "na_values": [""]}  # an empty field and no other
            parts = pd.read_csv(raw, dtype=kinds, chunksize=CHUNK, **missing)
            table = pd.concat([_sound(part)[list(kinds)] for part in parts])
            if raw.raw.plain and len(table):
                return table
    except (ValueError, KeyError, OverflowError) as error:
        if "Calling read" in str(error):  # what pandas makes of Ctrl-C alone
            raise KeyboardInterrupt from error
        # Else the strict reader, a hundred times slower, decides, and knows the lines.
    found = [
        (parsed(file, line, "userId", user), parsed(file, line, "movieId", movie),
         parsed(file, line, "rating", rating, float, 0.5, 5))
        for line, (user, movie, rating) in records(file, list(kinds))
    ]  # fmt: skip
    if not found:
        raise ValueError(f"{file} has no rating; get it again")
    return pd.DataFrame(found, columns=list(kinds)).astype(kinds)


def _sound(part):
    """The part of a table, unless a field is empty or out of range, or records are too long."""
    longer = not isinstance(part.index, pd.RangeIndex)  # then pandas has made the first column one
    if longer or part.isna().any(axis=None) or not part["rating"].between(0.5, 5).all():
        raise ValueError("empty fields, or ratings outside 0.5 to 5")
    if (part[["userId", "movieId"]] < 0).any(axis=None):
        raise ValueError("negative numbers")
    return part


# ---------------------------------------------------------------------------------------- download

PAGES = {
    "course": "https://ecs-vlc.github.io/COMP6258/labs/lab1/",
    "movielens": "https://files.grouplens.org/datasets/movielens/",
}
FILES = {"course": ["ratings.pt", "titles.csv"], "movielens": ["ml-latest-small.zip"]}
CHECKSUMS = {  # of the course's files, as published; ml-latest-small changes now and then
    "ratings.pt": "git blob 5a33a0bb1969582c7ef331f11707d35d997afb8b",
    "titles.csv": "SHA-256 f1f37f48558fdd1306fc47bc8e86d8d556d9a08d013c3659087e9054f3fcdf90",
}


def download_ratings(source, folder=DATA, *, url=None, timeout=30) -> Path:
    """Download the files of "course" or "movielens" (ml-latest-small); return load_ratings' `path`.

    They are written to folder/source, from the sources' own pages or from `url`, a mirror. Each is
    checked (the course's by their checksums, MovieLens by loading it) before it gets its name, so
    that a download that breaks leaves nothing. A file that is there is kept, and checked as well.
    `timeout` is in seconds without an answer.

    Raises ValueError for a wrong argument, OSError when a file cannot be downloaded or stored, and
    ValueError when it is not what it should be; all say what to do.
    """
    if not isinstance(source, str) or source not in PAGES:
        raise ValueError(f"source is {source!r:.60}; it needs to be 'course' or 'movielens'")
    if not (url is None or isinstance(url, str)):
        raise TypeError(f"url is {url!r:.60}; it needs to be an address as text, or None")
    folder = _place("folder", folder)
    for name in FILES[source]:
        file = folder / source / name
        if not os.path.lexists(file):
            fetch((url or PAGES[source]).rstrip("/") + "/" + name, file, _check, timeout)
            continue
        try:
            _check(file)
        except (ValueError, OSError) as error:
            raise ValueError(f"{file} is kept, but is not right: {error}. Move it away") from error
    return folder / PLACES[source]


def _check(file):
    """Raise ValueError unless the file is the one that a source publishes."""
    if file.name not in CHECKSUMS:
        _movielens(file)
        return
    kind, expected = CHECKSUMS[file.name].rsplit(" ", 1)
    content = file.read_bytes()
    if kind == "git blob":
        found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    else:
        found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{file.name} has the {kind} {found}, and should have {expected}")


def main() -> int:
    """`make data`: one source after the other; returns the exit status."""
    status = 0
    for source in PAGES:
        try:
            print(download_ratings(source, DATA))
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
