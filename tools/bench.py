"""`make bench`: what mf_core costs, as ratios measured in one process on the same data; the table is report/bench.txt,
which the report shows.

python tools/bench.py          all rows, each in a process of its own, so that memory is its own too
python tools/bench.py ROW ...  some rows, in this process

A time per epoch is the difference between a long and a short run, so that preparing the data does not count; a median
of several repetitions, ours and the other taken in turn. Memory is by how much a run raises what the process holds.
"""

import contextlib
import importlib.util
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import mf_core
from mf_data import Ratings, load_coursework_matrix, load_ratings

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
import oracles  # noqa: E402


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def memory(field):
    """VmRSS, what the process holds now, or VmHWM, its peak, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def rise(function):
    """By how many MB the function raises the process's memory at its peak (None where the system can't tell)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
        function()
        return memory("VmHWM") - before
    except OSError:
        function()
        return None


def in_turn(repeats, *functions):
    """The medians of the functions' times, each run so many times, in turn; and how far each raises the memory."""
    for function in functions:
        function()  # compiled, loaded
    rises = [rise(function) for function in functions]
    times = [[function() for function in functions] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)], rises


def per_epoch(run, few, many):
    """A function that measures run(epochs) per epoch, without its preparations."""
    return lambda: (seconds(lambda: run(many)) - seconds(lambda: run(few))) / (many - few)


def row(work, against, ours, other, target, rises=(None, None)):
    space = "" if None in rises else ", ".join(f"{x:.0f} MB" for x in (rises[0], min(rises[1:])))
    print(
        f"| {work} | {against} | {text(ours)} | {text(other)} | {other / ours:.1f} x | {target} | {space} |",
        flush=True,
    )


def text(value):
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            return f"{value * factor:.3g} {unit}"


def missing(work, against, target):
    print(f"| {work} | {against} | | *does not install here* | | {target} | |", flush=True)


# ------------------------------------------------------------------------- the coursework's own code


def bench_small():
    A, M = load_coursework_matrix()
    start = torch.rand(3, 2), torch.rand(3, 2)
    work = "{}: 3 x 3, rank 2, 1000 epochs, whole call"
    calls = [
        lambda: mf_core.sgd_factorize(A, 2),
        lambda: mf_core.gd_factorize_masked(A, M, 2, lr=0.01),
    ]
    theirs = [
        lambda: oracles.sgd(A, torch.ones(3, 3), *start, 1000, 0.01),
        lambda: oracles.gd(A, M, *start, 1000, 0.01),
    ]
    for name, call, other, target in zip(
        ("1.2, SGD", "GD"), calls, theirs, ("300 x", ""), strict=True
    ):
        ours = lambda call=call: seconds(lambda: [call() for _ in range(20)]) / 20  # noqa: E731
        (own, slow), _ = in_turn(5, ours, lambda other=other: seconds(other))
        row(work.format(name), "the coursework's loop", own, slow, target)


def bench_gd(rank):
    ratings = load_ratings()
    A, M, F = ratings.A, ratings.M, ratings.M.float()
    del ratings
    start = torch.rand(A.shape[0], rank), torch.rand(A.shape[1], rank)
    ours = per_epoch(lambda n: mf_core.gd_factorize_masked(A, M, rank, n, init=start), 1, 41)
    theirs = per_epoch(lambda n: coursework_gd(A, F, *start, n), 0, 2)
    (own, other), rises = in_turn(5, ours, theirs)
    what = f"4.1: GD, 1000 x 10000, half observed, rank {rank}, an epoch"
    row(what, "the coursework's function", own, other, GD_TARGETS.get(rank, ""), rises)


GD_TARGETS = {1: "20 x", 5: "14 x", 20: "5 x", 50: "2.5 x"}


def coursework_gd(A, M, U, V, num_epochs, lr=1e-5):
    """As it stands in the coursework; oracles.gd makes M floats and has weight decay."""
    for _ in range(num_epochs):
        err = (A - U @ V.t()) * M
        U = U + lr * err @ V
        V = V + lr * err.t() @ U


# ------------------------------------------------------------------------------------------------------------- the peers


