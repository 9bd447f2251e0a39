"""The data sets: the coursework's 3 x 3 matrix, and movie ratings from three sources (data/README.md)."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

__all__ = ["Ratings", "load_coursework_matrix", "load_ratings", "load_start"]

DATA = Path(__file__).resolve().parent / "data"
MAX_CELLS = 200_000_000  # of a dense table of ratings: 1 GB with its mask


@dataclass(frozen=True)
class Ratings:
    """Ratings of m movies (rows) by n users (columns), and where they came from."""

    A: torch.Tensor  # (m, n) float32; 0 where there is no rating
    M: torch.Tensor  # (m, n) bool; True where there is one
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
    reads a MovieLens folder with ratings.csv and movies.csv, rows in the order of the movies' numbers and columns in
    that of the users', movies without a rating left out.

    Raises ValueError for a wrong argument or a file that does not hold what it should, and FileNotFoundError.
    """
    if source == "synthetic":
        if path is not None:
            raise ValueError(f"path is {str(path)!r}, but the synthetic ratings are read from no file; leave it out")
        return _synthetic(seed)
    readers = {"course": _course, "movielens": _movielens}
    if source not in readers:
        raise ValueError(f"source is {source!r}; it needs to be 'synthetic', 'course' or 'movielens'")
    if path is None:
        raise ValueError(f"path is missing: the folder that holds the {source} files (data/README.md says where from)")
    return readers[source](Path(path))


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
    ratings_file, titles_file = folder / "ratings.pt", folder / "titles.csv"
    try:
        A = torch.load(_existing(ratings_file), weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises half a dozen kinds for a file that is not a tensor
        raise ValueError(f"{ratings_file} is not a tensor saved by torch.save: {error!r:.200}") from error
    if not isinstance(A, torch.Tensor) or A.ndim != 2 or not A.is_floating_point():
        raise ValueError(f"{ratings_file} does not hold a two-dimensional float tensor; get the course's file again")
    if not ((A == 0) | ((A >= 1) & (A <= 5))).all():
        raise ValueError(f"{ratings_file} has values other than 0 (not rated) and ratings from 1 to 5")
    titles = _csv(titles_file, integers=["movie"], texts=["name"])
    if sorted(titles["movie"]) != list(range(len(A))):
        raise ValueError(f"{titles_file} needs one line for each of the {len(A)} movies of {ratings_file.name}, 0 on")
    return Ratings(
        A=A.float(),
        M=A != 0,
        titles=titles.sort_values("movie")["name"].tolist(),
        source="course",
        note="The course's extract of the Netflix Prize ratings; they are not redistributed here.",
    )


def _movielens(folder):
    file = folder / "ratings.csv"
    table = _csv(file, integers=["userId", "movieId"], numbers=["rating"])
    movies = _csv(folder / "movies.csv", integers=["movieId"], texts=["title", "genres"]).set_index("movieId")
    if not table["rating"].between(0.5, 5).all():
        raise ValueError(f"{file} has ratings outside 0.5 to 5, on line {_line(~table['rating'].between(0.5, 5))}")
    if movies.index.has_duplicates:
        raise ValueError(
            f"{folder / 'movies.csv'} has a second line for one movie, line {_line(movies.index.duplicated())}"
        )
    if (repeated := table.duplicated(["userId", "movieId"])).any():
        raise ValueError(f"{file} has a second rating of one movie by one user, on line {_line(repeated)}")
    if not (known := table["movieId"].isin(movies.index)).all():
        raise ValueError(f"{file} rates a movie that movies.csv does not have, on line {_line(~known)}")
    rows, movie_ids = pd.factorize(table["movieId"], sort=True)
    cols, user_ids = pd.factorize(table["userId"], sort=True)
    if len(movie_ids) * len(user_ids) > MAX_CELLS:
        raise ValueError(
            f"{file} has {len(movie_ids)} movies x {len(user_ids)} users, too many for a dense table; "
            "take a smaller MovieLens set, such as ml-latest-small"
        )
    A = torch.zeros(len(movie_ids), len(user_ids))
    A[rows, cols] = torch.tensor(table["rating"].to_numpy(), dtype=torch.float32)
    return Ratings(
        A=A,
        M=A > 0,
        titles=movies.loc[movie_ids, "title"].tolist(),
        source="movielens",
        note="MovieLens (GroupLens): for research; cite Harper & Konstan (2015); redistribution on the same conditions.",
        genres=movies.loc[movie_ids, "genres"].tolist(),
    )


def _existing(file):
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; data/README.md says where to get it")
    return file


def _csv(file, integers, numbers=(), texts=()):
    """These columns of a CSV file in UTF-8 with a header, of these kinds, none empty."""
    columns = [*integers, *numbers, *texts]
    try:
        # Only an empty field is missing: pandas would take a movie called "None" or "NA" for one too.
        table = pd.read_csv(_existing(file), dtype=str, keep_default_na=False, na_values=[""])
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{file} is not a CSV file in UTF-8: {error}") from error
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{file} has no column {', '.join(missing)}; it needs {', '.join(columns)}")
    table = table[columns]
    if (empty := table.isna().any(axis=1)).any():
        raise ValueError(f"{file} has an empty field on line {_line(empty)}")
    for column in [*integers, *numbers]:
        values = pd.to_numeric(table[column], errors="coerce")
        wrong = values.isna() | (values % 1 != 0 if column in integers else False)
        if wrong.any():
            kind = "a whole number" if column in integers else "a number"
            raise ValueError(
                f"{file} has {table[column][wrong].iloc[0]!r:.40} on line {_line(wrong)}: {column} needs {kind}"
            )
        table = table.assign(**{column: values.astype("int64" if column in integers else "float64")})
    return table


def _line(where):
    return int(np.flatnonzero(where)[0]) + 2  # lines count from 1, and the first is the header
