"""The data sets: the coursework's 3 x 3 matrix, MovieLens, the course's table (data/README.md)."""

import codecs
import csv
import hashlib
import sys
import tomllib
import warnings
import zipfile
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import pandas as pd
import pooch
import torch

from mf_paths import DATA

__all__ = ["Ratings", "download_ratings", "load_coursework_matrix", "load_ratings", "load_start",
           "read_movies", "read_ratings"]  # fmt: skip

MAX_CELLS = 100_000_000  # of a dense table of ratings: 1.3 GB with its mask and times


@dataclass(frozen=True)
class Ratings:
    """Ratings of m movies (rows) by n users (columns), and where they came from."""

    A: torch.Tensor  # (m, n) float32, 0 where there is no rating; sparse COO if too large for that
    M: torch.Tensor | None  # (m, n) bool; None if A is sparse: its stored entries are the ratings
    titles: list[str]  # of the m movies
    source: str  # "movielens" or "course"
    note: str  # what the data are and their licence, for the reader
    genres: list[str] | None = None  # of the m movies, where the source tells
    times: torch.Tensor | None = None  # as A, int64: when it was rated, in seconds since 1970


def load_coursework_matrix() -> tuple[torch.Tensor, torch.Tensor]:
    """The coursework's A (3, 3), float32, and section 3.1's M (3, 3), bool, with two missing."""
    table = tomllib.loads((DATA / "coursework.toml").read_text(encoding="utf-8"))
    A = torch.tensor(table["A"], dtype=torch.float32)
    return A, torch.tensor(table["M"], dtype=torch.bool)