def random_ratings(m, n, count, seed=0):
    """So many ratings in random cells, as a coalesced sparse tensor."""
    rng = np.random.default_rng(seed)
    place = np.unique(rng.integers(0, m * n, int(count * 1.02 + 10)))
    place = np.sort(rng.permutation(place)[:count])
    index = torch.from_numpy(np.stack([place // n, place % n]))
    values = torch.from_numpy(rng.integers(1, 6, len(place)).astype(np.float32))
    return torch.sparse_coo_tensor(index, values, (m, n), is_coalesced=True, check_invariants=True)


def libmf(A, rank, threads=1):
    """A function of the number of epochs that runs LIBMF: no regularisation; None where it is not."""
    try:
        with open(os.devnull, "w") as null:
            sys.stdout, out = null, sys.stdout
            try:
                module = importlib.import_module("libmf.mf")
            finally:
                sys.stdout = out
    except (ImportError, OSError):
        return None
    table = np.column_stack([A.indices()[0], A.indices()[1], A.values()]).astype(np.float32)
    flags = dict(
        k=rank,
        nr_threads=threads,
        quiet=True,
        eta=0.001,
        **{f"lambda_{x}": 0.0 for x in ("p1", "p2", "q1", "q2")},
    )
    return lambda epochs: module.MF(nr_iters=epochs, **flags).fit(table)


def surprise_trainset(module, A, scale):
    """The sparse A as Surprise's data, made directly, without its slow table of names."""
    users, items = {}, {}
    for i, j, r in zip(*A.indices().tolist(), A.values().tolist(), strict=True):
        users.setdefault(j, []).append((i, r))
        items.setdefault(i, []).append((j, r))
    names = [{k: k for k in side} for side in (users, items)]
    return module.Trainset(users, items, A.shape[1], A.shape[0], len(A.values()), scale, *names)


def surprise(A, rank):
    """The same for Surprise's SVD(biased=False)."""
    try:
        module = importlib.import_module("surprise")
    except ImportError:
        return None
    trainset = surprise_trainset(module, A, (1, 5))
    flags = dict(n_factors=rank, biased=False, lr_all=0.001, reg_all=0.0, random_state=0)
    return lambda epochs: module.SVD(n_epochs=epochs, **flags).fit(trainset)


def bench_peer(name, m, n, count, rank, few, many, repeats, target):
    A = random_ratings(m, n, count)
    work, against = (
        f"SGD, {count / 1e6:g} million ratings, rank {rank}, an epoch",
        {
            "libmf": "LIBMF, one thread, no regularisation",
            "surprise": "Surprise SVD(biased=False)",
        }[name],
    )
    ours = per_epoch(lambda k: mf_core.sgd_factorize_masked(A, None, rank, k, 0.001), 1, 11)
    peer = {"libmf": libmf, "surprise": surprise}[name](A, rank)
    if peer is None:
        missing(work, against, target)
        return
    (own, other), rises = in_turn(repeats, ours, per_epoch(peer, few, many))
    row(work, against, own, other, target, rises)


# --------------------------------------------------------------------------------------- all cores, and past one machine


def epochs(A, rank, strata, threads, many=5):
    """The seconds of each epoch but the first."""
    torch.set_num_threads(threads)
    times = []
    mf_core.sgd_factorize_masked(A, None, rank, many, 0.001, strata=strata,
                                 callback=lambda *_: times.append(time.perf_counter()))  # fmt: skip
    return np.diff(times).tolist()


def bench_threads(repeats=3):
    """The fastest epochs: with two threads, whatever else runs on the machine shows at once."""
    A, rank = random_ratings(162_541, 59_047, 25_000_000), 16
    kinds = {"rows": (None, 1), "one": (8, 1), "two": (8, 2)}
    times = {kind: [] for kind in kinds}
    peer, theirs = libmf(A, rank, 2), []
    for _ in range(repeats):
        for kind, (strata, threads) in kinds.items():
            times[kind] += epochs(A, rank, strata, threads)
        theirs += [per_epoch(peer, 1, 11)()] if peer else []
    rows, one, two = (min(times[kind]) for kind in kinds)
    work = "SGD, 25 million ratings, rank 16, 8 strata, 2 threads, the fastest epoch"
    row(work, "8 strata, 1 thread", two, one, "1.8 x")
    row(work, "row by row", two, rows, "")
    if peer:
        row(work, "LIBMF, 2 threads, no regularisation", two, min(theirs), "1 x")
    else:
        missing(work, "LIBMF, 2 threads, no regularisation", "1 x")


def write_ratings(A, folder):
    """The sparse A (users, movies) as a folder like MovieLens's."""
    users, movies = (A.indices() + 1).numpy()
    with (folder / "ratings.csv").open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for k in range(0, len(users), 2**20):
            part = zip(
                *(x[k : k + 2**20].tolist() for x in (users, movies, A.values())), strict=True
            )
            file.writelines(f"{user},{movie},{stars},0\n" for user, movie, stars in part)
    titles = (f"{k + 1},Film {k + 1},Drama\n" for k in range(A.shape[1]))
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(titles))


def trained(ratings, processes, epochs, *options):
    """mf_train in so many processes of one thread each: ratings a second in its fastest epoch, peak memory in MB of
    each process, bytes of V sent, and bytes on the loopback interface."""
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m",
                   "mf_train", ratings, f"--out={folder}/factors", f"--epochs={epochs}", "--checkpoint=9999", *options]  # fmt: skip
        before = loopback()
        run = subprocess.run([str(x) for x in command], capture_output=True, text=True, check=True,
                             env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=ROOT)  # fmt: skip
        crossed = loopback() - before
    speeds = [float(x) * 1e6 for x in re.findall(r"([\d.]+) million ratings a second", run.stdout)]
    (peaks, sent), = re.findall(r"peak memory ([\d, ]+) MB; ([\d,]+) bytes", run.stdout)  # fmt: skip
    return max(speeds), [int(x) for x in peaks.split(",")], int(sent.replace(",", "")), crossed


def loopback():
    """The bytes that this machine has sent to itself; 0 where the system does not tell."""
    try:
        found = re.search(r"lo:(?:\s+\d+){8}\s+(\d+)", Path("/proc/net/dev").read_text())
        return int(found[1])
    except OSError:
        return 0


def bench_processes(count=25_000_000):
    """One process against two, and the traffic on the loopback interface against the formula."""
    A = random_ratings(162_541, 59_047, count)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        write_ratings(A, folder := Path(folder))
        del A
        options = "--rank=16", "--held-out=0"
        (one, peak, _, _), (two, peaks, _, _) = (trained(folder, k, 4, *options) for k in (1, 2))
    work = f"mf_train, {count / 1e6:g} million ratings, rank 16, "
    row(work + "2 processes, the fastest epoch", "1 process", count / two, count / one, "1.7 x")
    space = f"{peaks[0]} and {peaks[1]} MB, the whole processes"
    print(
        f"| {work}peak memory, reading included | 1 process: {peak[0]} MB | {space} | | | less | |"
    )


def bench_traffic(rank=64, few=2, many=22):
    """Bytes an epoch with 2 processes on the loopback interface, against n * rank * 4 a process; and headers."""
    A = random_ratings(2000, 20_000, 200_000)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        write_ratings(A, folder := Path(folder))
        runs = [trained(folder, 2, k, f"--rank={rank}", "--held-out=0") for k in (few, many)]
    counted, crossed = (
        (y - x) / (many - few) for x, y in zip(*runs, strict=True) if isinstance(x, int)
    )
    formula = 2 * len(A.indices()[1].unique()) * rank * 4
    work = "mf_train, 2 processes, 20,000 movies, rank 64, bytes sent in an epoch"
    print(
        f"| {work} | formula: {formula:,} | of V {counted:,.0f}, loopback {crossed:,.0f} | | {crossed / formula:.2f} x | 1 x | |"
    )


def bench_strata(seeds=5):
    """Held-out RMSE on ml-latest-small, after damped means: strata against row by row."""
    from conftest import MOVIELENS

    if not MOVIELENS.exists():
        print("| strata: held-out RMSE | | *no ml-latest-small: make data gets it* | | | | |")
        return
    A = load_ratings("movielens", MOVIELENS).A.T.to_sparse().coalesce()
    errors = {None: [], 4: [], 8: [], 16: []}
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        test = torch.rand(len(A.values()), generator=generator) < 0.1
        rows, cols = A.indices()
        part = lambda values, k: torch.sparse_coo_tensor(  # noqa: E731
            A.indices()[:, k], values[k], A.shape, is_coalesced=True, check_invariants=True)  # fmt: skip
        mu, row_, col = mf_core.damped_means(part(A.values(), ~test), None, 5)
        left = A.values() - (mu + row_[rows] + col[cols])
        init = tuple(0.1 * torch.rand(size, 32, generator=generator) for size in A.shape)
        for strata, found in errors.items():
            settings = {"weight_decay": 0.1, "init": init, "strata": strata}
            U, V = mf_core.sgd_factorize_masked(part(left, ~test), None, 32, 30, 0.02, **settings)
            loss = mf_core.reconstruction_loss(part(left, test), U, V)
            found.append((loss / test.sum()).sqrt().item())
    base, *others = (statistics.fmean(found) for found in errors.values())
    for strata, value in zip(list(errors)[1:], others, strict=True):
        work = f"damped means + SGD, {strata} strata: held-out RMSE, ml-latest-small, mean of {seeds} splits"
        print(f"| {work} | row by row | {value:.4f} | {base:.4f} | | within 0.002 | |", flush=True)


# ------------------------------------------------------------------------------------------- ratings that are held out


def surprise_error(algorithm, A, train, test, seed, scale):
    """The RMSE on the test part of a Surprise algorithm with its default settings, fitted to the training part."""
    module = importlib.import_module("surprise")
    trainset = surprise_trainset(module, A.sparse_mask(train.to_sparse()).coalesce(), scale)
    fitted = getattr(module, algorithm)(random_state=seed).fit(trainset)
    off = [fitted.predict(j, i).est - A[i, j].item() for i, j in test.nonzero().tolist()]
    return statistics.fmean(x * x for x in off) ** 0.5


def published_folds(folder):
    """MovieLens 100K and the masks of training and test part of each of its five folds u1 to u5."""
    folds = []
    for fold in range(1, 6):
        A, parts = torch.zeros(1682, 943), []
        for kind in ("base", "test"):
            user, movie, stars, _ = np.loadtxt(folder / f"u{fold}.{kind}", dtype=np.int64).T
            parts.append(torch.zeros(A.shape, dtype=torch.bool))
            parts[-1][movie - 1, user - 1] = True
            A[movie - 1, user - 1] = torch.from_numpy(stars).float()
        folds.append((Ratings(A, A > 0, [], "movielens", ""), 0, parts))
    return folds


def compare_held_out(data, splits, scale, targets):
    """Rows of the mean RMSE on training and held-out ratings: of 5.1's models, and of Surprise's."""
    from test_notebooks import errors_of, held_out

    errors, took = {}, []
    for ratings, seed, parts in splits:
        start = time.perf_counter()
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            names = held_out(ratings, seed, parts, lr=5e-4)
        took.append(time.perf_counter() - start)
        train, test = errors_of(names, "train"), errors_of(names, "test")
        for name in train:
            errors.setdefault(name, []).append((train[name], test[name]))
        for name in ("SVD", "SVDpp") if importlib.util.find_spec("surprise") else ():
            error = surprise_error(name, ratings.A, names["train"], names["test"], seed, scale)
            errors.setdefault(f"Surprise {name}, default settings", []).append((None, error))
    what = f"5.1: RMSE on training / held-out ratings, {data}"
    for name, pairs in errors.items():
        train, test = zip(*pairs, strict=True)
        train = "" if None in train else f"{statistics.fmean(train):.4f} / "
        print(
            f"| {what} | {name} | {train}{statistics.fmean(test):.4f} | | | {targets.get(name, '')} | |",
            flush=True,
        )
    print(f"| the whole ladder, {data}, a split | | {text(statistics.median(took))} | | | | |")


def bench_held_out():
    """5.1's models on the real ratings that there are."""
    from conftest import MOVIELENS

    if MOVIELENS.exists():
        ratings = load_ratings("movielens", MOVIELENS)
        splits = [(ratings, seed, None) for seed in range(5)]
        targets = {"damped means + SGD, 8 starts": "at most 0.838"}
        compare_held_out("ml-latest-small, mean of 5 splits", splits, (0.5, 5), targets)
    else:
        print("| 5.1: held-out RMSE | | *no ml-latest-small: make data gets it* | | | | |")
    folder = Path(os.environ.get("ML100K") or "no folder of MovieLens 100K")
    if folder.is_dir():
        targets = {"damped means + SGD": "at most 0.9105"}
        splits = published_folds(folder)
        compare_held_out("MovieLens 100K, mean of its 5 folds", splits, (1, 5), targets)
    else:
        print(
            "| 5.1: held-out RMSE, MovieLens 100K | | *not measured: ML100K names its folder* | | | | |"
        )


# ------------------------------------------------------------------------------------------------------------- how it grows


def bench_growth():
    """Cost against the number of ratings, the rank and the epochs, in nanoseconds a rating."""

    def cost(A, rank, few=1, many=4):
        run = per_epoch(lambda k: mf_core.sgd_factorize_masked(A, None, rank, k, 0.001), few, many)
        (own,), _ = in_turn(3, run)
        return own / len(A.values()) * 1e9

    counts = [100_000, 1_000_000, 5_000_000, 25_000_000]
    base = None
    for count in counts:
        scale = (count / 25e6) ** 0.5
        A = random_ratings(int(162_541 * scale), int(59_047 * scale), count)
        ns = cost(A, 16)
        base = base or ns
        print(
            f"| SGD, {count:,} ratings, rank 16 | {counts[0]:,} ratings | {ns:.1f} ns a rating | {base:.1f} ns | | | |"
        )
    A = random_ratings(1000, 10_000, 5_000_000)
    for rank in (1, 2, 5, 10, 20, 50):
        print(
            f"| SGD, 5 million ratings, rank {rank} | | {cost(A, rank):.1f} ns a rating | | | | |",
            flush=True,
        )
    ns = [cost(A, 5, 1, 1 + epochs) for epochs in (1, 10)]
    print(
        f"| SGD, 5 million ratings, rank 5, 10 epochs | 1 epoch | {ns[1]:.1f} ns a rating | {ns[0]:.1f} ns | | | |"
    )


def bench_memory():
    """MovieLens 25M's size: the peak memory of a process that does nothing but load such data and factorise them."""
    A = random_ratings(162_541, 59_047, 25_000_000)
    size = (A.indices().nbytes + A.values().nbytes) / 2**20
    code = """if True:
        import sys, time, torch, mf_core
        A = torch.sparse_coo_tensor(*torch.load(sys.argv[1]), (162_541, 59_047), is_coalesced=True)
        start = time.perf_counter()
        mf_core.sgd_factorize(A, 16, 1, 1e-5)
        took = time.perf_counter() - start
        print(took, open("/proc/self/status").read().split("VmHWM:")[1].split()[0])"""
    with tempfile.TemporaryDirectory() as folder:
        torch.save((A.indices(), A.values()), f"{folder}/ratings.pt")
        took, peak = fresh(code, f"{folder}/ratings.pt")
    work = "SGD, 162,541 x 59,047, 25 million ratings, rank 16, a call of one epoch"
    space = f"{peak / 1024:.0f} MB the whole process, {size:.0f} MB of it the ratings"
    print(f"| {work} | | {text(took)} | | | under 2 GB | {space} |", flush=True)


def fresh(code, *arguments, **environment):
    """The numbers that this code prints in a new process."""
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True,
                         env=os.environ | environment, cwd=ROOT)  # fmt: skip
    return [float(x) for x in run.stdout.split()]


