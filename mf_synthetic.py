"""Simulated movie ratings, the default that needs no file: tastes by genre, levels, and noise."""

import numpy as np
import torch

__all__ = ["synthetic_ratings"]

# Genre: adjectives / nouns.
WORDS = """action: Burning Iron Midnight Reckless Savage Steel Thunder Vengeful Armoured Furious
Lawless Explosive / Pursuit Convoy Siege Bullet Showdown Renegade Commando Ambush Getaway Strike
Blockade Uprising; comedy: Clumsy Awkward Hilarious Ridiculous Tipsy Cheerful Accidental Goofy
Bumbling Sneezing Giggling Hapless / Wedding Roommates Landlord Holiday Reunion Butler Bachelor
Mix-Up Barbecue Parrot Neighbours Prank; drama: Silent Broken Distant Forgotten Fading Tender
Unspoken Winter Lonely Inherited Bitter Quiet / Daughter Promise Letter Orchard Verdict Homecoming
Inheritance Farewell Confession Widow Harvest Bridge; family: Magical Brave Little Curious
Enchanted Talking Sparkling Runaway Snowy Golden Whistling Giant / Puppy Treehouse Unicorn Penguin
Dragonling Lantern Rabbit Circus Hedgehog Balloon Toyshop Kitten; horror: Haunted Cursed Bleeding
Screaming Rotting Possessed Nameless Crawling Unholy Hollow Faceless Shrieking / Cellar Crypt Doll
Asylum Mirror Mortuary Attic Scarecrow Ritual Graveyard Nursery Mannequin; romance: Moonlit
Parisian Stolen Summer Secret Blushing Candlelit Endless Rainy First Dancing Velvet / Kiss
Valentine Waltz Serenade Proposal Heartbeat Bouquet Rendezvous Honeymoon Embrace Sonnet Sweetheart;
sci-fi: Quantum Orbital Galactic Synthetic Cryogenic Martian Interstellar Bionic Temporal Neutron
Lunar Robotic / Colony Reactor Paradox Android Starship Wormhole Nebula Protocol Singularity
Outpost Beacon Simulation; western: Dusty Rusty Lonesome Sunburnt Branded Outlaw Tumbleweed Prairie
Whiskey Rattlesnake Crooked Silver / Sheriff Stagecoach Saloon Canyon Gunslinger Bounty Ranch Spur
Wagon Mustang Hangman Frontier"""
MOVIES, BEAUTIFUL_MIND, USER_5 = 1000, 124, 4
UNIT = 256  # of a star: with whole units sums are exact, so that all machines agree
GENRES = [entry.split(":")[0].strip() for entry in WORDS.split(";")]


def synthetic_ratings(seed: int, users: int) -> dict:
    """A table of 1000 movies x so many users, the same for the same seed on any machine.

    A dict of A (m, n) float32, 0 where there is no rating; M (m, n) bool; titles and genres of the
    movies; and expected (m, n) float32, the mean rating behind every cell. Movies and users have
    levels, users have tastes by genre; noise is added, the sum is rounded and cut to 1 ... 5.
    Popular movies are rated more often.
    """
    for name, value, least in (("seed", seed, 0), ("users", users, USER_5 + 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {value!r:.60}; it needs an integer from {least} on")
    rng = np.random.default_rng(seed)
    genre = rng.permutation(np.arange(MOVIES) % len(GENRES))
    genre[BEAUTIFUL_MIND] = GENRES.index("drama")
    level, activity = rng.normal(0, 0.45, MOVIES), rng.normal(0, 0.4, users)
    latent = _latent(rng, genre, level, users)
    noise = _bytes_summed(rng, 8, users)  # about normal, standard deviation 0.82 stars
    A = np.clip((latent + noise + UNIT // 2) // UNIT, 1, 5).astype(np.float32)
    popularity = 0.8 * level + rng.normal(0, 0.5, MOVIES)
    chance = _whole(popularity)[:, None] + _whole(activity)[None, :]
    M = _bytes_summed(rng, 4, users) < chance
    M[BEAUTIFUL_MIND, USER_5] = False  # the exercise predicts this one
    return {
        "A": torch.from_numpy(A * M),
        "M": torch.from_numpy(M),
        "titles": _titles(rng, genre),
        "genres": [GENRES[g] for g in genre],
        "expected": torch.from_numpy(_expected_rating(latent)),
    }


def _latent(rng, genre, level, users):
    """(movies, users) int32, in units: what a user thinks of a movie before noise and rounding."""
    belongs = np.eye(len(GENRES))[genre]
    second = rng.integers(len(GENRES), size=MOVIES)  # half a share of one more genre
    belongs[np.arange(MOVIES), second] += 0.5
    taste = rng.normal(0, 0.5, (users, len(GENRES)))
    taste = np.round(taste * UNIT / 2) * 2  # even, so that half of it is whole too
    mood = rng.normal(0, 0.35, users)
    # float32 holds every product and sum here exactly, whatever order the machine adds in
    tastes = (belongs.astype(np.float32) @ taste.T.astype(np.float32)).astype(np.int32)
    return tastes + _whole(3.4 + level)[:, None] + _whole(mood)[None, :]


def _whole(stars):
    return np.round(stars * UNIT).astype(np.int32)


def _bytes_summed(rng, count, users):
    """(movies, users) int32: `count` random bytes a cell, added up and centred; near to normal."""
    total = np.full((MOVIES, users), -(255 * count // 2), np.int32)
    for _ in range(count):
        total += rng.integers(0, 256, (MOVIES, users), dtype=np.uint8)
    return total


def _expected_rating(latent):
    """The mean rating of every cell over the noise, in stars: exact, from the noise's own law."""
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
    for g, entry in enumerate(WORDS.split(";")):
        adjectives, nouns = (words.split() for words in entry.split(":")[1].split("/"))
        pairs = [f"The {x} {y} [invented {GENRES[g]}]" for x in adjectives for y in nouns]
        pairs = rng.permutation(pairs)
        rows = np.flatnonzero(genre == g)
        titles[rows] = pairs[: len(rows)]
    titles[BEAUTIFUL_MIND] = "A Beautiful Mind"
    return titles.tolist()
