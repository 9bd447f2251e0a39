"""The baseline and factors of ratings, by SGD in strata, in one process or many.

    python -m mf_train ml-25m.zip --rank 32 --epochs 20 --out build/factors
    torchrun --standalone --nproc-per-node 4 -m mf_train ml-25m.zip --rank 32 --out build/factors

User i is predicted to give movie j mu + row[i] + col[j] + U[i] . V[j] stars. The file has these
tensors, and the numbers of users and movies; its metadata "mf_train" are JSON: settings, RMSE ...
"""

import argparse
import hashlib
import os
import signal
import sys
import time
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mf_core import squared_error
from mf_data import read_ratings
from mf_train.baseline import levels_of_entries
from mf_train.checkpoint import load, save
from mf_train.processes import Team
from mf_train.strata import Shard


def option(meaning, default=MISSING, low=None, bound=None):
    """A field of Options; a number needs to be from low on and below the bound."""
    if bound:
        meaning += f", from {low} on and below {bound} [{default}]"
    return field(default=default, metadata={"help": meaning, "low": low, "bound": bound})


@dataclass(kw_only=True)
class Settings:
    """The options that decide every bit of the result."""

    rank: int = option("columns of U and V", 32, 1, 10_000)
    lr: float = option("learning rate", 0.02, 1e-9, 10)
    weight_decay: float = option("of the factors", 0.1, 0, 10)
    damping: float = option("pseudo-ratings of the baseline", 5.0, 0, 1e9)
    strata: int = option("bands of users and of movies; at least one a process", 8, 1, 10_000)
    seed: int = option("of the initial factors and of what is held out", 0, 0, 2**63)
    held_out: float = option("share of the ratings to test on", 0.1, 0, 1)


@dataclass(kw_only=True)
class Options(Settings):
    """All options of the command; one without a default is given by its place."""

    ratings: Path = option("a folder or zip file of MovieLens")
    out: Path = option("write the factors to OUT.safetensors", Path())
    resume: bool = option("go on from that file, if it exists", False)
    epochs: int = option("passes over the ratings", 20, 1, 10_000)
    checkpoint: int = option("write every N epochs, and after the last", 1, 1, 10_000)
    timeout: float = option("seconds without an answer until a process is lost", 30.0, 1, 1e6)


def parsed(arguments):
    """The options; argparse ends the process with a message when they are wrong."""
    parser = argparse.ArgumentParser("mf_train", description=__doc__.splitlines()[0])
    flags = {f: "--" + f.name.replace("_", "-") for f in fields(Options)}
    for f, flag in flags.items():
        kind = {"action": "store_true"} if f.type is bool else {"type": f.type}
        name = f.name if f.default is MISSING else flag
        parser.add_argument(name, **kind, default=f.default, help=f.metadata["help"])
    options = Options(**vars(parser.parse_args(arguments)))
    for f, flag in flags.items():
        low, bound = f.metadata["low"], f.metadata["bound"]
        if bound and not low <= getattr(options, f.name) < bound:
            parser.error(f"{flag} needs to be from {low} on and below {bound}")
    if not options.out.name:
        parser.error("--out needs the name of a file")
    file = f"{options.out}".removesuffix(".safetensors") + ".safetensors"
    options.out = Path(os.path.realpath(file))  # of a link, the target is replaced
    return options