def load_start(section: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The start (U, V), 3 x 2, float32, found for the hand-in's run of section "1.2" or "3.1"."""
    start = tomllib.loads((DATA / "starts.toml").read_text(encoding="utf-8"))[section]
    return tuple(torch.tensor(start[name], dtype=torch.float32) for name in "UV")


def load_ratings(source="movielens", path=None) -> Ratings:
    """Movie ratings of "movielens" or of the "course".

    "movielens" is ml-latest-small, or the set in `path` (see `read_ratings`): rows are the rated
    movies, columns the users, in the order of their numbers; above MAX_CELLS cells it is sparse.
    "course" reads ratings.pt and titles.csv in the folder `path`, or where `make data` puts them.
    ValueError or FileNotFoundError names what is wrong.
    """
    if source not in ("movielens", "course"):
        raise ValueError(f"source is {source!r:.60}; it needs to be 'movielens' or 'course'")
    read = _course if source == "course" else _movielens
    return read(DATA / source if path is None else Path(path))


def _course(folder):
    """The course's tensor and titles; nothing in a file of theirs is run."""
    file = _existing(folder / "ratings.pt")
    try:
        A = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises half a dozen kinds for a file that is not a tensor
        raise ValueError(f"{file} is not a tensor saved by torch.save: {error!r:.300}") from error
    is_dense = isinstance(A, torch.Tensor) and A.layout == torch.strided and not A.is_nested
    if not is_dense or A.ndim != 2 or not A.is_floating_point() or A.numel() > MAX_CELLS:
        raise ValueError(f"{file} needs a dense 2-D float tensor of at most {MAX_CELLS} cells")
    A = A.detach().float().contiguous()
    if not ((A == 0) | ((A >= 1) & (A <= 5))).all() or not A.any():
        raise ValueError(f"{file} has no rating or other values than 0 (not rated) and 1 to 5")
    if not _has_checksum(file, file.name):
        warnings.warn(f"{file} is not the file that the course published", stacklevel=3)
    file = _existing(folder / "titles.csv")
    titles = _table(file, ["movie", "name"]).sort_values("movie")
    if titles["movie"].tolist() != list(range(len(A))):
        raise ValueError(f"{file} needs one title for each of the {len(A)} movies, from 0 on")
    note = "The course's extract of the Netflix Prize ratings; they are not redistributed here."
    return Ratings(A, A != 0, titles["name"].tolist(), "course", note)


TYPES = {"userId": "int32", "movieId": "int32", "rating": "float32", "timestamp": "int64",
         "title": str, "genres": str, "movie": "int32", "name": str}  # fmt: skip
RATING = ["userId", "movieId", "rating", "timestamp"]
MOVIE = ["movieId", "title", "genres"]
GENRES = """unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy
Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western""".split()  # ml-100k's flags
MOVIES_FILES = {"ratings.csv": "movies.csv", "ratings.dat": "movies.dat", "u.data": "u.item"}
# Files without a header. pandas' fast engine takes no separator of two characters, and sees an
# empty column in each "::". ml-10m is in UTF-8; ml-1m and ml-100k in Latin-1, never valid UTF-8.
codecs.register_error(
    "latin-1", lambda error: (error.object[error.start : error.end].decode("latin-1"), error.end)
)
PLAIN = {"header": None, "quoting": csv.QUOTE_NONE, "encoding_errors": "latin-1"}
LAYOUTS = {
    "ratings.dat": {"sep": ":", "names": ["userId", 1, "movieId", 3, "rating", 5, "timestamp"]},
    "movies.dat": {"sep": "::", "names": MOVIE, "engine": "python"},
    "u.data": {"sep": "\t", "names": RATING},
    "u.item": {"sep": "|", "names": [*MOVIE[:2], "released", "video", "address", *GENRES]},
}
CHUNK = 2**20  # records read at a time: between two, Ctrl-C works
MAX_RATIO = 100  # of the size of a file in a zip to its packed size


def read_ratings(path, *, times=False) -> pd.DataFrame:
    """The ratings of a MovieLens set: userId, movieId (int32), rating (float32).

    `path` is a folder or zip (not unpacked) in any published format (ml-latest, ml-25m, ml-32m;
    ml-1m, ml-10m; ml-100k), or a fold of ml-100k, such as u1.base. `times` adds timestamp (int64),
    in seconds since 1970. ValueError or FileNotFoundError names what is wrong.
    """
    file, kind = _located(path)
    ratings = _table(file, RATING if times else RATING[:3], kind)
    outside = ratings[~ratings["rating"].between(0.5, 5)]
    if len(outside):
        raise ValueError(f"{file} has a rating outside 0.5 to 5: {outside.iloc[0].to_dict()}")
    if times and len(ratings) > 1 and (ratings["timestamp"] % 1_000_000 == 0).all():
        raise ValueError(f"{file}: a spreadsheet has rounded its timestamps; get the file again")
    return ratings


def read_movies(path) -> pd.DataFrame:
    """The movies of a MovieLens set: movieId (int32), title, genres; `path` as in read_ratings."""
    ratings_file, kind = _located(path)
    file = _existing(ratings_file.parent / MOVIES_FILES[kind])
    movies = _table(file, [*MOVIE[:2], *GENRES] if kind == "u.data" else MOVIE, file.name)
    if kind == "u.data":
        movies["genres"] = ["|".join(compress(GENRES, flags)) for flags in movies[GENRES].values]
    twice = movies["movieId"][movies["movieId"].duplicated()]
    if len(twice):
        raise ValueError(f"{file} lists movie {twice.iloc[0]} twice; drop one")
    return movies[MOVIE]


def _movielens(path):
    movies = read_movies(path).set_index("movieId")
    ratings = read_ratings(path, times=True)
    cols, user_ids = pd.factorize(ratings["userId"], sort=True)
    rows, movie_ids = pd.factorize(ratings["movieId"], sort=True)
    untitled = movie_ids.difference(movies.index)
    if len(untitled):
        raise ValueError(f"{path} rates movie {untitled[0]} and has no title of it; get it again")
    size = len(movie_ids), len(user_ids)
    cells, order = torch.sort(torch.from_numpy(rows * size[1] + cols))
    twice = order[1:][cells.diff() == 0]
    if len(twice):
        user, movie = ratings.loc[int(twice[0]), ["userId", "movieId"]].astype(int)
        raise ValueError(f"{path} has a second rating of movie {movie} by user {user}; drop one")
    indices = torch.stack([cells // size[1], cells % size[1]])
    is_dense = size[0] * size[1] <= MAX_CELLS

    def tensor(column):
        values = torch.tensor(ratings[column].to_numpy())[order]
        A = torch.sparse_coo_tensor(
            indices, values, size, is_coalesced=True, check_invariants=False
        )
        return A.to_dense() if is_dense else A

    A = tensor("rating")
    M = A > 0 if is_dense else None
    titles, genres = (movies.loc[movie_ids, column].tolist() for column in ("title", "genres"))
    note = "MovieLens (GroupLens), for research and education; cite Harper & Konstan (2015)."
    return Ratings(A, M, titles, "movielens", note, genres, tensor("timestamp"))


def _existing(file):
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: run `make data`, or see data/README.md")
    return file


def _located(path):
    """A set's file of ratings, in a folder or zip, and the name in MOVIES_FILES of its kind."""
    path = Path(path).expanduser()
    if path.suffix in (".base", ".test"):
        return _existing(path), "u.data"
    if path.name in MOVIES_FILES:
        return _existing(path), path.name
    inside = (*path.glob("*"), *path.glob("*/*"))  # some programs unpack into a folder of its own
    files = inside if path.is_dir() else _packed(_existing(path))
    files = [file for file in files if file.name in MOVIES_FILES]
    if len(files) != 1:
        raise ValueError(f"{path} has {len(files)} of {', '.join(MOVIES_FILES)}; it needs one")
    return files[0], files[0].name


def _packed(path):
    """The files in a zip, to be opened."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged zip raises half a dozen kinds
        raise ValueError(f"{path} is neither a folder nor a sound zip file ({error})") from error
    for info in archive.infolist():  # zipfile reads no more of a file than is declared here
        if info.file_size > MAX_RATIO * info.compress_size + 2**20:
            raise ValueError(f"{path} unpacks to far too much ({info.filename}); do not trust it")
    return [zipfile.Path(archive, name) for name in archive.namelist()]


def _table(file, columns, kind=None):
    """These columns of a file, as pandas reads them: no field empty, and none too many."""
    options = {"dtype": TYPES, "chunksize": CHUNK, "keep_default_na": False, "na_values": [""]}
    if kind in LAYOUTS:
        options |= LAYOUTS[kind] | PLAIN
    chunks = []
    try:
        with file.open("rb") as raw:
            for chunk in pd.read_csv(raw, **options):
                chunks.append(chunk[columns])
                if chunk.empty or chunks[-1].isna().any(axis=None):
                    raise ValueError("no line, or an empty field")
                if not isinstance(chunk.index, pd.RangeIndex):  # pandas' answer to a longer line
                    raise ValueError("more fields than columns")
    except Exception as error:  # a damaged zip raises half a dozen kinds
        if "Calling read" in str(error):  # what pandas makes of Ctrl-C, and of nothing else
            raise KeyboardInterrupt from error
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} cannot be read ({reason}); get it again") from error
    return pd.concat(chunks, ignore_index=True)


# ---------------------------------------------------------------------------------------- download

COURSE_PAGE = "https://ecs-vlc.github.io/COMP6258/labs/lab1/"
MOVIELENS_PAGE = "https://files.grouplens.org/datasets/movielens/"
CHECKSUMS = {  # of the course's files, as published: git's blob id, and SHA-256
    "ratings.pt": "5a33a0bb1969582c7ef331f11707d35d997afb8b",
    "titles.csv": "f1f37f48558fdd1306fc47bc8e86d8d556d9a08d013c3659087e9054f3fcdf90",
}


def download_ratings(name="course", folder=DATA, *, timeout=30) -> Path:
    """Download the course's files, or a set of MovieLens such as "ml-25m"; return its `path`.

    A file that is there is kept. A new one gets its name when it has its checksum or, of MovieLens,
    can be read. `timeout` is in seconds. Raises OSError, which says what to do.
    """
    path = Path(folder, "course" if name == "course" else f"{name}.zip")
    files = [path / file for file in CHECKSUMS] if name == "course" else [path]
    page = COURSE_PAGE if name == "course" else MOVIELENS_PAGE
    for file in files:
        if not file.exists():
            _download(page + file.name, file, timeout)
    return path


def _download(url, file, timeout):
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(file.name + ".half")
    try:
        pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=timeout)(url, half, None)
        if file.name not in CHECKSUMS:
            read_movies(half)
            read_ratings(half)
        elif not _has_checksum(half, file.name):
            raise ValueError("wrong or damaged: it has another checksum")
        half.rename(file)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        remedy = f"try again later, or put {file} there by hand (data/README.md)"
        raise OSError(f"{url} cannot be downloaded ({reason}): {remedy}") from error
    finally:
        half.unlink(missing_ok=True)


def _has_checksum(file, name):
    content = file.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return CHECKSUMS[name] in (blob, hashlib.sha256(content).hexdigest())


def main():
    try:
        print(download_ratings(*sys.argv[1:2], folder=DATA))
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
