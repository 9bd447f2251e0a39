"""`make bench`: how fast the modules are beside other code that does the same on the same data.

python tools/bench.py          all rows, each in a process of its own: report/bench.txt
python tools/bench.py ROW ...  some rows, in this process: they are printed
ML100K=folder python ...       with the row "folds", on the published folds of MovieLens 100K

A time per epoch is the difference between a long and a short run, so that preparing the data does
not count. Ours and the other take turns, and the median of several rounds is shown.
"""

import os
import platform
import re
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from timeit import timeit

import numpy as np
import pandas as pd
import torch

import mf_train
from mf_core import gd_factorize_masked, sgd_factorize, sgd_factorize_masked
from mf_data import load_coursework_matrix, load_ratings, read_ratings

ROOT = Path(__file__).resolve().parents[1]
ML100K = os.environ.get("ML100K")
MOVIELENS_25M = 162_541, 59_047, 25_000_000  # rows, columns, ratings
SIZE_OF_4_1 = 1000, 10_000, 5_000_000
LR = 0.001


def timer(call, number=1):
    """A function that returns the seconds of a call."""
    return lambda: timeit(call, number=number) / number


def epoch_timer(run, few, many):
    """A function that returns the seconds of an epoch of run(num_epochs)."""
    return lambda: (timer(lambda: run(many))() - timer(lambda: run(few))()) / (many - few)


def compare(work, against, ours, other, target="", rounds=5, summary=np.median):
    """Print a row of the table from two functions that return seconds."""
    times = [(ours(), other()) for _ in range(rounds + 1)][1:]  # the first compiles and loads
    ours, other = map(summary, zip(*times, strict=True))
    cells = f"{1e3 * ours:,.2f} ms", f"{1e3 * other:,.2f} ms", f"{other / ours:.1f} x"
    print_row(work, against, *cells, target)


def print_row(*cells):
    print(f"| {' | '.join(cells)} |", flush=True)


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
    A = random_ratings(*SIZE_OF_4_1).to_dense()
    M, weights = A > 0, (A > 0).float()
    start = torch.rand(A.shape[0], rank), torch.rand(A.shape[1], rank)
    ours = epoch_timer(lambda n: gd_factorize_masked(A, M, rank, n, init=start), 1, 41)
    other = epoch_timer(lambda n: coursework_gd(A, weights, *start, n), 0, 2)
    work = f"4.1: GD, 1000 x 10000, half observed, rank {rank}, an epoch"
    compare(work, "the coursework's function", ours, other, target)


def random_ratings(m, n, count):
    """So many ratings in random cells, as a coalesced sparse tensor."""
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(m * n, count, replace=False, shuffle=False))
    index = torch.from_numpy(np.stack(np.divmod(cells, n)))
    values = torch.from_numpy(rng.integers(1, 6, count).astype(np.float32))
    return torch.sparse_coo_tensor(index, values, (m, n), is_coalesced=True)


def libmf_epoch(A, rank, threads=1):
    """A timer of LIBMF's epoch, without regularisation."""
    from libmf import mf

    table = np.column_stack([*A.indices(), A.values()]).astype(np.float32)
    settings = {"k": rank, "nr_threads": threads, "eta": LR, "quiet": True}
    settings |= dict.fromkeys(("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2"), 0.0)
    return epoch_timer(lambda n: mf.MF(nr_iters=n, **settings).fit(table), 1, 11)


def surprise_data(A):
    """The sparse A (movies, users) as Surprise's data."""
    from surprise import Dataset, Reader

    movies, users = A.indices()
    ratings = pd.DataFrame({"user": users, "movie": movies, "stars": A.values()})
    scale = ratings["stars"].min(), ratings["stars"].max()
    return Dataset.load_from_df(ratings, Reader(rating_scale=scale)).build_full_trainset()


def fit_surprise(data, **settings):
    """A function of cells (2, count), movies above users, that predicts their ratings."""
    from surprise import SVD

    model = SVD(random_state=0, **settings).fit(data)
    return lambda cells: torch.tensor([model.predict(j, i).est for i, j in cells.T.tolist()])


def surprise_epoch(A, rank):
    """A timer of the epoch of Surprise's SVD, without means and regularisation."""
    data = surprise_data(A)
    settings = {"n_factors": rank, "biased": False, "lr_all": LR, "reg_all": 0.0}
    return epoch_timer(lambda n: fit_surprise(data, n_epochs=n, **settings), 1, 3)


def bench_peer(against, peer_epoch, size, rank, target):
    A = random_ratings(*size)
    ours = epoch_timer(lambda n: sgd_factorize_masked(A, None, rank, n, LR), 1, 11)
    work = f"SGD, {size[2] / 1e6:g} million ratings, rank {rank}, an epoch"
    compare(work, against, ours, peer_epoch(A, rank), target, rounds=3)


def fit_baseline(train):
    """As fit_surprise, with mf_train's baseline."""
    mu, row, col = mf_train.fit_baseline(train, None, damping=5)
    return lambda cells: mu + row[cells[0]] + col[cells[1]]


