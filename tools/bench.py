"""`make bench`: how fast the modules are beside other code that does the same on the same data.

python tools/bench.py          all rows, each in a process of its own: report/bench.txt
python tools/bench.py ROW ...  some rows, in this process: they are printed

A time per epoch is the difference between a long and a short run, so that preparing the data does
not count. Ours and the other take turns, and the median of several rounds is shown.
"""

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from timeit import timeit

import numpy as np
import torch

import mf_train
from mf_core import gd_factorize_masked, sgd_factorize, sgd_factorize_masked
from mf_data import load_coursework_matrix, load_ratings

ROOT = Path(__file__).resolve().parents[1]
MOVIELENS = os.environ.get("MOVIELENS")  # ml-latest-small, where it is not in data/
MOVIELENS_25M = 162_541, 59_047, 25_000_000  # rows, columns, ratings
SIZE_OF_4_1 = 1000, 10_000, 5_000_000
LR = 0.001


def timer(call, number=1):
    """A function that returns the seconds of a call."""
    return lambda: timeit(call, number=number) / number


def epoch_timer(run, few, many):
    """A function that returns the seconds of an epoch of run(num_epochs)."""
    return lambda: (timer(lambda: run(many))() - timer(lambda: run(few))()) / (many - few)


def compare(work, against, ours, other, target="", rounds=5, summary=statistics.median):
    """Print a row of the table from two functions that return seconds."""
    times = [(ours(), other()) for _ in range(rounds + 1)]
    after_the_first = zip(*times[1:], strict=True)  # which compiles and loads
    print_row(work, against, *map(summary, after_the_first), target)


def print_row(work, against, ours, other, target):
    cells = work, against, with_unit(ours), with_unit(other), f"{other / ours:.1f} x", target
    print(f"| {' | '.join(cells)} |", flush=True)


def with_unit(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def coursework_sgd(A, U, V, num_epochs, lr=0.01):
    """The loop of section 1.1, from a given start."""
    U, V = U.clone(), V.clone()
    for _ in range(num_epochs):
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                e = A[i, j] - torch.dot(U[i], V[j])
                U[i] = U[i] + lr * e * V[j]
                V[j] = V[j] + lr * e * U[i]


def coursework_gd(A, M, U, V, num_epochs, lr=1e-5):
    """The function of section 4.1, from a given start."""
    for _ in range(num_epochs):
        err = (A - U @ V.t()) * M
        U = U + lr * err @ V
        V = V + lr * err.t() @ U


def bench_small():
    A, M = load_coursework_matrix()
    start = torch.rand(3, 2), torch.rand(3, 2)
    work = "3 x 3, rank 2, 1000 epochs, whole call"
    ours = timer(lambda: sgd_factorize(A, 2, 1000, 0.01), 20)
    other = timer(lambda: coursework_sgd(A, *start, 1000))
    compare(f"1.2: SGD, {work}", "the coursework's loop", ours, other, "300 x")
    ours = timer(lambda: gd_factorize_masked(A, M, 2, 1000, 0.01), 20)
    other = timer(lambda: coursework_gd(A, M, *start, 1000, 0.01))
    compare(f"GD, {work}", "the coursework's function", ours, other)


def bench_gd(rank, target):
    ratings = load_ratings("synthetic")
    A, M, weights = ratings.A, ratings.M, ratings.M.float()
    start = torch.rand(A.shape[0], rank), torch.rand(A.shape[1], rank)
    ours = epoch_timer(lambda n: gd_factorize_masked(A, M, rank, n, init=start), 1, 41)
    other = epoch_timer(lambda n: coursework_gd(A, weights, *start, n), 0, 2)
    work = f"4.1: GD, 1000 x 10000, half observed, rank {rank}, an epoch"
    compare(work, "the coursework's function", ours, other, target)


def random_ratings(m, n, count):
    """So many ratings in random cells, as a coalesced sparse tensor."""
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(0, m * n, int(count * 1.02 + 10)))
    cells = np.sort(rng.permutation(cells)[:count])
    index = torch.from_numpy(np.stack(np.divmod(cells, n)))
    values = torch.from_numpy(rng.integers(1, 6, len(cells)).astype(np.float32))
    return torch.sparse_coo_tensor(index, values, (m, n), is_coalesced=True)


