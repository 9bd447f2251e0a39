"""mf_train: the same bits for any number of threads and processes, and after a kill; what is refused; what is told."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mf_train
from mf_core import damped_means, reconstruction_loss, sgd_factorize_masked

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, RANK = 6, 5
OPTIONS = [f"--epochs={EPOCHS}", f"--rank={RANK}", "--strata=8", "--seed=3", "--lr=0.02"]


def write_ratings(folder, users=200, movies=60, count=4000, seed=0):
    """A folder as MovieLens's: popular movies first, user and movie numbers with gaps, the lines in random order."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    place = rng.choice(users * movies, count, False, np.tile(1 / np.arange(1, movies + 1), users) / users / sum(1 / np.arange(1, movies + 1)))  # fmt: skip
    lines = [f"{3 * (p // movies) + 1},{7 * (p % movies) + 2},{rng.integers(1, 11) / 2},0" for p in place]  # fmt: skip
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines, ""]))
    titles = [f"{7 * j + 2},Film {j},Drama" for j in range(movies)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles, ""]))
    return folder


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    return write_ratings(tmp_path_factory.mktemp("data") / "ratings")


def start(processes, *arguments, **options):
    """The command in a new process, or by torchrun in several; its output is gathered."""
    run = [sys.executable, "-m"]
    if processes > 1:
        run += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen([*run, "mf_train", *map(str, arguments)], text=True, cwd=ROOT, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip


def finished(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, out + err
    return out


@pytest.fixture(scope="module")
def alone(ratings, tmp_path_factory):
    """The file that one process with one thread writes."""
    file = tmp_path_factory.mktemp("alone") / "factors.safetensors"
    assert mf_train.main([str(ratings), f"--out={file}", *OPTIONS]) == 0
    return file


def workers(launcher):
    """The processes that torchrun has started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return [int(pid) for pid in children]


# ------------------------------------------------------------------------------------------------------- the same bits


def as_matrix(file, held_out):
    """What mf_core takes: the ratings that the seed leaves for training or holds out, users as rows, sparse."""
    found = load_file(file)
    table = np.loadtxt(held_out / "ratings.csv", delimiter=",", skiprows=1)
    test = torch.from_numpy(np.random.default_rng(3).random(len(table)) < 0.1)
    index = torch.stack([torch.searchsorted(found[side].long(), torch.from_numpy(table[:, k]).long())
                         for k, side in enumerate(("users", "movies"))])  # fmt: skip
    values, shape = torch.from_numpy(table[:, 2]).float(), (len(found["users"]), len(found["movies"]))
    return [torch.sparse_coo_tensor(index[:, k], values[k], shape).coalesce() for k in (~test, test)]


def less_means(A, found):
    rows, cols = A.indices()
    left = A.values() - (found["mu"] + found["row"][rows] + found["col"][cols])
    return torch.sparse_coo_tensor(A.indices(), left, A.shape, is_coalesced=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_process_writes_the_bits_of_mf_core_on_any_number_of_threads(ratings, alone, threads):
    found = load_file(alone)
    train, _ = as_matrix(alone, ratings)
    generator = torch.Generator().manual_seed(3)
    init = tuple(0.1 * torch.rand(size, RANK, generator=generator) for size in train.shape)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        settings = {"weight_decay": 0.05, "init": init, "strata": 8}
        U, V = sgd_factorize_masked(less_means(train, found), None, RANK, EPOCHS, 0.02, **settings)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(U, found["U"]) and torch.equal(V, found["V"])


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_several_processes_write_the_file_of_one_to_the_bit(ratings, alone, tmp_path, processes):
    out = tmp_path / "factors.safetensors"
    said = finished(start(processes, ratings, f"--out={out}", *OPTIONS))
    assert out.read_bytes() == alone.read_bytes()
    assert said.count("epoch") == EPOCHS + 1 and "held-out RMSE" in said
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def killed(launcher, out):
    """Kill one worker, and not by a signal that it could hear, as soon as a first checkpoint is there."""
    while not out.exists():
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.02)
    os.kill(workers(launcher)[-1], signal.SIGKILL)
    begin = time.monotonic()
    _, err = launcher.communicate(timeout=60)
    return err, time.monotonic() - begin


def test_a_killed_process_ends_the_others_and_the_run_resumes_to_the_same_bits(ratings, alone, tmp_path):  # fmt: skip
    out = tmp_path / "factors.safetensors"
    endless = [*OPTIONS, "--epochs=9999"]
    launcher = start(2, ratings, f"--out={out}", *endless)
    err, took = killed(launcher, out)
    assert launcher.returncode != 0 and took < 30
    assert "mf_train: process 0: lost another process" in err or "mf_train: process 0: stopped" in err
    assert mf_train.read_facts(out)["epoch"] >= 1  # whole, whenever the kill came


def test_a_run_that_was_killed_after_two_epochs_resumes_with_other_processes_to_the_same_bits(ratings, alone, tmp_path):  # fmt: skip
    out = tmp_path / "factors.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        ...
