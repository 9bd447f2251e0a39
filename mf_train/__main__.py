"""The baseline and factors of ratings, by SGD in strata, in one process or many.

    python -m mf_train ml-25m.zip --rank 32 --epochs 20 --out build/factors
    torchrun --standalone --nproc-per-node 4 -m mf_train ml-25m.zip --rank 32 --out build/factors
    python -m mf_train recommend build/factors --user 17

User i is predicted to give movie j mu + row[i] + col[j] + U[i] . V[j] stars. The file has these
tensors, and the numbers of users and movies; its metadata "mf_train" are JSON: titles, RMSE ...
"""

import argparse
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mf_core import squared_error
from mf_data import read_movies, read_ratings
from mf_train.baseline import levels_of_entries
from mf_train.checkpoint import load, lock, save
from mf_train.processes import Team
from mf_train.strata import Shard

SETTINGS = {  # what decides the result: of each the default, the lowest, a bound, and a help
    "rank": (32, 1, 10_000, "columns of U and V"),
    "lr": (0.02, 1e-9, 10.0, "learning rate"),
    "weight_decay": (0.1, 0.0, 10.0, "of the factors"),
    "damping": (5.0, 0.0, 1e9, "pseudo-ratings of the baseline"),
    "strata": (8, 1, 10_000, "runs of users and of movies; at least one a process"),
    "seed": (0, 0, 2**63, "of the initial factors and of what is held out"),
    "held_out": (0.1, 0.0, 1.0, "share of the ratings to test on"),
}
TRAIN = SETTINGS | {
    "epochs": (20, 1, 10_000, "passes over the ratings"),
    "checkpoint": (1, 1, 10_000, "write FILE every N epochs, and after the last"),
    "timeout": (30.0, 1.0, 1e6, "seconds without an answer until another process is lost"),
}
RECOMMEND = {"user": (-1, 0, 2**31, "a user's number"), "count": (10, 1, 10**6, "of movies")}


def train(options):
    """Fit baseline and factors, as one process of a team; process 0 reads and writes all files."""
    team = Team.of_torchrun(options.timeout)
    if options.strata < team.size:
        raise ValueError(f"--strata is {options.strata}; {team.size} processes need {team.size}")
    shards = None
    if team.process == 0:
        locked = lock(options.out)
        tensors, metadata, train, test = prepare(options)
        factors = tensors["U"], tensors["V"]
        teams = [Team(process, team.size) for process in range(team.size)]
        shards = (Shard(x, options.strata, *factors, *train, metadata["epoch"]) for x in teams)
    shard = team.scatter(shards)
    train = None  # process 0's whole table: now each process has its share
    while shard.epoch < options.epochs:
        begin = time.perf_counter()
        shard.descend(np.float32(options.lr), np.float32(options.weight_decay))
        speed = shard.size / (time.perf_counter() - begin) / 1e6
        line = f"epoch {shard.epoch} of {options.epochs}: {speed:.2f} million ratings a second"
        if shard.epoch % options.checkpoint == 0 or shard.epoch == options.epochs:
            factors = team.gather(shard.factors())
            if team.process == 0:
                tensors["U"], tensors["V"] = map(np.concatenate, zip(*factors, strict=True))
                metadata["epoch"] = shard.epoch
                if len(test[0]) > 0:
                    error = squared_error(*test, tensors["U"], tensors["V"])
                    metadata["rmse"] = (error / len(test[0])) ** 0.5
                    line += f", held-out RMSE {metadata['rmse']:.4f}"
                save(options.out, tensors, metadata)
        if team.process == 0:
            print(line, flush=True)
    if team.process == 0:
        locked.close()