def fit_factors(train, rank, num_epochs, lr):
    """As fit_baseline, with factors of what the baseline leaves."""
    baseline = fit_baseline(train)
    rest = train.clone()
    rest.values().sub_(baseline(train.indices()))
    generator = torch.Generator().manual_seed(0)
    start = [0.1 * torch.rand(size, rank, generator=generator) for size in train.shape]
    U, V = mf_train.factorize(rest, rank, num_epochs, lr, weight_decay=0.1, init=start)
    for X, index in zip((U, V), train.indices(), strict=True):
        X[torch.bincount(index, minlength=len(X)) == 0] = 0  # nothing seen: the baseline alone
    low, high = train.values().aminmax()
    return lambda i: (baseline(i) + (U[i[0]] * V[i[1]]).sum(1)).clamp(low, high)


def rmse(predict, test):
    return (predict(test.indices()) - test.values()).square().mean().sqrt().item()


def bench_held_out():
    """Seconds to Surprise's held-out RMSE: the baseline alone, which comes first, is below it."""
    A = load_ratings().A
    held_out = torch.rand(A.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    train, test = (A * ~held_out).to_sparse(), (A * held_out).to_sparse()
    svd = partial(fit_surprise, surprise_data(train))
    against = f"{SURPRISE_SVD}: {rmse(svd(), test):.4f}"
    models = {
        "baseline alone": partial(fit_baseline, train),
        "baseline and SGD": partial(fit_factors, train, 32, 30, 0.02),
    }
    for name, fit in models.items():
        work = f"a fit to ml-latest-small, held-out RMSE: {name}, {rmse(fit(), test):.4f}"
        compare(work, against, timer(fit), timer(svd), "1 x")


def read_part(name):
    """A file of a fold as a sparse tensor; movies and users keep their numbers, from 1 on."""
    ratings = read_ratings(Path(ML100K, name))
    A = torch.zeros(1683, 944)
    A[ratings["movieId"], ratings["userId"]] = torch.tensor(ratings["rating"])
    return A.to_sparse()


def bench_folds():
    """The published folds of MovieLens 100K; ml-latest-small's validation chose our settings."""
    ours, other = [], []
    for fold in ("u1", "u2", "u3", "u4", "u5"):
        train, test = read_part(f"{fold}.base"), read_part(f"{fold}.test")
        ours.append(rmse(fit_factors(train, 200, 70, 0.01), test))
        if find_spec("surprise"):
            other.append(rmse(fit_surprise(surprise_data(train)), test))
    cells = [f"{np.mean(x):.4f} {np.round(x, 4)}" if x else "not installed" for x in (ours, other)]
    target = f"at most 0.9105: {'reached' if np.mean(ours) <= 0.9105 else 'missed'}"
    print_row("MovieLens 100K, held-out RMSE, mean [folds]", SURPRISE_SVD, *cells, "", target)


def bench_threads():
    """Fastest epochs: with two threads, whatever else runs on the machine shows at once."""
    A = random_ratings(*MOVIELENS_25M)

    def fastest_epoch(threads):
        torch.set_num_threads(threads)
        ends = []
        options = {"weight_decay": 0.0, "callback": lambda *_: ends.append(time.perf_counter())}
        mf_train.factorize(A, 16, 5, LR, strata=8, **options)
        return min(np.diff(ends))

    ours, one_thread = partial(fastest_epoch, 2), partial(fastest_epoch, 1)
    work = "SGD, 25 million ratings, rank 16, 8 strata, 2 threads, the fastest epoch"
    compare(work, "1 thread", ours, one_thread, "1.8 x", 3, min)
    compare(work, "LIBMF, 2 threads, no regularisation", ours, libmf_epoch(A, 16, 2), "1 x", 3, min)


LIBMF = "LIBMF, one thread, no regularisation"
SURPRISE = "Surprise SVD(biased=False)"
SURPRISE_SVD = "Surprise SVD, its defaults"
GD_TARGETS = {1: "20 x", 2: "", 5: "14 x", 10: "", 20: "5 x", 50: "2.5 x"}
TABLES = {
    "The coursework's own code": {
        "small": (bench_small,),
        **{f"gd-{rank}": (bench_gd, rank, target) for rank, target in GD_TARGETS.items()},
    },
    "Other programs": {
        "libmf-5": (bench_peer, LIBMF, libmf_epoch, SIZE_OF_4_1, 5, "3 x"),
        "libmf-25": (bench_peer, LIBMF, libmf_epoch, MOVIELENS_25M, 16, "2 x"),
        "surprise": (bench_peer, SURPRISE, surprise_epoch, SIZE_OF_4_1, 5, "15 x"),
        "held-out": (bench_held_out,),
    },
    "All cores": {"threads": (bench_threads,)},
}
if ML100K:
    TABLES["Other programs"]["folds"] = (bench_folds,)
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
    machine = f"{processor}, {vectors}; {os.cpu_count()} cores; Python {platform.python_version()}"
    lines = [f"Measured on {time.strftime('%Y-%m-%d')}: {machine}, torch {torch.__version__}."]
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
