"""`make bench`: how fast the modules are beside other code that does the same on the same data.

python tools/bench.py           all pieces of work, each in a process of its own: report/bench.md
python tools/bench.py WORK ...  some of them, in this process: their rows are printed

The programs for a piece of work take turns, A B A B. A time per epoch is the difference between a
long and a short run, so that preparing the data does not count.
"""

import os
import platform
import re
import subprocess
import sys
import time
from functools import cache, partial
from pathlib import Path
from timeit import timeit

import nbformat
import numpy as np
import pandas as pd
import psutil
import torch

import mf_train
from mf_core import gd_factorize_masked, sgd_factorize, sgd_factorize_masked
from mf_data import load_coursework_matrix, load_ratings

ROOT = Path(__file__).resolve().parents[1]
SIZE_OF_4_1 = 1000, 10_000, 5_000_000  # rows, columns, ratings
LR = 0.001
COURSEWORK = "the coursework's function"


def timer(call, number=1):
    """A function that returns the seconds of a call."""
    return lambda: timeit(call, number=number) / number


def epoch_timer(run, few, many):
    """A function that returns the seconds of an epoch of run(num_epochs)."""
    return lambda: (timer(lambda: run(many))() - timer(lambda: run(few))()) / (many - few)


def compare(work, timers, rounds=7):
    """Print a row for each program, {name: function that returns seconds}; the first is ours."""
    for seconds in timers.values():  # the first time compiles and loads
        seconds()
    others = share_of_others()
    times = np.array([[seconds() for seconds in timers.values()] for _ in range(rounds)])
    share = others()
    for name, column, ratios in zip(timers, times.T, (times / times[:, :1]).T, strict=True):
        print(f"| {work} | {name} | {spread(1e3 * column)} | {spread(ratios)} | {share:.0%} |")


def spread(values):
    """The median, with the least and the largest value."""
    three = np.median(values), min(values), max(values)
    return "{:,g} ({:,g} to {:,g})".format(*(float(f"{x:.3g}") for x in three))


def share_of_others():
    """A function that returns the share of all cores that other programs have used since now."""

    def used():
        times, own = psutil.cpu_times(), psutil.Process().cpu_times()
        return sum(times) - times.idle - own.user - own.system, sum(times)

    before = used()
    return lambda: float(np.divide(*np.subtract(used(), before)))


@cache
def coursework(section):
    """The coursework's function, from the notebook of the section."""
    [path] = ROOT.glob(f"notebooks/{section}-*.ipynb")
    cells = nbformat.read(path, 4).cells
    [source] = [x.source for x in cells if re.match(r"def \w+_factori[sz]e", x.source)]
    exec(source, space := {"torch": torch})
    return next(x for name, x in space.items() if "factori" in name)


def bench_small():
    A, _ = load_coursework_matrix()
    ours = timer(partial(sgd_factorize, A, 2), 20)
    theirs = timer(partial(coursework("1.1"), A, 2))
    compare("SGD, 3 x 3, rank 2, 1000 epochs", {"mf_core": ours, COURSEWORK: theirs})


def bench_gd(rank):
    A = random_ratings(*SIZE_OF_4_1).to_dense()
    M = A > 0
    ours = epoch_timer(partial(gd_factorize_masked, A, M, rank), 1, 21)
    theirs = epoch_timer(partial(coursework("4.1"), A, M.float(), rank), 0, 3)
    work = f"GD, 1000 x 10000, half observed, rank {rank}, an epoch"
    compare(work, {"mf_core": ours, COURSEWORK: theirs}, rounds=15)


def random_ratings(m, n, count):
    """So many ratings in random cells, as a coalesced sparse tensor."""
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(m * n, count, replace=False, shuffle=False))
    index = torch.from_numpy(np.stack(np.divmod(cells, n)))
    values = torch.from_numpy(rng.integers(1, 6, count).astype(np.float32))
    return torch.sparse_coo_tensor(index, values, (m, n), is_coalesced=True)


def libmf_epoch(A, rank, threads, many):
    """A timer of LIBMF's epoch, without regularisation."""
    from libmf import mf

    table = np.column_stack([*A.indices(), A.values()]).astype(np.float32)
    settings = {"k": rank, "nr_threads": threads, "eta": LR, "quiet": True}
    settings |= dict.fromkeys(("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2"), 0.0)
    return epoch_timer(lambda n: mf.MF(nr_iters=n, **settings).fit(table), 1, many)


