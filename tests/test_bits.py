"""The same bits: in the process that compiles and in those that load the cache; of SGD, on every kind of processor."""

import os
import subprocess
import sys

import pytest
import torch

PROGRAM = """
import hashlib
import torch
import mf_core

def show(name, *tensors):
    print(name, hashlib.sha256(b"".join(x.contiguous().numpy().tobytes() for x in tensors)).hexdigest())

for shape in ((3, 3), (150, 301)):
    generator = torch.Generator().manual_seed(1)
    A = torch.rand(*shape, generator=generator)
    M = torch.rand(*shape, generator=generator) < 0.6
    show("means", *mf_core.damped_means(A, M, 3))
    show("svd", *mf_core.truncated_svd(A, 2))
    for rank in (1, 5, 8):
        start = tuple(torch.rand(k, rank, generator=generator) for k in shape)
        for w in (0.0, 0.02):
            show("sgd", *mf_core.sgd_factorize_masked(A, M, rank, 9, 0.01, init=start, weight_decay=w))
            show("sgd", *mf_core.sgd_factorize_masked(A, M, rank, 9, 0.01, init=start, weight_decay=w, strata=3))
            show("gd", *mf_core.gd_factorize_masked(A, M, rank, 9, 1e-4, init=start, weight_decay=w))
        show("sgd", *mf_core.sgd_factorize(A, rank, 9, 0.01, init=start))
        show("loss", mf_core.reconstruction_loss(A, *start, M), mf_core.reconstruction_loss(A, *start))
"""


def bits(cache, **environment):
    """What a new process computes: (name, digest of the result) for every public function, several times."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in run.stdout.splitlines()]
    assert {name for name, _ in lines} == {"means", "svd", "sgd", "gd", "loss"}
    return lines


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The bits of a process that compiles everything, and the cache that it leaves."""
    cache = tmp_path_factory.mktemp("cache")
    return bits(cache), cache


def test_a_process_that_compiles_gives_the_bits_of_those_that_load_what_was_compiled(here):
    cold, cache = here
    assert any(cache.rglob("*.nbc"))
    assert bits(cache) == cold


def test_sgd_has_the_same_bits_on_the_simplest_processor(here, tmp_path):
    """numba then compiles for the instructions that all processors of this kind have."""
    simplest = bits(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    for name in ("sgd", "loss", "means"):
        assert [line for line in simplest if line[0] == name] == [
            line for line in here[0] if line[0] == name
        ]


def test_sgd_has_the_same_bits_as_its_two_lines_in_float32_arithmetic():
    """NumPy's scalars round every product and sum: strictly IEEE, in the order of the pseudocode."""
    import numpy as np

    import mf_core

    generator = torch.Generator().manual_seed(2)
    A, start = torch.rand(7, 5, generator=generator), (torch.rand(7, 3), torch.rand(5, 3))
    U, V = (X.numpy().copy() for X in start)
    lr, w = np.float32(0.03), np.float32(0.1)
    for _ in range(40):
        for i in range(7):
            for j in range(5):
                dot = np.float32(0)
                for k in range(3):
                    dot += U[i, k] * V[j, k]
                e = A.numpy()[i, j] - dot
                for k in range(3):
                    U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]
                    V[j, k] += lr * e * U[i, k] - lr * w * V[j, k]
    result = mf_core.sgd_factorize_masked(
        A, torch.ones(7, 5), 3, 40, 0.03, weight_decay=0.1, init=start
    )
    assert all(np.array_equal(X, Y.numpy()) for X, Y in zip((U, V), result, strict=True))


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


SMALL = "import torch, mf_core; print(*mf_core.sgd_factorize(torch.ones(2, 2), 1, 3, generator=torch.Generator()))"


def test_where_no_folder_can_be_written_every_process_compiles():
    nowhere = "from numba.core import caching; caching.CacheImpl._locator_classes = []\n"
    without, with_cache = run(nowhere + SMALL), run(SMALL)
    assert without.returncode == 0 and without.stdout == with_cache.stdout, without.stderr


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
def test_a_damaged_cache_is_compiled_anew(kind, tmp_path):
    first = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    files = list(tmp_path.rglob(kind))
    for file in files:
        file.write_bytes(file.read_bytes()[:-20])
    again = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert files and again.returncode == 0 and again.stdout == first.stdout, again.stderr
    assert all(file.stat().st_size > 20 for file in files)
