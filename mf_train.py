"""Ratings that outgrow a notebook: damped means and factors by stratified SGD, as a command.

    python -m mf_train ml-25m.zip --rank 32 --epochs 20 --out build/factors
    torchrun --standalone --nproc-per-node 4 -m mf_train ml-25m.zip --rank 32 --out build/factors
    python -m mf_train recommend build/factors --user 17

To be typed in a clone of the repository, with .venv/bin/ before python and torchrun. This writes
build/factors.safetensors after every epoch: U (m, rank) of the users, V (n, rank) of the movies,
mu, row (m,), col (n,), and the numbers users (m,) and movies (n,). `load_file` of safetensors.torch
reads it; `json.loads` of its metadata has the settings, the titles and the held-out RMSE.
User i is predicted to give movie j mu + row[i] + col[j] + U[i] . V[j] stars.
"""

import argparse
import hashlib
import json
import math
import os
import resource
import signal
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from mf_data import by_number, read_ratings, tables
from mf_ring import Share, Team

TO_TRAIN = {  # option: default, least, below, text
    "rank": (32, 1, 10_000, "columns of U and V"),
    "epochs": (20, 1, 10_000, "passes over the ratings"),
    "lr": (0.02, 1e-9, 10.0, "learning rate"),
    "weight-decay": (0.1, 0.0, 10.0, "of the factors"),
    "damping": (5.0, 0.0, 1e9, "pseudo-ratings of the means"),
    "strata": (8, 1, 10_000, "runs of users and of movies; at least one a process"),
    "seed": (0, 0, 2**63, "of the start and of what is held out"),
    "held-out": (0.1, 0.0, 1.0, "share of the ratings to test on"),
    "checkpoint": (1, 1, 10_000, "write FILE every N epochs, and after the last"),
    "patience": (30.0, 1.0, 1e6, "seconds without an answer until another process is lost"),
}
TO_RECOMMEND = {
    "user": (-1, 0, 2**31, "a user's number"),
    "count": (10, 1, 10**6, "how many titles"),
}
SETTINGS = "rank", "lr", "weight_decay", "damping", "strata", "seed", "held_out"  # of the result
FACTS = "settings", "digest", "titles", "epoch", "rmse"  # in a file of factors, besides the tensors
RECORD = np.dtype([("userId", "i4"), ("movieId", "i4"), ("rating", "f4")])
AGAIN = "--resume goes on from the last epoch that was written"
CHUNK = 2**20  # records read at a time


class Records:
    """All records of a ratings file, in a temporary file that the processes of a machine share."""

    def __init__(self, options, team):
        self.options = options
        file = options.out.with_name(f"{options.out.name}.records-{team.machine}")
        try:
            if team.local == 0:  # which alone reads the ratings' file
                file.unlink(missing_ok=True)
                with tables(options.ratings) as (ratings, _), open(file, "x+b") as self.file:
                    read_ratings(ratings, self)
            team.wait()
            self.file = open(file, "rb")
            team.wait()
        finally:
            if team.local == 0:
                file.unlink(missing_ok=True)  # the name; the records stay until it is closed

    def append(self, part):
        part.to_records(index=False).astype(RECORD).tofile(self.file)

    def clear(self):
        self.file.seek(0)
        self.file.truncate()

    def parts(self):
        """The records, and which are held out: always the same, in every process."""
        rng = np.random.default_rng(self.options.seed)
        self.file.seek(0)
        while len(part := np.fromfile(self.file, RECORD, CHUNK)):
            yield part, rng.random(len(part)) < self.options.held_out

    def counts(self):
        """Of users and of movies: the ratings to train on, by number; and the records' digest."""
        digest, counts = hashlib.sha256(), [pd.Series(0.0, np.array([], np.int32)) for _ in "um"]
        for part, held_out in self.parts():
            digest.update(part)
            for k, name in enumerate(("userId", "movieId")):
                some = pd.Series(~held_out).groupby(part[name]).sum()
                counts[k] = counts[k].add(some, fill_value=0)
        return *(x.sort_index().astype(int) for x in counts), digest.hexdigest()

    def entries(self, users, movies, edges):
        """Of each run of users between the edges: its entries to train on, and those held out."""
        bounds = np.append(users, math.inf)[edges]
        kept = [[] for _ in edges[1:]]
        for part, held_out in self.parts():
            run = np.searchsorted(bounds, part["userId"], side="right") - 1
            for k, found in enumerate(kept):
                found.append((part[run == k], held_out[run == k]))
        while kept:  # a run at a time: for little memory
            found, held_out = map(np.concatenate, zip(*kept.pop(0), strict=True))
            yield self.sorted(users, movies, found, held_out)

    def sorted(self, users, movies, found, held_out):
        """The entries of these records, row by row: to train on, and held out."""
        place = users.get_indexer(found["userId"]) * len(movies)
        place += movies.get_indexer(found["movieId"])
        order = np.argsort(place)
        place = place[order]
        if len(twice := np.flatnonzero(np.diff(place) == 0)):
            user, movie, _ = found[order[twice[0]]]
            path, what = self.options.ratings, f"two ratings of movie {movie} by user {user}"
            raise ValueError(f"{path} has {what}: drop one")
        values, held_out = found["rating"][order], held_out[order]
        rows, cols = (x.astype(np.int32) for x in np.divmod(place, len(movies)))
        return [(rows[k], cols[k], values[k]) for k in (~held_out, held_out)]


