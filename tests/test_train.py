"""mf_train: strata against plain loops, the same bits however shared out, files that stay whole."""

import _thread
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import mf_core
import mf_train
from mf_train.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ["--epochs=6", "--rank=5", "--strata=8", "--seed=3"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def runs(M, strata):
    """The run of each row: cut where at least 1/S, 2/S ... of the entries are in the rows above."""
    above = torch.cat([M.new_zeros(1), M.sum(1)]).cumsum(0)[:-1]
    total = int(M.sum())
    shares = [k * total // strata for k in range(1, strata)]
    edges = [next((i for i in range(1, len(M)) if above[i] >= x), len(M)) for x in shares]
    return torch.tensor([sum(i >= edge for edge in edges) for i in range(len(M))])


@examples(40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_strata_are_blocks_on_the_diagonals_one_after_the_other(m, n, strata, seed):
    strata = min(strata, m, n)
    A = torch.rand(m, n, generator=seeded(seed), dtype=torch.float64)
    M = torch.rand(m, n, generator=seeded(seed + 1)) < 0.6
    M[0, 0] = True
    start = tuple(torch.rand(k, 3, generator=seeded(2), dtype=torch.float64) for k in (m, n))
    result = mf_train.factorize(A, 3, 3, 0.03, M=M, strata=strata, weight_decay=0.1, init=start)
    row, col = runs(M, strata), runs(M.T, strata)
    factors = start
    for _ in range(3):
        for s in range(strata):
            for a in range(strata):
                block = M & (row == a)[:, None] & (col == (a + s) % strata)
                factors = oracles.sgd(A, block, *factors, 1, 0.03, 0.1)
    for ours, theirs in zip(result, factors, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_one_stratum_has_the_bits_of_mf_core():
    A = torch.rand(13, 7, generator=seeded())
    ours = mf_train.factorize(A, 2, 9, 0.01, strata=1, weight_decay=0.02, generator=seeded(1))
    core = mf_core.sgd_factorize_masked(A, None, 2, 9, weight_decay=0.02, generator=seeded(1))
    assert all(torch.equal(X, Y) for X, Y in zip(ours, core, strict=True))


def test_the_number_of_threads_changes_no_bit():
    A = torch.where(torch.rand(301, 2001, generator=seeded()) < 0.1, 1.0, 0.0).to_sparse()
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(mf_train.factorize(A, 5, 4, 0.01, generator=seeded(2)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(U, results[0][0]) and torch.equal(V, results[0][1]) for U, V in results)


def test_a_true_return_of_the_callback_ends_the_run():
    A, epochs = torch.rand(9, 8), []

    def callback(epoch, U, V):
        epochs.append((epoch, U, V))
        return epoch == 2

    U, V = mf_train.factorize(A, 2, 9, strata=2, callback=callback)
    assert [epoch for epoch, _, _ in epochs] == [1, 2]
    assert torch.equal(epochs[1][1], U) and not torch.equal(epochs[0][1], U)


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda A: mf_train.factorize(A, 2, strata=0), ValueError, "strata is 0.*at least 1"),
    (lambda A: mf_train.factorize(A, 2, strata=3), ValueError, "strata is 3.*allows 2 at most"),
    (lambda A: mf_train.factorize(A, 2, strata=2.0), TypeError, "strata is 2.0.*integer"),
    (lambda A: mf_train.factorize(A * 1e30, 2, 9, 0.9, strata=2), FloatingPointError, "lr = 0.9"),
    (lambda A: mf_train.fit_baseline(A, None, -1), ValueError, "damping is -1"),
    (lambda A: mf_train.fit_baseline(A, A > 9, 1), ValueError, "M observes no entry"),
])  # fmt: skip
def test_a_bad_call_names_the_argument(call, kind, words):
    with pytest.raises(kind, match=words):
        call(torch.rand(2, 5))


# -------------------------------------------------------------------------------- the baseline


@examples(40)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6), st.sampled_from([0.5, 3, 100]))
def test_the_baseline_is_the_joint_damped_fit_whichever_way_the_table_lies(m, n, seed, damping):
    A = 4 * torch.rand(m, n, generator=seeded(seed)) + 1
    M = torch.rand(m, n, generator=seeded(seed + 1)) < 0.6
    M[0, 0] = True
    mu, row, col = mf_train.fit_baseline(A, M, damping)
    mu_t, col_t, row_t = mf_train.fit_baseline(A.T, M.T, damping)
    expected = oracles.damped_means(A, M, damping)
    for x, y, z in zip((mu, row, col), expected, (mu_t, row_t, col_t), strict=True):
        torch.testing.assert_close(x.double(), y.double(), rtol=0, atol=1e-5)
        torch.testing.assert_close(x, z, rtol=0, atol=1e-5)