def libmf_epoch(A, rank, threads=1):
    """A timer of LIBMF's epoch, without regularisation."""
    from libmf import mf

    table = np.column_stack([*A.indices(), A.values()]).astype(np.float32)
    settings = {"k": rank, "nr_threads": threads, "eta": LR, "quiet": True}
    settings |= dict.fromkeys(("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2"), 0.0)
    return epoch_timer(lambda n: mf.MF(nr_iters=n, **settings).fit(table), 1, 11)


def surprise_data(A):
    """The sparse A (movies, users) as Surprise's data, without its slow table of names."""
    import surprise

    users, movies = {}, {}
    for movie, user, stars in zip(*A.indices().tolist(), A.values().tolist(), strict=True):
        users.setdefault(user, []).append((movie, stars))
        movies.setdefault(movie, []).append((user, stars))
    names = [{number: number for number in side} for side in (users, movies)]
    scale = A.values().min().item(), A.values().max().item()
    sizes = A.shape[1], A.shape[0], len(A.values())
    return surprise, surprise.Trainset(users, movies, *sizes, scale, *names)


def surprise_epoch(A, rank):
    """A timer of the epoch of Surprise's SVD, without means and regularisation."""
    surprise, data = surprise_data(A)
    settings = {"n_factors": rank, "biased": False, "lr_all": LR, "reg_all": 0.0}
    return epoch_timer(lambda n: surprise.SVD(n_epochs=n, **settings).fit(data), 1, 3)


def bench_peer(against, peer_epoch, size, rank, target):
    A = random_ratings(*size)
    ours = epoch_timer(lambda n: sgd_factorize_masked(A, None, rank, n, LR), 1, 11)
    work = f"SGD, {size[2] / 1e6:g} million ratings, rank {rank}, an epoch"
    compare(work, against, ours, peer_epoch(A, rank), target, rounds=3)


def bench_held_out():
    """Seconds to Surprise's held-out RMSE: the baseline alone, which comes first, is below it."""
    A = load_ratings("movielens", MOVIELENS).A.to_sparse().coalesce()
    generator = torch.Generator().manual_seed(0)
    held_out = torch.rand(len(A.values()), generator=generator) < 0.1
    init = [0.1 * torch.rand(size, 32, generator=generator) for size in A.shape]
    index, stars = A.indices()[:, ~held_out], A.values()[~held_out]
    train = torch.sparse_coo_tensor(index, stars, A.shape, is_coalesced=True)
    surprise, data = surprise_data(train)
    svd = surprise.SVD(random_state=0)

    def fit_all():
        mu, row, col = mf_train.fit_baseline(train, None, 5)
        rest = stars - mu - row[index[0]] - col[index[1]]
        rest = torch.sparse_coo_tensor(index, rest, A.shape, is_coalesced=True)
        return mu, row, col, *mf_train.factorize(rest, 32, 30, init=init)

    def rmse(predicted):
        return f"{(predicted - A.values()[held_out]).square().mean().sqrt():.4f}"

    movies, users = A.indices()[:, held_out]
    mu, row, col, U, V = fit_all()
    baseline = mu + row[movies] + col[users]
    whole = baseline + (U[movies] * V[users]).sum(1)
    svd.fit(data)
    pairs = zip(users.tolist(), movies.tolist(), strict=True)
    others = torch.tensor([svd.predict(user, movie).est for user, movie in pairs])
    against, other = f"Surprise SVD, its defaults: {rmse(others)}", timer(lambda: svd.fit(data))
    work = "a fit to ml-latest-small, reading excluded, held-out RMSE: "
    ours = timer(lambda: mf_train.fit_baseline(train, None, 5))
    compare(f"{work}baseline alone, {rmse(baseline)}", against, ours, other, "1 x")
    compare(f"{work}baseline and SGD, {rmse(whole)}", against, timer(fit_all), other)