def bench_start():
    """Import, and the first call with a cold and a warm cache, each in a new process."""
    # scipy comes with a peer, not with environment.yml; numba would spend a quarter of a second on it.
    first = """if True:
        import sys, time, torch
        sys.modules["scipy"] = None
        before = time.perf_counter()
        import mf_core
        imported = time.perf_counter() - before
        A = torch.rand(3, 3)
        before = time.perf_counter()
        mf_core.{}
        print(imported, time.perf_counter() - before)"""
    for call in ("sgd_factorize(A, 2)", "gd_factorize_masked(A, A > -1, 2)"):
        with tempfile.TemporaryDirectory() as cache:
            runs = [fresh(first.format(call), NUMBA_CACHE_DIR=cache) for _ in range(4)]
        (_, cold), *warm = runs
        imported, first_call = (statistics.median(column) for column in zip(*warm, strict=True))
        name = call.split("(")[0]
        print(
            f"| import of mf_core over importing torch | | {text(imported)} | | | under 0.5 s | |"
        )
        print(
            f"| first {name}, warm cache | cold cache | {text(first_call)} | {text(cold)} | | under 0.5 s | |",
            flush=True,
        )


# In the page: move each slider through forty values, an event a frame as browsers send them, and note the milliseconds
# from the event until the frame with the new figure is painted. If asked to, run the thousand seeds meanwhile.
REPAINTS = """async seeds => {
  const times = [], channel = new MessageChannel();
  for (const slider of document.querySelectorAll(".live input[type=range]")) {
    if (seeds) document.querySelector(".run").click();
    for (let k = 0; k < 40; k++) {
      await new Promise(done => requestAnimationFrame(() => {
        const event = performance.now();
        channel.port1.onmessage = () => done(times.push(performance.now() - event));
        slider.value = +slider.min + (slider.max - slider.min) * k / 39;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        channel.port2.postMessage(0);
      }));
    }
  }
  return times;
}"""
A_THOUSAND_SEEDS = """async () => {
  const start = performance.now(), counted = document.querySelector(".counted");
  document.querySelector(".run").click();
  while (!counted.textContent.startsWith("1,000")) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def bench_live():
    """The live figures in Chromium: from an event to the repainted figure; a thousand seeds."""
    import nbformat
    from conftest import CHROMIUM
    from playwright.sync_api import sync_playwright

    if not CHROMIUM:
        print("| live figures | | *no Chromium here* | | | | |")
        return
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()

        def repaints(what, seeds=False):
            times = page.evaluate(REPAINTS, seeds)
            median, worst = text(statistics.median(times) / 1e3), text(max(times) / 1e3)
            print(
                f"| live: {what}, event to repaint, median | worst | {median} | {worst} | | 16 ms, 50 ms | |"
            )

        for path in sorted(ROOT.glob("notebooks/*.ipynb")):
            for cell in nbformat.read(path, as_version=4).cells:
                for output in cell.get("outputs", []):
                    figure = output.get("data", {}).get("text/html", "")
                    if not figure.startswith('<figure class="live"'):
                        continue
                    file = Path(folder, "page.html")
                    file.write_text(
                        f"<!doctype html><meta charset=utf-8>{figure}", encoding="utf-8"
                    )
                    page.goto(file.as_uri())
                    fields = ", fields" if 'type="checkbox"' in figure else ""
                    repaints(path.stem[:3] + fields)
                    if 'class="run"' in figure:
                        took = statistics.median(page.evaluate(A_THOUSAND_SEEDS) for _ in range(3))
                        repaints(f"{path.stem[:3]} while 1,000 seeds run", seeds=True)
                        print(f"| live: 1,000 seeds | | {text(took / 1e3)} | | | about 1 s | |")
        browser.close()


GROUPS = {
    "The coursework's own code": {
        "small": bench_small,
        **{f"gd-{rank}": lambda rank=rank: bench_gd(rank) for rank in (1, 2, 5, 10, 20, 50)},
    },
    "Other programs": {
        "libmf-5": lambda: bench_peer("libmf", 1000, 10_000, 5_000_000, 5, 1, 11, 5, "3 x"),
        "surprise-5": lambda: bench_peer("surprise", 1000, 10_000, 5_000_000, 5, 1, 3, 3, "15 x"),
        "libmf-25": lambda: bench_peer("libmf", 162_541, 59_047, 25_000_000, 16, 1, 11, 3, "2 x"),
    },
    "All cores, and several processes": {
        "threads": bench_threads,
        "processes": bench_processes,
        "traffic": bench_traffic,
        "strata": bench_strata,
    },
    "Held-out ratings": {"heldout": bench_held_out},
    "Live figures": {"live": bench_live},
    "Growth, memory, start": {
        "growth": bench_growth,
        "memory": bench_memory,
        "start": bench_start,
    },
}
ROWS = {name: function for group in GROUPS.values() for name, function in group.items()}
HEAD = "| work | against | ours | the other | ratio | target | peak memory over the data's: ours, the other's |\n|---|---|---|---|---|---|---|"


def rows_of(name):
    run = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"bench {name} failed:\n{run.stderr}")
    return [line for line in run.stdout.splitlines() if line.startswith("|")]


def main():
    if sys.argv[1:]:
        for name in sys.argv[1:]:
            ROWS[name]()
        return
    machine = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        machine = next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")), machine
        )
        flags = next((line for line in lines if line.startswith("flags")), "")
        machine += (
            ", AVX-512" if " avx512f" in flags else ", AVX2, no AVX-512" if " avx2" in flags else ""
        )
    table = []

    def add(*lines):
        print(*lines, sep="\n", flush=True)
        table.extend(lines)

    python = f"Python {platform.python_version()}, torch {torch.__version__}"
    add(f"Measured on {time.strftime('%Y-%m-%d')}: {machine}; {os.cpu_count()} cores; {python}.")
    for title, group in GROUPS.items():
        add("", f"## {title}", "", HEAD)
        for name in group:
            add(*rows_of(name))
    out = ROOT / "report" / "bench.txt"
    out.write_text("\n".join(table) + "\n")
    print(f"\n{out}")


if __name__ == "__main__":
    main()