def train(options):
    """Fit baseline and factors, as one process of a team; process 0 reads and writes all files."""
    team = Team.of_torchrun(options.timeout)
    if options.strata < team.size:
        raise ValueError(f"--strata is {options.strata}; {team.size} processes need {team.size}")
    shards = None
    if team.number == 0:
        tensors, metadata, training, test = prepare(options)
        factors = tensors["U"], tensors["V"]
        teams = [Team(number, team.size) for number in range(team.size)]
        shards = (Shard(x, options.strata, *factors, *training, metadata["epoch"]) for x in teams)
    shard = team.scatter(shards)
    training = None  # process 0's whole table: now each process has its share
    if shard.epoch >= options.epochs and team.number == 0:
        print(f"--resume: {shard.epoch} epochs are done; raise --epochs to go on", flush=True)
    while shard.epoch < options.epochs:
        begin = time.perf_counter()
        shard.descend(np.float32(options.lr), np.float32(options.weight_decay))
        speed = shard.size / (time.perf_counter() - begin) / 1e6
        line = f"epoch {shard.epoch} of {options.epochs}: {speed:.2f} million ratings a second"
        if shard.epoch % options.checkpoint == 0 or shard.epoch == options.epochs:
            factors = team.gather(shard.factors())
            if team.number == 0:
                tensors["U"], tensors["V"] = map(np.concatenate, zip(*factors, strict=True))
                metadata["epoch"] = shard.epoch
                if len(test[0]) > 0:
                    error = squared_error(*test, tensors["U"], tensors["V"])
                    metadata["rmse"] = (error / len(test[0])) ** 0.5
                    line += f", held-out RMSE {metadata['rmse']:.4f}"
                save(options.out, tensors, metadata)
        if team.number == 0:
            print(line, flush=True)


def prepare(options):
    """The file's tensors and metadata as of the last epoch done; the entries to train and test."""
    file = options.out
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not options.resume:
        raise FileExistsError(f"--out: {file} already exists; --resume goes on from it")
    settings = {f.name: getattr(options, f.name) for f in fields(Settings)}
    saved = load(file) if file.exists() else None
    if saved and saved[1]["settings"] != settings:
        raise ValueError(f"--resume: {file} was made with {saved[1]['settings']}")

    ratings = read_ratings(options.ratings)
    digest = hashlib.sha256(ratings.to_records(index=False)).hexdigest()
    is_test = np.random.default_rng(options.seed).random(len(ratings)) < options.held_out
    rows, users = pd.factorize(ratings["userId"], sort=True)
    cols, movies = pd.factorize(ratings["movieId"], sort=True)
    shape = len(users), len(movies)
    if options.strata > min(shape) or is_test.all():
        size = f"{shape[0]} users, {shape[1]} movies and {np.sum(~is_test)} ratings to train on"
        raise ValueError(f"{options.ratings} has {size}: lower --strata or --held-out")
    twice = ratings[ratings.duplicated(["userId", "movieId"])]
    if len(twice) > 0:
        raise ValueError(f"{options.ratings} repeats {twice.iloc[0].to_dict()}: drop one of them")
    order = np.lexsort((cols, rows))
    table = rows.astype(np.int32), cols.astype(np.int32), ratings["rating"].to_numpy()
    training = [column[order[~is_test[order]]] for column in table]
    test = [column[order[is_test[order]]] for column in table]
    print(f"{len(training[0]):,} ratings to train on, {len(test[0]):,} to test on", flush=True)

    generator = torch.Generator().manual_seed(options.seed)
    U, V = (0.1 * torch.rand(size, options.rank, generator=generator) for size in shape)
    baseline = levels_of_entries(*training, shape, options.damping)
    mu, row, col = (np.asarray(x, np.float32) for x in baseline)
    tensors = {"U": U.numpy(), "V": V.numpy(), "mu": mu, "row": row, "col": col}
    tensors |= {"users": users.to_numpy(), "movies": movies.to_numpy()}
    metadata = {"settings": settings, "digest": digest, "epoch": 0, "rmse": None}
    if saved:
        tensors, metadata = saved
        if metadata["digest"] != digest:
            raise ValueError(f"--resume: {file} is of other ratings than {options.ratings}")
    for rows, cols, values in (training, test):
        values -= tensors["mu"] + tensors["row"][rows] + tensors["col"][cols]
    return tensors, metadata, training, test


def main(arguments):
    """Run the command; the exit status, after a message if it is not 0."""
    options = parsed(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # torchrun's, if a process has died
    try:
        train(options)
        return 0
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