def prepare(options):
    """The file's tensors and metadata as of the last epoch done; the entries to train and test."""
    path = options.ratings
    saved = load(options.out) if options.resume and options.out.exists() else None
    if options.out.exists() and not saved:
        raise FileExistsError(f"--out: {options.out} already exists; --resume goes on from it")
    ratings = read_ratings(path)
    settings = {name: getattr(options, name) for name in SETTINGS}
    digest = hashlib.sha256(ratings.to_records(index=False)).hexdigest()
    is_test = np.random.default_rng(options.seed).random(len(ratings)) < options.held_out
    rows, users = pd.factorize(ratings["userId"], sort=True)
    cols, movies = pd.factorize(ratings["movieId"], sort=True)
    shape = len(users), len(movies)
    if options.strata > min(shape) or is_test.all():
        size = f"{shape[0]} users, {shape[1]} movies and {np.sum(~is_test)} ratings to train on"
        raise ValueError(f"{path} has {size}: lower --strata to {min(shape)} or less or --held-out")
    order = np.lexsort((cols, rows))
    twice = ratings[ratings.duplicated(["userId", "movieId"])]
    if len(twice) > 0:
        user, movie, _ = twice.iloc[0].astype(int)
        raise ValueError(f"{path} has two ratings of movie {movie} by user {user}: drop one")
    titles = read_movies(path).set_index("movieId")["title"].reindex(movies)
    if titles.isna().any():
        raise ValueError(f"{path} lacks movie {titles.index[titles.isna()][0]}, which has ratings")
    table = rows.astype(np.int32), cols.astype(np.int32), ratings["rating"].to_numpy()
    train = [column[order[~is_test[order]]] for column in table]
    test = [column[order[is_test[order]]] for column in table]
    print(f"{len(train[0]):,} ratings to train on, {len(test[0]):,} to test on", flush=True)

    if saved:
        tensors, metadata = saved
        if metadata["settings"] != settings:
            raise ValueError(f"--resume: {options.out} was made with {metadata['settings']}")
        if metadata.get("digest") != digest or tensors["row"].shape + tensors["col"].shape != shape:
            raise ValueError(f"--resume: {options.out} is of other ratings than {path}")
    else:
        metadata = {"settings": settings, "digest": digest, "epoch": 0, "rmse": None}
        generator = torch.Generator().manual_seed(options.seed)
        U, V = (0.1 * torch.rand(size, options.rank, generator=generator) for size in shape)
        baseline = levels_of_entries(*train, shape, options.damping)
        mu, row, col = (np.asarray(x, np.float32) for x in baseline)
        tensors = {"U": U.numpy(), "V": V.numpy(), "mu": mu, "row": row, "col": col}
    tensors |= {"users": users.to_numpy(), "movies": movies.to_numpy()}
    metadata["titles"] = titles.tolist()
    for rows, cols, values in (train, test):
        values -= tensors["mu"] + tensors["row"][rows] + tensors["col"][cols]
    return tensors, metadata, train, test


def recommend(options):
    """Print the movies with the highest predictions for a user."""
    tensors, metadata = load(options.factors)
    users = np.flatnonzero(tensors["users"] == options.user)
    if len(users) == 0:
        raise ValueError(f"--user is {options.user}; {options.factors} has no such user")
    stars = tensors["mu"] + tensors["row"][users[0]] + tensors["col"]
    stars += tensors["V"] @ tensors["U"][users[0]]
    best = np.argsort(-stars, kind="stable")
    if options.ratings:
        ratings = read_ratings(options.ratings)
        rated = ratings.loc[ratings["userId"] == options.user, "movieId"]
        best = best[~np.isin(tensors["movies"][best], rated)]
    for movie in best[: options.count]:
        print(f"{stars[movie]:.2f}  {metadata['titles'][movie]}", flush=True)


def factors_file(name):
    if not name or name.endswith("/"):
        raise argparse.ArgumentTypeError("it needs the name of a file")
    return Path(name.removesuffix(".safetensors") + ".safetensors")


def parsed(arguments):
    """The options; argparse ends the process with a message when they are wrong."""
    more = "mf_train recommend FILE --user N: print the best movies for a user"
    parser = argparse.ArgumentParser("mf_train", description=__doc__.splitlines()[0], epilog=more)
    numbers = RECOMMEND if arguments[:1] == ["recommend"] else TRAIN
    if numbers is RECOMMEND:
        parser.add_argument("command")
        parser.add_argument("factors", type=factors_file, help="the --out of a run")
        parser.add_argument("--ratings", type=Path, help="leave out what the user rates there")
    else:
        parser.add_argument("ratings", type=Path, help="a folder or zip file of MovieLens")
        parser.add_argument("--out", type=factors_file, required=True, help="FILE.safetensors")
        parser.add_argument("--resume", action="store_true", help="go on from FILE, if it exists")
    for name, (default, low, bound, meaning) in numbers.items():
        option = "--" + name.replace("_", "-")
        text = f"{meaning}, from {low} on and below {bound} [{default}]"
        parser.add_argument(option, type=type(low), default=default, metavar="N", help=text)
    options = parser.parse_args(arguments)
    for name, (_, low, bound, _) in numbers.items():
        if not low <= getattr(options, name) < bound:
            parser.error(f"--{name.replace('_', '-')} needs to be from {low} on and below {bound}")
    return options


def main(arguments):
    """Run the command; the exit status, after a message if it is not 0."""
    options = parsed(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # torchrun's, if a process has died
    try:
        (recommend if arguments[0] == "recommend" else train)(options)
        return 0
    except BrokenPipeError:
        message = "standard output is closed"
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        message = str(error)
    except RuntimeError as error:  # torch's: without memory, or from gloo
        lost = "lost another process, which has ended or does not answer; --resume goes on"
        message = f"{lost} ({error})" if "RANK" in os.environ else str(error)
    except KeyboardInterrupt:
        message = "stopped; --resume goes on from the last epoch that was written"
    print(f"mf_train: {message}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # at once, though threads may still wait for a lost process
