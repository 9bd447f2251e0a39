"""mf_train: strata against plain loops, the same bits however shared out, files that stay whole."""

import _thread
import os
import re
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import oracles
import pytest
import torch
from conftest import ROOT, examples, seeded
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from safetensors.numpy import save as serialized

import mf_core
import mf_train
from mf_train import __main__ as command
from mf_train import checkpoint, processes

OPTIONS = ["--epochs=6", "--rank=5", "--strata=8", "--seed=3"]


def bands(M, strata):
    """The band of each row: cut where at least 1/S, 2/S ... of the entries are above."""
    above = torch.cat([M.new_zeros(1), M.sum(1)]).cumsum(0)[:-1]
    shares = [k * int(M.sum()) // strata for k in range(1, strata)]
    edges = [next((i for i in range(1, len(M)) if above[i] >= x), len(M)) for x in shares]
    return torch.tensor([sum(i >= edge for edge in edges) for i in range(len(M))])


@examples(25)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6))
def test_strata_are_blocks_on_diagonals(m, n, strata, seed):
    strata = min(strata, m, n)
    A = torch.rand(m, n, generator=seeded(seed), dtype=torch.float64)
    M = torch.rand(m, n, generator=seeded(seed + 1)) < 0.6
    M[0, 0] = True
    start = tuple(torch.rand(k, 3, generator=seeded(2), dtype=torch.float64) for k in (m, n))
    result = mf_train.factorize(A, 3, 2, 0.03, M=M, strata=strata, weight_decay=0.2, init=start)
    row, col = bands(M, strata), bands(M.T, strata)
    factors = start
    for _ in range(2):
        for s in range(strata):
            for a in range(strata):
                block = M & (row == a)[:, None] & (col == (a + s) % strata)
                factors = oracles.sgd(A, block, *factors, 1, 0.03, 0.2)
    for ours, theirs in zip(result, factors, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_one_stratum_has_the_bits_of_mf_core():
    A, calls = torch.rand(13, 7, generator=seeded()), []
    options = {"generator": seeded(1), "callback": lambda *x: calls.append(x) or x[0] == 3}
    ours = mf_train.factorize(A, 2, strata=1, **options)
    core = mf_core.sgd_factorize_masked(A, None, 2, 3, 0.02, weight_decay=0.1, generator=seeded(1))
    assert [epoch for epoch, _, _ in calls] == [1, 2, 3]
    for X, Y, first, last in zip(ours, core, calls[0][1:], calls[2][1:], strict=True):
        assert torch.equal(X, Y) and torch.equal(last, Y)
        assert not torch.equal(first, Y)  # a copy: it is not overwritten


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    A = torch.where(torch.rand(301, 2001, generator=seeded()) < 0.1, 1.0, 0.0).to_sparse()
    results = []
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        U, V = mf_train.factorize(A, 5, 4, 0.01, strata=8, generator=seeded(2))
        results.append(torch.cat([U, V]))
    assert all(torch.equal(factors, results[0]) for factors in results)


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda A: mf_train.factorize(A, 2, strata=0), ValueError, "strata is 0.*at least 1"),
    (lambda A: mf_train.factorize(A, 2, strata=3), ValueError, "strata is 3.*allows 2 at most"),
    (lambda A: mf_train.factorize(10 * A, 2, 9, 0.9, strata=2, generator=seeded()),
     FloatingPointError, "epoch 2: lr = 0.9 is .* smaller one"),
    (lambda A: mf_train.fit_baseline(A, None, -1), ValueError, "damping is -1"),
    (lambda A: mf_train.fit_baseline(A, A > 9, 1), ValueError, "M observes no entry"),
    (lambda A: mf_train.fit_baseline(1.7e308 * torch.tensor([[1, 1], [1, -1]]).double(), None, 0),
     FloatingPointError, "a baseline beyond torch.float64's range"),
])  # fmt: skip
def test_a_bad_call_names_the_argument(call, kind, words):
    with pytest.raises(kind, match=words):
        call(torch.rand(2, 5, generator=seeded()) + 0.1)


@examples(40)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6), st.sampled_from([0, 0.5, 3]))
def test_the_baseline_is_that_of_section_5_1(m, n, seed, damping):
    A = 4 * torch.rand(m, n, generator=seeded(seed)) + 1
    M = torch.rand(m, n, generator=seeded(seed + 1)) < 0.6
    M[0, 0] = True
    expected = oracles.baseline(A, M, damping)
    for table, mask in ((torch.where(M, A, torch.nan), M), ((A * M).to_sparse(), None)):
        for x, y in zip(mf_train.fit_baseline(table, mask, damping), expected, strict=True):
            assert x.dtype == torch.float32
            torch.testing.assert_close(x.double(), y, rtol=0, atol=1e-6)


