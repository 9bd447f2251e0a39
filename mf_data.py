"""The data sets: the coursework's 3 x 3 matrix, and movie ratings from three sources (data/README.md)."""

import csv
import hashlib
import io
import os
import struct
import sys
import tempfile
import tomllib
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd
import torch

__all__ = ["Ratings", "download_ratings", "load_coursework_matrix", "load_ratings", "load_start"]

DATA = Path(__file__).resolve().parent / "data"
PLACES = {"course": "course", "movielens": "movielens/ml-latest-small.zip"}  # in DATA, where the files are looked for
MAX_CELLS = 200_000_000  # of a dense table of ratings: 1 GB with its mask
MAX_ID = 2**31 - 1
MAX_UNPACKED, MAX_RATIO = 2**32, 100  # bytes of a file in a zip: four times ml-32m, packed a hundredfold


@dataclass(frozen=True)
class Ratings:
    """Ratings of m movies (rows) by n users (columns), and where they came from."""

    A: torch.Tensor  # (m, n) float32; 0 where there is no rating. Too large for that: sparse COO, coalesced
    M: torch.Tensor | None  # (m, n) bool; True where there is a rating. None where A is sparse: what it stores is rated
    titles: list[str]  # of the m movies
    source: str  # "synthetic", "course" or "movielens"
    note: str  # what the data are and their licence, for the reader
    genres: list[str] | None = None  # of the m movies, where the source tells
    expected: torch.Tensor | None = None  # (m, n) float32: the mean rating behind every cell; synthetic only


def load_coursework_matrix():
    """The coursework's A (3, 3), float32, and the mask M (3, 3), bool, of section 3.1 with two entries missing."""
    with open(DATA / "coursework.toml", "rb") as file:
        table = tomllib.load(file)
    return torch.tensor(table["A"]), torch.tensor(table["M"], dtype=torch.bool)


def load_start(section):
    """The start (U, V), 3 x 2 each, float32, that was found for the report's run of section "1.2" or "3.1"."""
    with open(DATA / "starts.toml", "rb") as file:
        start = tomllib.load(file)[section]
    return torch.tensor(start["U"]), torch.tensor(start["V"])


def load_ratings(source="synthetic", path=None, *, seed=0):
    """Movie ratings from one of three sources, as a `Ratings`.

    "synthetic" needs no file: invented titles and simulated ratings, 1000 movies x 10000 users, the same for the same
    seed on any machine. "course" reads the coursework's ratings.pt and titles.csv in the folder `path`; "movielens"
    reads ratings.csv and movies.csv of a MovieLens folder or zip file, rows in the order of the movies' numbers and
    columns in that of the users', movies without a rating left out. Without `path`, these two are read from where
    `download_ratings` puts them. A table of more than MAX_CELLS cells, such as ml-25m, comes as a sparse tensor.

    Raises ValueError for a wrong argument or a file that does not hold what it should, and FileNotFoundError.
    """
    if source == "synthetic":
        if path is not None:
            raise ValueError(f"path is {str(path)!r}, but the synthetic ratings are read from no file; leave it out")
        return _synthetic(seed)
    readers = {"course": _course, "movielens": _movielens}
    if source not in readers:
        raise ValueError(f"source is {source!r}; it needs to be 'synthetic', 'course' or 'movielens'")
    return readers[source](DATA / PLACES[source] if path is None else Path(path))


# ------------------------------------------------------------------------------------------------------------ synthetic