def test_a_baseline_that_does_not_converge_says_so():
    """A chain of ratings, two in each row, ties its ends together only weakly."""
    i = torch.arange(300)
    index = torch.stack([i.repeat(2), torch.cat([i, (i + 1).clamp(max=299)])]).unique(dim=1)
    A = torch.sparse_coo_tensor(index, torch.rand(index.shape[1], generator=seeded()), (300, 300))
    with pytest.raises(ValueError, match="damping is 0.*not converged"):
        mf_train.fit_baseline(A, None, 0)


# ---------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """A folder as MovieLens's: numbers with gaps, lines in random order."""
    folder = tmp_path_factory.mktemp("ratings")
    rng = np.random.default_rng(0)
    cells = rng.choice(200 * 60, 4000, replace=False)
    lines = [f"{3 * (c // 60) + 1},{7 * (c % 60) + 2},{rng.integers(1, 11) / 2},0" for c in cells]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines, ""]))
    titles = [f"{7 * j + 2},Film {j},Drama" for j in range(60)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles, ""]))
    return folder


@pytest.fixture(scope="module")
def alone(ratings, tmp_path_factory):
    """The file that one process writes."""
    file = tmp_path_factory.mktemp("alone") / "factors.safetensors"
    assert main([str(ratings), f"--out={file}", *OPTIONS]) == 0
    return file


def start(processes, *arguments, **environment):
    """The command in a new process, or by torchrun in several, where Ctrl-C is not ignored."""
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return subprocess.Popen(
        [*command, "mf_train", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_several_processes_write_the_file_of_one_to_the_bit(ratings, alone, tmp_path, processes):
    out = tmp_path / "new/folder/factors.safetensors"
    process = start(processes, ratings, f"--out={out}", *OPTIONS)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert out.read_bytes() == alone.read_bytes()
    assert "held-out RMSE" in output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_is_resumed_to_the_same_bits(ratings, alone, tmp_path, number):
    out = tmp_path / "factors.safetensors"
    process = start(1, ratings, f"--out={out}", *OPTIONS[1:], "--epochs=9999")
    while "epoch 2 " not in process.stdout.readline():
        pass
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert number == signal.SIGKILL or "stopped; --resume goes on" in errors
    done = json.loads(metadata_of(out))["epoch"]
    more = [f"--epochs={done + 1}", "--resume", f"--out={out}"]
    assert main([str(ratings), *OPTIONS[1:], *more]) == 0
    whole = tmp_path / "whole.safetensors"
    assert main([str(ratings), *OPTIONS[1:], f"--epochs={done + 1}", f"--out={whole}"]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "unfinished" in path.name) in (
        [],
        ["factors.safetensors.unfinished"] if number == signal.SIGKILL else [],
    )


def metadata_of(file):
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]["mf_train"]


def children(pid):
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_process_that_dies_ends_the_others(ratings, tmp_path):
    arguments = [f"--out={tmp_path / 'x'}", *OPTIONS[1:], "--epochs=9999"]
    launcher = start(2, ratings, *arguments)
    while "epoch 2 " not in launcher.stdout.readline():
        pass
    first, second = children(launcher.pid)
    os.kill(second, signal.SIGKILL)
    launcher.communicate(timeout=60)
    assert launcher.returncode != 0 and not Path(f"/proc/{first}").exists()


def damaged(tensors, metadata):
    """The content of files that are not what a run writes, by what is wrong."""
    yield "U transposed", tensors | {"U": tensors["U"].T.copy()}, metadata
    yield "V of a lower rank", tensors | {"V": tensors["V"][:, 1:].copy()}, metadata
    yield "rows missing", tensors | {"U": tensors["U"][1:].copy()}, metadata
    yield "NaN", tensors | {"V": tensors["V"] * np.float32("nan")}, metadata
    yield "float64", tensors | {"U": tensors["U"].astype(float)}, metadata
    yield "no mu", {name: x for name, x in tensors.items() if name != "mu"}, metadata
    yield "a title less", tensors, metadata | {"titles": metadata["titles"][1:]}
    yield "a title that is none", tensors, metadata | {"titles": [7, *metadata["titles"][1:]]}
    yield "no epoch", tensors, metadata | {"epoch": -1}
    yield "no settings", tensors, {k: v for k, v in metadata.items() if k != "settings"}


def test_a_file_that_no_run_has_written_is_refused_before_it_is_used(
    ratings, alone, tmp_path, capsys
):
    tensors, metadata = load_file(alone), json.loads(metadata_of(alone))
    out = tmp_path / "bad.safetensors"
    for reason, bad_tensors, bad_metadata in damaged(tensors, metadata):
        save_file(bad_tensors, out, {"mf_train": json.dumps(bad_metadata)})
        before = out.read_bytes()
        for arguments in (
            [str(ratings), f"--out={out}", *OPTIONS, "--resume"],
            ["recommend", str(out), "--user=1"],
        ):
            assert main(arguments) == 1, reason
            assert "holds no factors of mf_train" in capsys.readouterr().err, reason
        assert out.read_bytes() == before
    out.write_bytes(b"x")
    assert main(["recommend", str(out), "--user=1"]) == 1
    assert "holds no factors of mf_train" in capsys.readouterr().err


def test_two_runs_do_not_write_one_file(ratings, tmp_path, capsys):
    from mf_train.checkpoint import lock

    out = tmp_path / "x.safetensors"
    with lock(out):
        assert main([str(ratings), f"--out={out}", *OPTIONS]) == 1
    assert "another run" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "words"), [
    (["--strata=61"], "60 movies.*lower --strata to 60"),
    (["--held-out=0.999999"], "ratings to train on"),
    (["--lr=9"], "stopped being finite.*lr = 9"),
])  # fmt: skip
def test_settings_that_do_not_fit_the_ratings_are_named(
    ratings, tmp_path, capsys, arguments, words
):
    assert main([str(ratings), f"--out={tmp_path / 'x'}", *OPTIONS, *arguments]) == 1
    assert re.search(words, capsys.readouterr().err)