# ------------------------------------------------------------------------------ the file of factors


def save(file, share, ids, facts):
    """Replace the file by one with the means and factors as they are: all of them, or none."""
    m, n = map(len, ids)
    shapes = {"U": [m, share.rank], "V": [n, share.rank], "mu": [], "row": [m], "col": [n]}
    shapes, end = shapes | {"users": [m], "movies": [n]}, 0
    header = {"__metadata__": {key: json.dumps(value) for key, value in facts.items()}}
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        kind = "I32" if name in ("users", "movies") else "F32"
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    factors = chain(share.gathered(0), share.gathered(1))  # a run at a time: for little memory
    if share.team.rank > 0:
        return list(factors)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    half = file.with_name(file.name + ".half")
    try:
        with open(half, "wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            for part in chain(factors, (share.mu, *share.levels, *ids)):
                np.asarray(part).tofile(out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(half, file)
    finally:
        half.unlink(missing_ok=True)


def load(file, share):
    """Means and factors of this share."""
    with safe_open(file, "pt") as stored:
        share.mu, *share.levels = (stored.get_tensor(name) for name in ("mu", "row", "col"))
        U, V = stored.get_slice("U"), stored.get_slice("V")
        share.U = [U[share.part(0, run)] for run in share.own]
        share.V = {run: V[share.part(1, run)] for run in share.own}


def read_facts(file):
    """What the file tells besides the tensors: settings, epoch, the records' digest, titles."""
    try:
        with safe_open(file, "pt") as stored:
            return {key: json.loads(stored.metadata()[key]) for key in FACTS}
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file} is missing: a run with --out makes it") from error
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{file} holds no factors of mf_train ({error}); move it away") from error


def epochs_done(options, digest):
    """The epochs in the file of factors, 0 without one; refused if it had other settings."""
    if not options.out.exists():
        return 0
    if not options.resume:
        raise FileExistsError(f"--out: {options.out} is there; --resume goes on, or move it away")
    facts = read_facts(options.out)
    if facts["digest"] != digest:
        raise ValueError(f"--resume: {options.out} is of other ratings than {options.ratings}")
    for name, before in facts["settings"].items():
        if (now := getattr(options, name)) != before:
            name, needs = name.replace("_", "-"), "--resume needs the same"
            raise ValueError(f"--{name} is {now}, and was {before} for {options.out}: {needs}")
    return facts["epoch"]


# ------------------------------------------------------------------------------------- the commands


def train(options):
    """Fit damped means and factors; save them, and say how it goes."""
    begin, team = time.perf_counter(), Team(options.patience)
    say = print if team.rank == 0 else lambda *_, **__: None
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out: its folder cannot be made ({error}); name another") from error
    records = Records(options, team)
    *counts, digest = records.counts()
    ids, (by_user, by_movie) = [x.index for x in counts], [x.to_numpy() for x in counts]
    if options.strata > min(map(len, ids)) or not by_user.any():
        what = f"{len(by_user)} users, {len(by_movie)} movies and {by_user.sum()} ratings"
        raise ValueError(f"{options.ratings} leaves {what}: lower --strata or --held-out")
    done = epochs_done(options, digest)
    if len(set(team.everyones((digest, done)))) > 1:
        raise ValueError("the machines see different ratings, or --out is in no folder of them all")
    facts = {"settings": {name: getattr(options, name) for name in SETTINGS}, "digest": digest}
    if team.rank == 0:
        with tables(options.ratings) as (_, file):
            titles = by_number(file, ["movieId", "title"])
        if unknown := set(ids[1]) - titles.keys():
            raise ValueError(f"{file} lacks movie {min(unknown)}, which has ratings")
        facts["titles"] = [titles[movie][0] for movie in ids[1]]

    share = Share(team, (by_user, by_movie), options.strata, options.rank)
    blocks = [
        [share.blocks(k, *part) for part in parts]
        for k, parts in enumerate(records.entries(*ids, share.row_edges))
    ]
    train, test = zip(*blocks, strict=True)
    say(f"{by_user.sum():,} ratings read in {time.perf_counter() - begin:.1f} s", flush=True)
    begin = time.perf_counter()
    if done:
        load(options.out, share)
    else:
        share.fit_means(train, options.damping)
        share.draw(options.seed)
        say(f"means fitted in {time.perf_counter() - begin:.1f} s", flush=True)
    share.subtract_levels(train)
    share.subtract_levels(test)
    held_out = team.total([sum(len(values) for *_, values in run) for run in test])
    for epoch in range(done + 1, options.epochs + 1):
        begin = time.perf_counter()
        if not share.epoch(train, options.lr, options.weight_decay):
            what = f"the factors stopped being finite in epoch {epoch}"
            raise FloatingPointError(f"{what}: lower --lr from {options.lr:g}")
        speed = by_user.sum() / (time.perf_counter() - begin) / 1e6
        facts |= {"epoch": epoch, "rmse": None}
        line = f"epoch {epoch} of {options.epochs}: {speed:.2f} million ratings a second"
        if held_out:
            facts["rmse"] = (share.squared_error(test) / held_out) ** 0.5
            line += f", held-out RMSE {facts['rmse']:.4f}"
        say(line, flush=True)
        if epoch == options.epochs or epoch % options.checkpoint == 0:
            save(options.out, share, ids, facts)
    peak, sent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, share.sent
    peaks, sent = (team.everyones(x) for x in (peak, sent))
    say(f"peak memory {', '.join(f'{x:.0f}' for x in peaks)} MB; {sum(sent):,} bytes of V sent")
    say(f"{options.out}: {max(done, options.epochs)} epochs")


def recommend(options):
    """Print the movies with the highest predictions for a user."""
    facts = read_facts(options.factors)
    with safe_open(options.factors, "np") as stored:
        user = np.flatnonzero(stored.get_tensor("users") == options.user)
        if not len(user):
            raise ValueError(f"--user is {options.user}; {options.factors} has no such user")
        movies, mu, row, col = (stored.get_tensor(x) for x in ("movies", "mu", "row", "col"))
        u, V = stored.get_slice("U")[user[0] : user[0] + 1][0], stored.get_tensor("V")
    stars, parts = mu + row[user[0]] + col + V @ u, []
    if options.ratings:
        with tables(options.ratings) as (ratings, _):
            read_ratings(ratings, parts)
    rated = [part["movieId"][part["userId"] == options.user] for part in parts]
    new = np.flatnonzero(~np.isin(movies, np.concatenate([[], *rated])))
    for k in new[np.argsort(-stars[new], kind="stable")][: options.count]:
        print(f"{stars[k]:.2f}  {facts['titles'][k]}")


def factors_file(text):
    return Path(text if text.endswith(".safetensors") else text + ".safetensors")


def parsed(arguments):
    """The options; argparse ends the process with a message when they are wrong."""
    text = __doc__.partition("\n\n")[0]
    more = "mf_train recommend FILE --user N: print the best movies for a user"
    parser = argparse.ArgumentParser("mf_train", description=text, epilog=more, allow_abbrev=False)
    add = parser.add_argument
    if recommends := arguments[:1] == ["recommend"]:
        add("command", help=argparse.SUPPRESS)
        add("factors", type=factors_file, help="the --out of a run")
        add("--ratings", type=Path, help="leave out what the user rates in this folder or zip file")
    else:
        add("ratings", type=Path, help="a folder or zip file with ratings.csv and movies.csv")
        add("--out", type=factors_file, required=True, help="write FILE.safetensors")
        add("--resume", action="store_true", help="go on from FILE.safetensors, if it is there")
    options = TO_RECOMMEND if recommends else TO_TRAIN
    for name, (default, low, high, text) in options.items():
        text = f"{text}, from {low} on and below {high} [{default}]"
        add(f"--{name}", type=type(low), default=default, metavar="N", help=text)
    found = parser.parse_args(arguments)
    for name, (_, low, high, _) in options.items():
        if not low <= (value := getattr(found, name.replace("-", "_"))) < high:
            parser.error(f"--{name} is {value}; it needs to be from {low} on and below {high}")
    if not recommends and found.strata < (size := int(os.environ.get("WORLD_SIZE", 1))):
        parser.error(f"--strata is {found.strata}; {size} processes need as many at least")
    return found


def main(arguments):
    """Run a command; the exit status, after a message if it is not 0."""
    options = parsed(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # torchrun's, when a process has died
    who = f"process {os.environ['RANK']}: " if "RANK" in os.environ else ""
    try:
        (recommend if arguments[0] == "recommend" else train)(options)
        return 0
    except (ValueError, OSError, FloatingPointError) as error:
        message = f"{error}"
    except RuntimeError as error:  # gloo's
        message = f"lost another process, which has ended or does not answer; {AGAIN} ({error})"
    except KeyboardInterrupt:
        message = f"stopped; {AGAIN}"
    print(f"mf_train: {who}{message}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # at once, though other threads may still wait for a lost process