WORDS = {
    "action": ("Burning Iron Midnight Reckless Savage Steel Thunder Vengeful Armoured Furious Lawless Explosive",
               "Pursuit Convoy Siege Bullet Showdown Renegade Commando Ambush Getaway Strike Blockade Uprising"),
    "comedy": ("Clumsy Awkward Hilarious Ridiculous Tipsy Cheerful Accidental Goofy Bumbling Sneezing Giggling Hapless",
               "Wedding Roommates Landlord Holiday Reunion Butler Bachelor Mix-Up Barbecue Parrot Neighbours Prank"),
    "drama": ("Silent Broken Distant Forgotten Fading Tender Unspoken Winter Lonely Inherited Bitter Quiet",
              "Daughter Promise Letter Orchard Verdict Homecoming Inheritance Farewell Confession Widow Harvest Bridge"),
    "family": ("Magical Brave Little Curious Enchanted Talking Sparkling Runaway Snowy Golden Whistling Giant",
               "Puppy Treehouse Unicorn Penguin Dragonling Lantern Rabbit Circus Hedgehog Balloon Toyshop Kitten"),
    "horror": ("Haunted Cursed Bleeding Screaming Rotting Possessed Nameless Crawling Unholy Hollow Faceless Shrieking",
               "Cellar Crypt Doll Asylum Mirror Mortuary Attic Scarecrow Ritual Graveyard Nursery Mannequin"),
    "romance": ("Moonlit Parisian Stolen Summer Secret Blushing Candlelit Endless Rainy First Dancing Velvet",
                "Kiss Valentine Waltz Serenade Proposal Heartbeat Bouquet Rendezvous Honeymoon Embrace Sonnet Sweetheart"),
    "sci-fi": ("Quantum Orbital Galactic Synthetic Cryogenic Martian Interstellar Bionic Temporal Neutron Lunar Robotic",
               "Colony Reactor Paradox Android Starship Wormhole Nebula Protocol Singularity Outpost Beacon Simulation"),
    "western": ("Dusty Rusty Lonesome Sunburnt Branded Outlaw Tumbleweed Prairie Whiskey Rattlesnake Crooked Silver",
                "Sheriff Stagecoach Saloon Canyon Gunslinger Bounty Ranch Spur Wagon Mustang Hangman Frontier"),
}  # fmt: skip
MOVIES, USERS, BEAUTIFUL_MIND, USER_5 = 1000, 10_000, 124, 4
UNIT = 256  # ratings are simulated in whole 256ths of a star: sums are exact then, so that all machines agree