@pytest.mark.parametrize("option", ["--rank=0", "--epochs=0", "--lr=0", "--timeout=x", "--out="])
def test_an_option_out_of_its_bounds_is_named(ratings, capsys, option):
    with pytest.raises(SystemExit) as ended:
        main([str(ratings), "--out=x", option])
    assert ended.value.code == 2 and option.split("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("environment", [{"WORLD_SIZE": "x"}, {"RANK": "abc"}])
def test_a_broken_environment_is_named(ratings, tmp_path, environment):
    process = start(1, ratings, f"--out={tmp_path / 'x'}", **environment)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "RANK" in errors and "Traceback" not in errors


def test_resume_needs_the_same_ratings_and_settings(ratings, alone, tmp_path, capsys):
    out = tmp_path / "f.safetensors"
    out.write_bytes(alone.read_bytes())
    assert main([str(ratings), f"--out={out}", *OPTIONS]) == 1
    assert "already exists; --resume" in capsys.readouterr().err
    assert main([str(ratings), f"--out={out}", *OPTIONS, "--resume", "--rank=6"]) == 1
    assert "--resume" in capsys.readouterr().err
    assert out.read_bytes() == alone.read_bytes()


def test_recommend_prints_the_highest_predictions_that_the_user_has_not_rated(
    ratings, alone, capsys
):
    f, titles = load_file(alone), json.loads(metadata_of(alone))["titles"]
    user = f["users"][5]
    stars = f["mu"] + f["row"][5] + f["col"] + f["V"] @ f["U"][5]
    table = np.loadtxt(ratings / "ratings.csv", delimiter=",", skiprows=1)
    rated = set(table[table[:, 0] == user, 1])
    best = [k for k in np.argsort(-stars) if f["movies"][k] not in rated][:3]
    arguments = ["recommend", str(alone), f"--user={user}", "--count=3", f"--ratings={ratings}"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{stars[k]:.2f}  {titles[k]}" for k in best]


def test_ctrl_c_ends_a_long_call_soon(interruptible):
    A = torch.rand(400, 2000)
    mf_train.factorize(A[:9], 20, 1)  # compiled, and so not timed below
    threading.Timer(0.5, _thread.interrupt_main).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        mf_train.factorize(A, 20, 100_000, 1e-7)
    assert time.monotonic() - begin < 5