def bench_sgd():
    A = random_ratings(*SIZE_OF_4_1)
    ours = epoch_timer(partial(sgd_factorize_masked, A, None, 5, lr=LR), 1, 11)
    theirs = libmf_epoch(A, 5, 1, 11)
    compare("SGD, 5 million ratings, rank 5, an epoch", {"mf_core": ours, "LIBMF": theirs})


def bench_strata():
    A = random_ratings(162_541, 59_047, 25_000_000)  # the size of MovieLens 25M

    def run(num_epochs, threads):
        torch.set_num_threads(threads)
        mf_train.factorize(A, 16, num_epochs, LR, weight_decay=0.0)

    programs = {
        "mf_train, two threads": epoch_timer(partial(run, threads=2), 1, 4),
        "mf_train, one thread": epoch_timer(partial(run, threads=1), 1, 4),
        "mf_core, row by row": epoch_timer(partial(sgd_factorize_masked, A, None, 16, lr=LR), 1, 3),
        "LIBMF, two threads": libmf_epoch(A, 16, 2, 4),
        "LIBMF, one thread": libmf_epoch(A, 16, 1, 4),
    }
    compare("SGD, 25 million ratings, rank 16, an epoch", programs, 3)


def fit_ours(train):
    """Baseline and factors; a function of cells (2, count), movies above users, that predicts."""
    mu, row, col = mf_train.fit_baseline(train, None, damping=5)
    rows, cols = train.indices()
    rest = train.clone()
    rest.values().sub_(mu + row[rows] + col[cols])
    generator = torch.Generator().manual_seed(0)
    start = [0.1 * torch.rand(size, 32, generator=generator) for size in train.shape]
    U, V = mf_train.factorize(rest, 32, 30, init=start)
    U[torch.bincount(rows, minlength=len(U)) == 0] = 0  # nothing seen: the baseline alone
    return lambda i: (mu + row[i[0]] + col[i[1]] + (U[i[0]] * V[i[1]]).sum(1)).clamp(0.5, 5)


def bench_held_out():
    from surprise import SVD, Dataset, Reader

    A = load_ratings().A
    held_out = torch.rand(A.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    train, test = (A * ~held_out).to_sparse(), (A * held_out).to_sparse()
    table = pd.DataFrame(np.column_stack([*train.indices().flip(0), train.values()]))
    data = Dataset.load_from_df(table, Reader(rating_scale=(0.5, 5))).build_full_trainset()

    def fit_surprise():
        model = SVD(random_state=0).fit(data)
        return lambda cells: torch.tensor([model.predict(j, i).est for i, j in cells.T.tolist()])

    programs = {}
    for name, fit in {"mf_train": partial(fit_ours, train), "Surprise's SVD": fit_surprise}.items():
        rmse = (fit()(test.indices()) - test.values()).square().mean().sqrt()
        programs[f"{name}, held-out RMSE {rmse:.4f}"] = timer(fit)
    compare("a fit to ml-latest-small", programs)


HEAD = "| work | program | ms | times as long as ours | others used |\n|---|---|---|---|---|"
WORKS = {"small": bench_small, "sgd": bench_sgd, "strata": bench_strata, "held-out": bench_held_out}
WORKS |= {f"gd-{rank}": partial(bench_gd, rank) for rank in (1, 5, 20, 50)}


def main():
    cpuinfo = Path("/proc/cpuinfo")
    facts = cpuinfo.read_text() if cpuinfo.exists() else f"model name: {platform.machine()}"
    processor = re.search(r"model name\s*: (.*)", facts)[1]
    machine = f"{processor}, {os.cpu_count()} cores, torch {torch.__version__}"
    lines = [f"Measured on {time.strftime('%Y-%m-%d')}: {machine}.", "", HEAD]
    for name in WORKS:
        run = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
        lines += [line for line in run.stdout.splitlines() if line.startswith("| ")]
        if run.returncode:
            lines.append(f"| {name} | not measured: {run.stderr.splitlines()[-1]} | | | |")
    (ROOT / "report" / "bench.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        WORKS[name]()
    if not sys.argv[1:]:
        main()