def write_ratings(folder, lines):
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines, ""]))
    return folder


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """A folder as MovieLens's: numbers with gaps, lines in random order; one movie has most."""
    rng = np.random.default_rng(0)
    cells = np.union1d(60 * np.arange(200), rng.choice(200 * 60, 300, replace=False))
    rng.shuffle(cells)
    lines = [f"{3 * (c // 60) + 1},{7 * (c % 60) + 2},{rng.integers(1, 11) / 2},0" for c in cells]
    return write_ratings(tmp_path_factory.mktemp("ratings"), lines)


def run(*arguments):
    """The exit status of the command, in this process."""
    try:
        return command.main([str(argument) for argument in arguments])
    except SystemExit as ended:  # by argparse
        return ended.code


def start(*arguments, **variables):
    """Python in a new process, which finds and leaves byte code: it halves the time to import."""
    variables |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen([sys.executable, *arguments], env=os.environ | variables, **options)


@pytest.fixture(scope="module")
def alone(ratings, tmp_path_factory):
    """The file that one process writes."""
    file = tmp_path_factory.mktemp("alone") / "factors.safetensors"
    assert run(ratings, f"--out={file}", *OPTIONS) == 0
    return file


def test_the_command_fits_the_baseline_and_what_it_leaves(ratings, alone):
    """The bits of `fit_baseline` and `factorize`, on all but a tenth of the ratings."""
    f, metadata = checkpoint.load(alone)
    table = np.loadtxt(ratings / "ratings.csv", delimiter=",", skiprows=1, dtype=np.float32)
    rows, cols = (np.searchsorted(f[k], table[:, i]) for i, k in enumerate(("users", "movies")))
    kept = np.random.default_rng(3).random(len(table)) >= 0.1
    index = torch.from_numpy(np.stack([rows, cols])[:, kept])
    A = torch.sparse_coo_tensor(index, torch.from_numpy(table[kept, 2]), (200, len(f["col"])))
    for name, x in zip(("mu", "row", "col"), mf_train.fit_baseline(A, None, 5), strict=True):
        assert np.array_equal(x.numpy(), f[name])
    left = table[:, 2] - (f["mu"] + f["row"][rows] + f["col"][cols])
    A = torch.sparse_coo_tensor(index, torch.from_numpy(left[kept]), A.shape)
    generator = seeded(3)
    init = [0.1 * torch.rand(size, 5, generator=generator) for size in A.shape]
    U, V = mf_train.factorize(A, 5, 6, init=init)
    assert np.array_equal(U.numpy(), f["U"]) and np.array_equal(V.numpy(), f["V"])
    errors = (left - (f["U"][rows] * f["V"][cols]).sum(1))[~kept]
    assert metadata["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)


def test_processes_write_the_file_of_one(ratings, tmp_path):
    """Of two, one is killed, and the other ends soon; three go on from what they have written."""
    out, whole = tmp_path / "new/factors.safetensors", tmp_path / "whole.safetensors"
    arguments = ["-m", "mf_train", ratings, f"--out={out}", *OPTIONS]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    team = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    team |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first, second = (start(*arguments, "--epochs=9999", RANK=rank, **team) for rank in "01")
    while "epoch 2 " not in first.stdout.readline():
        assert first.poll() is None, first.communicate()
    second.kill()
    errors = first.communicate(timeout=60)[1]
    second.communicate()
    assert first.returncode == 1 and "lost another process" in errors
    epochs = f"--epochs={checkpoint.load(out)[1]['epoch'] + 2}"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
    output, errors = start(*torchrun, *arguments, epochs, "--resume").communicate(timeout=200)
    assert output.count("held-out RMSE") == 2, errors
    assert run(ratings, f"--out={whole}", *OPTIONS, epochs) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_ctrl_c_ends_a_long_run_soon(ratings, tmp_path, capsys, interruptible):
    """Resumed through a link, the run replaces its target, with the same rights and bits."""
    out, link = tmp_path / "factors.safetensors", tmp_path / "link.safetensors"
    link.symlink_to("factors.safetensors")
    threading.Timer(0.5, _thread.interrupt_main).start()
    assert run(ratings, f"--out={out}", *OPTIONS, "--epochs=9999") == 1
    assert "stopped; --resume goes on" in capsys.readouterr().err
    out.chmod(0o640)
    epochs = f"--epochs={checkpoint.load(out)[1]['epoch'] + 2}"
    assert run(ratings, f"--out={link}", *OPTIONS, epochs, "--resume") == 0
    assert link.is_symlink() and out.stat().st_mode & 0o777 == 0o640
    assert run(ratings, f"--out={tmp_path / 'whole'}", *OPTIONS, epochs) == 0
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_run_that_is_done_says_so_and_leaves_its_file_alone(ratings, alone, capsys):
    content = alone.read_bytes()
    assert run(ratings, f"--out={alone}", *OPTIONS, "--resume") == 0
    assert "6 epochs are done; raise --epochs" in capsys.readouterr().out
    assert alone.read_bytes() == content and os.listdir(alone.parent) == [alone.name]


def test_a_checkpoint_is_written_every_n_epochs_and_after_the_last(ratings, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(command, "save", lambda file, _, metadata: saved.append(metadata["epoch"]))
    for every, epochs in ((1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])):
        saved.clear()
        assert run(ratings, f"--out={tmp_path / 'x'}", "--epochs=5", f"--checkpoint={every}") == 0
        assert saved == epochs


def test_a_file_that_no_run_has_written_is_refused(ratings, alone, tmp_path, capsys):
    out, content = tmp_path / "bad.safetensors", alone.read_bytes()
    foreign = serialized(load_file(alone))
    other_tensor = content[:-1] + bytes([content[-1] ^ 1])
    other_epoch = content.replace(b'epoch\\": 6', b'epoch\\": 5')
    for bad in (foreign, other_tensor, other_epoch, content[:-9], b""):
        out.write_bytes(bad)
        assert bad != content and run(ratings, f"--out={out}", *OPTIONS, "--resume") == 1
        assert "holds no factors of mf_train" in capsys.readouterr().err
        assert out.read_bytes() == bad


def test_a_full_disk_leaves_the_old_file_and_is_named(ratings, alone, monkeypatch, capsys):
    content = alone.read_bytes()
    monkeypatch.setattr(checkpoint.os, "fsync", lambda number: os.write(-1, b""))  # an OSError
    assert run(ratings, f"--out={alone}", *OPTIONS, "--epochs=7", "--resume") == 1
    assert f"{alone} cannot be written (" in capsys.readouterr().err
    assert alone.read_bytes() == content and os.listdir(alone.parent) == [alone.name]


@pytest.mark.parametrize(("options", "words"), [
    (["--strata=60"], "200 users, 59 movies.*lower --strata"),
    (["--held-out=0.999999"], "0 ratings to train on: .* or --held-out"),
    (["--lr=9"], "stopped being finite in epoch [1-6]: lr = 9"),
    (["--out=/dev/null/x"], "/dev/null"),
    (["--out={alone}"], "already exists; --resume"),
    (["--out={alone}", "--resume", "--rank=6"], "was made with {'rank': 5, 'lr': 0.02"),
    *[([f"--{bound}"], f"--{bound.split('=')[0]}") for bound in (
        "rank=0", "rank=10000", "lr=0", "lr=nan", "weight-decay=-1", "damping=1e9", "strata=0",
        "seed=-1", f"seed={2**63}", "held-out=1", "epochs=0", "epochs=2.5", "timeout=0.9",
        "out=",
    )],
])  # fmt: skip
def test_an_option_that_does_not_fit_is_named(ratings, alone, tmp_path, capsys, options, words):
    content = alone.read_bytes()
    options = [option.replace("{alone}", str(alone)) for option in options]
    assert run(ratings, f"--out={tmp_path / 'x'}", *OPTIONS, *options) in (1, 2)
    assert re.search(words, capsys.readouterr().err.splitlines()[-1])
    assert not (tmp_path / "x.safetensors").exists() and alone.read_bytes() == content


def test_ratings_that_do_not_fit_are_refused(ratings, alone, tmp_path, capsys):
    header, first, *others = (ratings / "ratings.csv").read_text().splitlines()
    twice = [first, *others, first]
    for lines, words in ((twice, "repeats {'userId'"), (others, "is of other ratings")):
        write_ratings(tmp_path, lines)
        assert run(tmp_path, f"--out={alone}", *OPTIONS, "--resume") == 1
        assert words in capsys.readouterr().err


def test_a_team_is_what_torchrun_says(monkeypatch, capsys):
    """Between processes of one machine, nothing leaves it."""
    timeouts, meet = [], "init_process_group"
    monkeypatch.setattr(processes.dist, meet, lambda _, timeout: timeouts.append(timeout.seconds))
    monkeypatch.setattr(sys, "platform", "linux")
    for local_size, interface in (("2", None), ("6", "lo")):
        environment = {"RANK": "3", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": local_size}
        monkeypatch.setattr(os, "environ", environment)
        assert processes.Team.of_torchrun(7) == processes.Team(3, 6) and timeouts.pop() == 7
        assert environment.get("GLOO_SOCKET_IFNAME") == interface
    assert run("ml.zip", "--out=x", "--strata=5") == 1
    assert "--strata is 5; 6 processes need 6" in capsys.readouterr().err


def test_a_team_that_never_meets_says_so_in_time(monkeypatch, capsys):
    """Whether gloo gives up, or waits longer than it was told to."""
    end = threading.Event()
    monkeypatch.setattr(os, "environ", {"RANK": "1", "WORLD_SIZE": "2"})
    for meet in (lambda *_, **__: torch.ones(2).item(), lambda *_, **__: end.wait(60)):
        monkeypatch.setattr(processes.dist, "init_process_group", meet)
        begin = time.monotonic()
        assert run("ml.zip", "--out=x", "--timeout=1") == 1 and time.monotonic() < begin + 4
        assert "never met: set GLOO_SOCKET_IFNAME" in capsys.readouterr().err
    end.set()