def bench_gd_threads():
    ratings = load_ratings("synthetic")

    def epoch(threads):
        torch.set_num_threads(threads)
        return epoch_timer(lambda n: gd_factorize_masked(ratings.A, ratings.M, 5, n), 1, 41)()

    work = "GD, 1000 x 10000, half observed, rank 5, an epoch on 2 threads"
    compare(work, "1 thread", partial(epoch, 2), partial(epoch, 1))


def bench_threads():
    """Fastest epochs: with two threads, whatever else runs on the machine shows at once."""
    A = random_ratings(*MOVIELENS_25M)

    def fastest_epoch(threads, factorize, *arguments, **settings):
        torch.set_num_threads(threads)
        ends = []
        settings["callback"] = lambda *_: ends.append(time.perf_counter())
        factorize(A, *arguments, 16, 5, LR, weight_decay=0.0, **settings)
        return min(np.diff(ends))

    ours = partial(fastest_epoch, 2, mf_train.factorize, strata=8)
    others = {
        "8 strata, 1 thread": (partial(fastest_epoch, 1, mf_train.factorize, strata=8), "1.8 x"),
        "row by row, 1 thread": (partial(fastest_epoch, 1, sgd_factorize_masked, None), ""),
        "LIBMF, 2 threads, no regularisation": (libmf_epoch(A, 16, threads=2), "1 x"),
    }
    work = "SGD, 25 million ratings, rank 16, 8 strata, 2 threads, the fastest epoch"
    for against, (other, target) in others.items():
        compare(work, against, ours, other, target, rounds=3, summary=min)


LIBMF = "LIBMF, one thread, no regularisation"
SURPRISE = "Surprise SVD(biased=False)"
GD_TARGETS = {1: "20 x", 2: "", 5: "14 x", 10: "", 20: "5 x", 50: "2.5 x"}
TABLES = {
    "The coursework's own code": {
        "small": (bench_small,),
        **{f"gd-{rank}": (bench_gd, rank, target) for rank, target in GD_TARGETS.items()},
    },
    "Other programs": {
        "libmf-5": (bench_peer, LIBMF, libmf_epoch, SIZE_OF_4_1, 5, "3 x"),
        "libmf-25": (bench_peer, LIBMF, libmf_epoch, MOVIELENS_25M, 16, "2 x"),
        "surprise": (
            bench_peer,
            "Surprise SVD(biased=False)",
            surprise_epoch,
            SIZE_OF_4_1,
            5,
            "15 x",
        ),
        "held-out": (bench_held_out,),
    },
    "All cores": {
        "gd-threads": (bench_gd_threads,),
        "threads": (bench_threads,),
    },
}
ROWS = {name: row for table in TABLES.values() for name, row in table.items()}
HEAD = "| work | against | ours | the other | ratio | target |\n|---|---|---|---|---|---|"


def rows_of(name):
    """The rows of the table, measured in a process of its own; what else is printed is left out."""
    run = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
    rows = [line for line in run.stdout.splitlines() if line.startswith("| ")]
    if run.returncode:
        rows.append(f"| {name} | *not measured: {run.stderr.strip().splitlines()[-1]}* | | | | |")
    print(*rows, sep="\n", flush=True)
    return rows


def main():
    cpuinfo = Path("/proc/cpuinfo")
    facts = cpuinfo.read_text() if cpuinfo.exists() else f"model name: {platform.machine()}"
    processor = re.search(r"model name\s*: (.*)", facts)[1]
    vectors = "AVX-512" if "avx512f" in facts else "no AVX-512"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    machine = f"{processor}, {vectors}; {os.cpu_count()} cores; {versions}"
    lines = [f"Measured on {time.strftime('%Y-%m-%d')}: {machine}."]
    for title, table in TABLES.items():
        lines += ["", f"## {title}", "", HEAD]
        for name in table:
            lines += rows_of(name)
    (ROOT / "report" / "bench.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for function, *arguments in (ROWS[name] for name in sys.argv[1:]):
        function(*arguments)
    if not sys.argv[1:]:
        main()