def _synthetic(seed):
    """Low-rank tastes by genre + a level for each movie and user + noise, cut to 1 ... 5; popular movies rated more."""
    rng = np.random.default_rng(seed)
    genre = rng.permutation(np.arange(MOVIES) % len(WORDS))
    genre[BEAUTIFUL_MIND] = list(WORDS).index("drama")
    level, activity = rng.normal(0, 0.45, MOVIES), rng.normal(0, 0.4, USERS)
    latent = _latent(rng, genre, level)
    noise = _bytes_summed(rng, 8)  # about normal, standard deviation 0.82 stars
    A = np.clip((latent + noise + UNIT // 2) // UNIT, 1, 5).astype(np.float32)
    popularity = 0.8 * level + rng.normal(0, 0.5, MOVIES)
    chance = _whole(popularity)[:, None] + _whole(activity)[None, :]
    M = _bytes_summed(rng, 4) < chance
    M[BEAUTIFUL_MIND, USER_5] = False  # the exercise predicts this one
    return Ratings(
        A=torch.from_numpy(A * M),
        M=torch.from_numpy(M),
        titles=_titles(rng, genre),
        source="synthetic",
        note=f"Synthetic ratings (seed {seed}): simulated, with invented titles; no real viewer or film is behind them.",
        genres=[list(WORDS)[g] for g in genre],
        expected=torch.from_numpy(_expected_rating(latent)),
    )


def _latent(rng, genre, level):
    """(movies, users) int32, in units: what a user thinks of a movie before noise and rounding."""
    belongs = np.eye(len(WORDS))[genre]
    second = rng.integers(len(WORDS), size=MOVIES)  # half a share of one more genre
    belongs[np.arange(MOVIES), second] += 0.5
    taste = np.round(rng.normal(0, 0.5, (USERS, len(WORDS))) * UNIT / 2) * 2  # even: half of it is whole too
    mood = rng.normal(0, 0.35, USERS)
    # float32 holds every product and sum here exactly, whatever order the machine adds in
    tastes = (belongs.astype(np.float32) @ taste.T.astype(np.float32)).astype(np.int32)
    return tastes + _whole(3.4 + level)[:, None] + _whole(mood)[None, :]


def _whole(stars):
    return np.round(stars * UNIT).astype(np.int32)


def _bytes_summed(rng, count):
    """(movies, users) int32: `count` random bytes a cell, added up and centred; near to normal."""
    total = np.full((MOVIES, USERS), -(255 * count // 2), np.int32)
    for _ in range(count):
        total += rng.integers(0, 256, (MOVIES, USERS), dtype=np.uint8)
    return total


def _expected_rating(latent):
    """The mean of the rating over the noise, for every cell, in stars: exact, from the noise's own distribution."""
    law = np.ones(1)
    for _ in range(8):
        law = np.convolve(law, np.full(256, 1 / 256))
    noise = np.arange(len(law)) - 255 * 8 // 2
    low, high = latent.min(), latent.max()
    rating = np.clip((np.arange(low, high + 1)[:, None] + noise + UNIT // 2) // UNIT, 1, 5)
    return (rating @ law).astype(np.float32)[latent - low]


def _titles(rng, genre):
    """One title a movie, each once: "The Orbital Reactor [invented sci-fi]"."""
    titles = np.empty(MOVIES, dtype=object)
    for g, (name, words) in enumerate(WORDS.items()):
        adjectives, nouns = (text.split() for text in words)
        pairs = rng.permutation([f"The {x} {y} [invented {name}]" for x in adjectives for y in nouns])
        rows = np.flatnonzero(genre == g)
        titles[rows] = pairs[: len(rows)]
    titles[BEAUTIFUL_MIND] = "A Beautiful Mind"
    return titles.tolist()


# ----------------------------------------------------------------------------------------------------------- from files


def _course(folder):
    A = _tensor(folder / "ratings.pt")
    names = _by_number(_existing(folder / "titles.csv"), ["movie", "name"], max_id=len(A) - 1)
    if missing := sorted(set(range(len(A))) - names.keys()):
        raise ValueError(
            f"{folder / 'titles.csv'} has no title for movie {missing[0]}; "
            f"it needs one line for each of the {len(A)} movies of ratings.pt, from 0 on"
        )
    return Ratings(
        A=A,
        M=A != 0,
        titles=[names[movie][0] for movie in range(len(A))],
        source="course",
        note="The course's extract of the Netflix Prize ratings; they are not redistributed here.",
    )


def _tensor(file):
    """The course's tensor, float32."""
    _existing(file)
    try:
        if zipfile.is_zipfile(file):  # as torch.save writes it
            with _opened_zip(file):
                pass  # it refuses what unpacks to far too much
        A = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises half a dozen kinds for a file that is not a tensor
        raise ValueError(f"{file} is not a tensor saved by torch.save: {error!r:.300}; get it again") from error
    kinds = torch.float16, torch.bfloat16, torch.float32, torch.float64
    plain = isinstance(A, torch.Tensor) and A.layout == torch.strided and A.device.type == "cpu" and not A.is_nested
    if not plain or A.ndim != 2 or A.dtype not in kinds or A.numel() > MAX_CELLS:
        raise ValueError(
            f"{file} does not hold a dense two-dimensional float tensor of at most {MAX_CELLS} cells; get it again"
        )
    A = A.detach().float().contiguous()
    if not ((A == 0) | ((A >= 1) & (A <= 5))).all() or not A.any():
        raise ValueError(f"{file} needs 0 (not rated) and ratings from 1 to 5, and has other values or no rating")
    return A


def _movielens(path):
    if path.is_dir():
        return _movielens_tables(_existing(path / "ratings.csv"), _existing(path / "movies.csv"))
    with _opened_zip(_existing(path)) as archive:
        return _movielens_tables(*(_only(path, archive, name) for name in ("ratings.csv", "movies.csv")))


def _movielens_tables(ratings_file, movies_file):
    movies = _by_number(movies_file, ["movieId", "title", "genres"])
    table = _rating_table(ratings_file)
    cols, user_ids = pd.factorize(table.pop("userId"), sort=True)
    rows, movie_ids = pd.factorize(table["movieId"], sort=True)
    if unknown := set(movie_ids) - movies.keys():
        line = _line(ratings_file, table["movieId"].isin(unknown))
        raise ValueError(f"{ratings_file} rates a movie that movies.csv does not have, on line {line}")
    place = torch.from_numpy(np.stack([rows, cols]))
    rating = torch.tensor(table["rating"].to_numpy())
    size = len(movie_ids), len(user_ids)
    A = torch.sparse_coo_tensor(place, rating, size, check_invariants=True).coalesce()
    if A._nnz() < len(table):  # coalescing has added up the ratings of one cell
        line = _line(ratings_file, pd.Series(rows * size[1] + cols).duplicated())
        raise ValueError(f"{ratings_file} has a second rating of one movie by one user, on line {line}; drop one")
    dense = size[0] * size[1] <= MAX_CELLS
    A = A.to_dense() if dense else A
    return Ratings(
        A=A,
        M=A > 0 if dense else None,
        titles=[movies[movie][0] for movie in movie_ids],
        source="movielens",
        note="MovieLens (GroupLens): for research; cite Harper & Konstan (2015); redistribution on the same conditions.",
        genres=[movies[movie][1] for movie in movie_ids],
    )


def _rating_table(file):
    """userId, movieId and rating of every record, in int32 and float32: 25 million of them in seconds."""
    kinds = {"userId": "int32", "movieId": "int32", "rating": "float32"}
    try:
        with _reading(file) as raw:
            # Only an empty field is missing; parts, because the other columns need not all be in memory.
            parts = pd.read_csv(raw, dtype=kinds, keep_default_na=False, na_values=[""], chunksize=2**20)
            table = pd.concat([_sound(part)[list(kinds)] for part in parts], ignore_index=True)
    except (ValueError, KeyError, OverflowError) as error:
        for line, (user, movie, rating) in _records(file, list(kinds)):  # slow, and knows the lines
            _number(file, line, "userId", user)
            _number(file, line, "movieId", movie)
            _number(file, line, "rating", rating, float, 0.5, 5)
        raise ValueError(f"{file} does not hold numbers as pandas.read_csv reads them: {error}") from error
    if table.empty:
        raise ValueError(f"{file} has no rating; get it again")
    return table


def _sound(part):
    """The part of a table, unless a field is empty or outside its range, or the records are longer than the header."""
    longer = not isinstance(part.index, pd.RangeIndex)  # pandas takes the first column for an index then
    if longer or part.isna().any(axis=None) or not part["rating"].between(0.5, 5).all():
        raise ValueError("empty fields, or ratings outside 0.5 to 5")
    if (part["userId"] < 0).any() or (part["movieId"] < 0).any():
        raise ValueError("negative numbers")
    return part


def _existing(file):
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "is missing"
        raise FileNotFoundError(f"{file} {what}; data/README.md says where to get it, and what `make data` downloads")
    return file


# ------------------------------------------------------------------------------------------------------------ CSV files


def _by_number(file, columns, max_id=MAX_ID):
    """{number: the other columns' fields} of a CSV file whose first column gives every record a number of its own."""
    found = {}
    for line, (number, *others) in _records(file, columns):
        number = _number(file, line, columns[0], number, high=max_id)
        if number in found:
            raise ValueError(f"{file} has a second line for {columns[0]} {number}, line {line}; drop one")
        found[number] = others
    return found


def _records(file, columns):
    """Of every record of a CSV file in UTF-8 with a header: the line it begins on, and its fields in these columns."""
    with _reading(file) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        header = next(reader, [])
        if missing := [column for column in columns if column not in header]:
            raise ValueError(f"{file} has no column {', '.join(missing)}; its first line needs {','.join(columns)}")
        where = [header.index(column) for column in columns]
        line = reader.line_num + 1  # a quoted field may span lines
        for fields in reader:
            if fields and len(fields) != len(header):
                raise ValueError(
                    f"{file} has {len(fields)} fields on line {line}; it needs {len(header)} as its header"
                )
            if "" in fields:
                raise ValueError(f"{file} has an empty field on line {line}: {header[fields.index('')]} needs a value")
            if any("\0" in field for field in fields):
                raise ValueError(f"{file} has a NUL character on line {line}; get it again")
            if fields:
                yield line, [fields[k] for k in where]
            line = reader.line_num + 1


def _number(file, line, column, text, kind=int, low=0, high=MAX_ID):
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{file} has {text!r:.40} on line {line}: {column} needs {what} from {low} to {high}")
    return number


def _line(file, where):
    """The line of the first record that is marked in `where`."""
    return next(islice(_records(file, []), int(np.argmax(where)), None))[0]


@contextmanager
def _reading(file):
    """The bytes of a file in a folder or a zip, to read; what is wrong with them as a ValueError that names the file."""
    try:
        with file.open("rb") as raw:
            yield raw
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8 ({error}); save it in that encoding") from error
    except (csv.Error, zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, OSError) as error:
        raise ValueError(f"{file} cannot be read ({error}); get it again") from error


# ------------------------------------------------------------------------------------------------------------ zip files


@contextmanager
def _opened_zip(path):
    """The zip file, to read, unless a name in it leads out of its folder or a file in it unpacks to far too much."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # what is not a zip file raises half a dozen kinds
        raise ValueError(f"{path} is neither a folder nor a sound zip file ({error}); get it again") from error
    with archive:
        for info in archive.infolist():
            name = PureWindowsPath(info.filename)  # which takes both kinds of slash, and a drive
            if name.anchor or ".." in name.parts:
                raise ValueError(f"{path} has a file {info.filename!r:.100}, outside its own folder; do not trust it")
            # zipfile reads no more of a file than is declared here.
            if info.file_size > min(MAX_UNPACKED, MAX_RATIO * info.compress_size + 2**20):
                raise ValueError(f"{path} unpacks to far too much ({info.filename!r:.100}); do not trust it")
        yield archive


def _only(path, archive, name):
    """The one file of this name in whatever folder of the zip, as a path to open: nothing is unpacked to the disk."""
    found = [file for file in archive.namelist() if PureWindowsPath(file).name == name]
    if len(found) != 1:
        raise ValueError(f"{path} has {len(found)} files {name}; it needs one: get it again")
    return zipfile.Path(archive, found[0])


# ------------------------------------------------------------------------------------------------------------- download

PAGES = {
    "course": "https://ecs-vlc.github.io/COMP6258/labs/lab1/",
    "movielens": "https://files.grouplens.org/datasets/movielens/",
}
FILES = {"course": ["ratings.pt", "titles.csv"], "movielens": ["ml-latest-small.zip"]}
CHECKSUMS = {  # of the course's files, as published; ml-latest-small changes now and then
    "ratings.pt": "git blob 5a33a0bb1969582c7ef331f11707d35d997afb8b",
    "titles.csv": "SHA-256 f1f37f48558fdd1306fc47bc8e86d8d556d9a08d013c3659087e9054f3fcdf90",
}


def download_ratings(source, folder=DATA, *, url=None, timeout=30):
    """Download the files of "course" or "movielens" (ml-latest-small), and return the `path` for `load_ratings`.

    They are written to folder/source, from the sources' own pages or from `url`, a mirror. Each is checked (the
    course's by their checksums, MovieLens by loading it) before it gets its name, so that a download that breaks leaves
    nothing. A file that is there is kept, and checked as well. `timeout` is in seconds without an answer.

    Raises OSError when a file cannot be downloaded, ValueError when it is not what it should be; both say what to do.
    """
    if source not in PAGES:
        raise ValueError(f"source is {source!r}; what can be downloaded is 'course' or 'movielens'")
    for name in FILES[source]:
        file = Path(folder) / source / name
        if not file.exists():
            _download((url or PAGES[source]).rstrip("/") + "/" + name, file, timeout)
            continue
        try:
            _check(file)
        except (ValueError, OSError) as error:
            raise ValueError(f"{file} is kept, but is not the file to download: {error}. Move it away first") from error
    return Path(folder) / PLACES[source]


def _download(url, file, timeout):
    import pooch  # here, because it takes a while

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="unfinished-") as folder:
        unfinished = Path(folder) / file.name
        by_hand = f"Try again later, or put {file.name} into {file.parent} by hand (data/README.md)"
        try:
            pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=timeout)(url, unfinished, None)
        except OSError as error:  # what requests raises is one too
            reason = " ".join(str(error).split())
            raise OSError(f"{url} cannot be downloaded. {by_hand}. The reason: {reason}") from error
        try:
            _check(unfinished)
        except ValueError as error:
            raise ValueError(f"{url} gave a wrong or damaged file. {by_hand}. The reason: {error}") from error
        os.replace(unfinished, file)


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


def _main():
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
    sys.exit(_main())
