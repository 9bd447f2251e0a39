"""mf_core against the coursework's own PyTorch loops: equality, properties, bits, refusals."""

import _thread
import os
import subprocess
import sys
import threading
import time

import numpy as np
import oracles
import pytest
import torch
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import mf_core
from mf_core import (
    gd_factorize_masked,
    reconstruction_loss,
    sgd_factorize,
    sgd_factorize_masked,
    truncated_svd,
)
from mf_data import load_coursework_matrix

A3, M3 = load_coursework_matrix()
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
both_masked = pytest.mark.parametrize("factorize", [sgd_factorize_masked, gd_factorize_masked])


def assert_equal(result, oracle, dtype, scale=1.0):
    """To 1e-5 or 1e-12 of the largest entry: what the project promises."""
    for X, Y in zip(result, oracle, strict=True):
        assert X.dtype == dtype
        torch.testing.assert_close(
            X, Y, rtol=0, atol=TOLERANCE[dtype] * scale * max(1, Y.abs().max().item())
        )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def problems(draw):
    """A random A, M with at least one entry, start, lr and weight decay."""
    m, n, rank = (draw(st.integers(1, top)) for top in (9, 9, 6))
    generator = seeded(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    A = 4 * torch.rand(m, n, generator=generator, dtype=dtype) - 1
    M = torch.rand(m, n, generator=generator) < draw(st.floats(0.1, 1))
    M[draw(st.integers(0, m - 1)), draw(st.integers(0, n - 1))] = True
    start = tuple(torch.rand(size, rank, generator=generator, dtype=dtype) for size in (m, n))
    return (
        A,
        M,
        start,
        draw(st.sampled_from([0.001, 0.01, 0.03])),
        draw(st.sampled_from([0.0, 0.1])),
    )


# ------------------------------------------------------------------------------ the same results


def drawn_as_the_coursework_does(dtype):
    """The start that it draws, U before V; torch's generator is then set back, to draw it again."""
    torch.manual_seed(3)
    start = torch.rand(3, 2, dtype=dtype), torch.rand(3, 2, dtype=dtype)
    torch.manual_seed(3)
    return start


@both_dtypes
def test_sgd_follows_the_courseworks_loop_from_the_same_seed(dtype):
    A, start = A3.to(dtype), drawn_as_the_coursework_does(dtype)
    assert_equal(sgd_factorize(A, 2), oracles.sgd(A, torch.ones(3, 3), *start, 1000, 0.01), dtype)


@both_dtypes
def test_masked_sgd_follows_the_courseworks_loop_from_the_same_seed(dtype):
    A, start = A3.to(dtype), drawn_as_the_coursework_does(dtype)
    assert_equal(sgd_factorize_masked(A, M3, 2), oracles.sgd(A, M3, *start, 1000, 0.01), dtype)


@both_dtypes
def test_masked_gd_follows_the_courseworks_function_from_the_same_seed(dtype):
    A, start = A3.to(dtype), drawn_as_the_coursework_does(dtype)
    assert_equal(
        gd_factorize_masked(A, M3, 2, lr=0.01), oracles.gd(A, M3, *start, 1000, 0.01), dtype
    )


@examples(60)
@given(problems(), st.integers(0, 10))
def test_masked_sgd_equals_the_loop_on_random_matrices_and_masks(problem, num_epochs):
    A, M, start, lr, w = problem
    result = sgd_factorize_masked(
        A, M, start[0].shape[1], num_epochs, lr, weight_decay=w, init=start
    )
    assert_equal(result, oracles.sgd(A, M, *start, num_epochs, lr, w), A.dtype)


@examples(60)
@given(problems(), st.integers(0, 40), st.sampled_from([0, mf_core.SMALL]))
def test_masked_gd_equals_the_whole_matrices_on_random_matrices_and_masks(
    problem, num_epochs, small
):
    A, M, start, lr, w = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mf_core, "SMALL", small)  # 0: in blocks, by threads, as a large one
        result = gd_factorize_masked(
            A, M, start[0].shape[1], num_epochs, lr, weight_decay=w, init=start
        )
    assert_equal(result, oracles.gd(A, M, *start, num_epochs, lr, w), A.dtype)


@both_dtypes
@pytest.mark.parametrize("rank", [1, 5, 13])
def test_large_gd_in_threads_equals_the_whole_matrices(dtype, rank):
    generator = seeded()
    A = torch.rand(203, 1501, generator=generator, dtype=dtype)
    M = torch.rand(203, 1501, generator=generator) < 0.5
    start = tuple(torch.rand(size, rank, generator=generator, dtype=dtype) for size in A.shape)
    result = gd_factorize_masked(A, M, rank, 5, 1e-4, init=start, weight_decay=0.02)
    assert_equal(result, oracles.gd(A, M, *start, 5, 1e-4, 0.02), dtype)


def test_gd_gives_the_same_bits_for_any_number_of_threads():
    A, M = (
        torch.rand(301, 2001, generator=seeded()),
        torch.rand(301, 2001, generator=seeded(1)) < 0.5,
    )
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(gd_factorize_masked(A, M, 5, 4, 1e-4, generator=seeded(2)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(U, results[0][0]) and torch.equal(V, results[0][1]) for U, V in results)


# ------------------------------------------------------------------------------------ properties


@examples(30)
@given(problems())
def test_all_ones_mask_gives_the_unmasked_result(problem):
    A, _, start, lr, _ = problem
    rank = start[0].shape[1]
    unmasked = sgd_factorize(A, rank, 5, lr, init=start)
    masked = sgd_factorize_masked(A, torch.ones_like(A), rank, 5, lr, init=start)
    assert all(torch.equal(X, Y) for X, Y in zip(unmasked, masked, strict=True))


@both_masked
@examples(30)
@given(problems(), st.sampled_from([99.0, float("nan"), float("inf"), -1e30]))
def test_what_stands_in_an_unobserved_entry_changes_nothing(factorize, problem, junk):
    A, M, start, lr, w = problem
    results = [
        factorize(
            torch.where(M, A, hidden), M, start[0].shape[1], 5, lr, weight_decay=w, init=start
        )
        for hidden in (0.0, junk)
    ]
    assert all(torch.equal(X, Y) for X, Y in zip(*results, strict=True))


@examples(60)
@given(problems())
def test_what_lies_in_memory_beside_an_argument_is_not_read(problem):
    """The loops check no bounds: every argument lies between NaN, which would show."""

    def fenced(X):
        fence = torch.full((X.numel() + 64,), float("nan"), dtype=X.dtype)
        fence[32:-32] = X.flatten()
        return fence[32:-32].view(X.shape)

    A, M, start, lr, w = problem
    A, start = fenced(A), tuple(fenced(X) for X in start)
    for factorize, small in (
        (sgd_factorize_masked, 0),
        (gd_factorize_masked, 0),
        (gd_factorize_masked, 100),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mf_core, "SMALL", small)
            U, V = factorize(A, M, start[0].shape[1], 2, lr, init=start, weight_decay=w)
        loss = reconstruction_loss(A, fenced(U), fenced(V), M)
        torch.testing.assert_close(loss, ((A - U @ V.T)[M] ** 2).sum(), rtol=1e-4, atol=1e-4)


@examples(30)
@given(problems(), st.sampled_from([float("nan"), 99.0]))
def test_unobserved_entries_change_no_loss(problem, junk):
    A, M, (U, V), _, _ = problem
    hidden = torch.where(M, A, junk)
    assert torch.equal(reconstruction_loss(hidden, U, V, M), reconstruction_loss(A, U, V, M))


@examples(30)
@given(problems())
def test_no_loss_is_below_the_eckart_young_floor_and_truncated_svd_reaches_it(problem):
    A, _, start, lr, _ = problem
    A = A.double()
    rank = min(*A.shape, start[0].shape[1])
    floor = (torch.linalg.svdvals(A)[rank:] ** 2).sum()
    U, V = sgd_factorize(A, rank, 200, lr, generator=seeded())
    assert reconstruction_loss(A, U, V) >= floor - 1e-12
    U, S, Vh = truncated_svd(A, rank)
    assert U.shape == (A.shape[0], rank) and S.shape == (rank,) and Vh.shape == (rank, A.shape[1])
    torch.testing.assert_close(reconstruction_loss(A, U * S, Vh.T), floor, rtol=1e-9, atol=1e-12)


@examples(30)
@given(problems())
def test_transposing_a_swaps_the_roles_in_the_loss_and_in_one_gd_step_of_u(problem):
    A, M, (U, V), lr, _ = problem
    torch.testing.assert_close(reconstruction_loss(A, U, V, M), reconstruction_loss(A.T, V, U, M.T))
    # V's first step from A^T is U's first step from A.
    step, _ = gd_factorize_masked(A.T, M.T, U.shape[1], 1, lr, init=(V, U))
    expected = V + lr * torch.where(M, A - U @ V.T, 0).T @ U
    torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factorize", [sgd_factorize, sgd_factorize_masked, gd_factorize_masked])
def test_init_is_left_unchanged_and_not_returned(factorize):
    start = torch.rand(3, 2), torch.rand(3, 2)
    before = [X.clone() for X in start]
    arguments = (A3, 2, 10) if factorize is sgd_factorize else (A3, M3, 2, 10)
    factorize(*arguments, init=start)
    factors = factorize(*arguments[:-1], 0, init=start)
    assert all(torch.equal(X, Y) for X, Y in zip(start, before, strict=True))
    assert all(
        torch.equal(X, Y) and X.data_ptr() != Y.data_ptr()
        for X, Y in zip(factors, start, strict=True)
    )


def test_loss_is_the_sum_of_squares_of_the_coursework():
    U, V = torch.rand(3, 2), torch.rand(3, 2)
    torch.testing.assert_close(
        reconstruction_loss(A3, U, V), torch.nn.functional.mse_loss(U @ V.T, A3, reduction="sum")
    )
    torch.testing.assert_close(reconstruction_loss(A3, U, V, M3), ((U @ V.T - A3)[M3] ** 2).sum())


def test_integers_are_converted_and_gradients_left_alone():
    A = torch.tensor([[1, 2], [3, 4]])
    U, V = sgd_factorize(A, 1, 5, generator=seeded())
    U_float, V_float = sgd_factorize(A.float(), 1, 5, generator=seeded())
    assert torch.equal(U, U_float) and torch.equal(V, V_float)
    U, _ = sgd_factorize(A.float().requires_grad_(), 1, 5)
    assert U.dtype == torch.float32 and not U.requires_grad


def test_a_view_and_its_copy_give_the_same():
    A = torch.rand(6, 8, generator=seeded())
    for view in (A.T, A[::2, 1::3]):
        assert torch.equal(
            sgd_factorize(view, 2, 5, generator=seeded())[0],
            sgd_factorize(view.clone(), 2, 5, generator=seeded())[0],
        )


# ---------------------------------------------------------------------------------- sparse input


def sparse_forms(A, M):
    """A's observed entries as sparse tensors: coalesced, and in random order."""
    index = torch.nonzero(M).T
    coo = torch.sparse_coo_tensor(index, A[M], A.shape).coalesce()
    order = torch.randperm(index.shape[1], generator=seeded(9))
    shuffled = torch.sparse_coo_tensor(index[:, order], A[M][order], A.shape)
    return coo, shuffled


@examples(40)
@given(problems())
def test_sparse_input_gives_the_result_of_the_mask(problem):
    A, M, start, lr, w = problem
    rank = start[0].shape[1]
    A = torch.where(M, A, 0)
    A[tuple(torch.nonzero(M)[0])] = 0  # a stored zero is an observed one
    dense = sgd_factorize_masked(A, M, rank, 5, lr, weight_decay=w, init=start)
    plain = sgd_factorize_masked(A, M, rank, 5, lr, init=start)
    for sparse in sparse_forms(A, M):
        result = sgd_factorize_masked(sparse, None, rank, 5, lr, weight_decay=w, init=start)
        assert all(torch.equal(X, Y) for X, Y in zip(result, dense, strict=True))
        unmasked = sgd_factorize(sparse, rank, 5, lr, init=start)
        assert all(torch.equal(X, Y) for X, Y in zip(unmasked, plain, strict=True))
        assert torch.equal(reconstruction_loss(sparse, *start), reconstruction_loss(A, *start, M))


def test_rows_without_an_entry_are_left_where_they_started():
    A = torch.sparse_coo_tensor([[2, 2, 5], [0, 3, 3]], [1.0, 2.0, 3.0], (7, 4))
    start = torch.rand(7, 2), torch.rand(4, 2)
    for U, V in (
        sgd_factorize(A, 2, 3, 0.01, init=start),
        gd_factorize_masked(A.to_dense(), A.to_dense() != 0, 2, 3, 0.01, init=start),
    ):
        assert torch.equal(U[[0, 1, 3, 4, 6]], start[0][[0, 1, 3, 4, 6]]) and torch.equal(
            V[[1, 2]], start[1][[1, 2]]
        )
        assert not torch.equal(U[2], start[0][2])


# ------------------------------------------------------------------- callbacks and interruptions


@both_masked
def test_callback_sees_every_epoch_and_a_true_return_ends_the_run(factorize):
    seen = []

    def callback(epoch, U, V):
        seen.append((epoch, U, V))
        return epoch == 7

    U, V = factorize(A3, M3, 2, 50, 0.01, generator=seeded(), callback=callback)
    U7, V7 = factorize(A3, M3, 2, 7, 0.01, generator=seeded())
    assert [epoch for epoch, _, _ in seen] == list(range(1, 8))
    assert (
        torch.equal(U, U7)
        and torch.equal(V, V7)
        and torch.equal(seen[-1][1], U7)
        and torch.equal(seen[-1][2], V7)
    )
    assert not torch.equal(seen[0][1], seen[-1][1])  # copies: an early one is not overwritten
    seen[-1][1].zero_()
    assert torch.equal(U, U7)


@both_masked
def test_a_long_run_can_be_interrupted_within_a_second(factorize, interruptible):
    A = torch.rand(400, 5000)
    M = torch.ones_like(A, dtype=torch.bool)
    factorize(A[:9], M[:9], 5, 1)  # compiled, and so not timed below
    threading.Timer(0.5, _thread.interrupt_main).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        factorize(A, M, 20, 100_000, 1e-7)
    assert time.monotonic() - start < 5  # asked for within one second; a loaded machine gets more


@pytest.mark.parametrize("callback", [None, lambda epoch, U, V: None])
def test_divergence_names_the_first_epoch_that_is_not_finite(callback):
    A = A3.double()
    start = (
        torch.rand(3, 2, generator=seeded(), dtype=torch.float64),
        torch.rand(3, 2, generator=seeded(1)).double(),
    )
    for factorize, oracle in (
        (sgd_factorize_masked, oracles.sgd),
        (gd_factorize_masked, oracles.gd),
    ):
        epoch, factors = 0, start
        while all(X.isfinite().all() for X in factors):
            factors, epoch = oracle(A, M3, *factors, 1, 0.9), epoch + 1
        with pytest.raises(FloatingPointError, match=rf"in epoch {epoch} of 100: .*smaller"):
            factorize(A, M3, 2, 100, 0.9, init=start, callback=callback)


# ---------------------------------------------------------------------- dtypes, sizes and ranges


def test_integers_take_torchs_default_dtype_whichever_it_is():
    A, before = torch.tensor([[1, 2], [3, 4]]), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        results = sgd_factorize(A, 1, 5)
        loss, given = reconstruction_loss(A, *results), load_coursework_matrix()[0]
        U, _ = sgd_factorize(A.float(), 1, 5)
    finally:
        torch.set_default_dtype(before)
    assert {X.dtype for X in (*results, loss)} == {torch.float64}
    assert given.dtype == U.dtype == torch.float32


@both_masked
def test_a_start_in_float64_is_taken_in_the_dtype_of_a(factorize):
    start = torch.rand(3, 2, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    results = factorize(A3, M3, 2, 5, 0.01, init=start)
    expected = factorize(A3, M3, 2, 5, 0.01, init=tuple(X.float() for X in start))
    assert all(torch.equal(X, Y) for X, Y in zip(results, expected, strict=True))


@both_masked
@pytest.mark.parametrize("small", [0, mf_core.SMALL])
def test_factors_are_contiguous(factorize, small, monkeypatch):
    monkeypatch.setattr(mf_core, "SMALL", small)
    seen = []
    seen += factorize(A3, M3, 2, 1, callback=lambda epoch, U, V: seen.extend((U, V)))
    assert len(seen) == 4 and all(X.is_contiguous() for X in seen)


def test_a_column_beyond_the_16_bit_integers_is_its_own():
    A = torch.zeros(2, 40_000)
    A[0, 1], A[0, 39_999], A[1, 32_768] = 1, 2, 3
    start = torch.rand(2, 2, generator=seeded()), torch.rand(40_000, 2, generator=seeded(1))
    M = A > 0
    expected = oracles.gd(A, M, *start, 1, 0.1)
    one_an_entry = oracles.sgd(A[:, [1, 32_768, 39_999]], M[:, [1, 32_768, 39_999]], start[0],
                               start[1][[1, 32_768, 39_999]], 1, 0.1)  # fmt: skip
    assert_equal(gd_factorize_masked(A, M, 2, 1, 0.1, init=start), expected, A.dtype)
    for X, mask in ((A, M), (A.to_sparse(), None)):
        U, V = sgd_factorize_masked(X, mask, 2, 1, 0.1, init=start)
        assert_equal((U, V[[1, 32_768, 39_999]]), one_an_entry, A.dtype)
        assert (V != start[1]).any(1).sum() == 3


@both_masked
@pytest.mark.parametrize("small", [0, mf_core.SMALL])
def test_a_v_that_overflows_alone_is_found(factorize, small, monkeypatch):
    monkeypatch.setattr(mf_core, "SMALL", small)
    start = torch.tensor([[1e5]]), torch.tensor([[0.0]])  # V becomes 1e36 * 1e5; U has met V = 0
    with pytest.raises(FloatingPointError, match="epoch 1 of 1"):
        factorize(torch.tensor([[1e36]]), torch.ones(1, 1), 1, 1, 1.0, init=start)


@pytest.mark.parametrize("factorize", [sgd_factorize_masked, gd_factorize_masked])
@examples(40)
@given(problems(), st.floats(0.1, 10))
def test_the_epoch_that_divergence_names_is_the_first_one(factorize, problem, lr):
    A, M, start, _, w = problem

    def run(num_epochs):
        return factorize(A, M, start[0].shape[1], num_epochs, lr, init=start, weight_decay=w)

    try:
        assert all(X.isfinite().all() for X in run(50))
    except FloatingPointError as error:
        epoch = int(str(error).split("in epoch ")[1].split()[0])
        assert all(X.isfinite().all() for X in run(epoch - 1))
        with pytest.raises(FloatingPointError, match=f"in epoch {epoch} of {epoch}:"):
            run(epoch)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own of the same
@both_dtypes
def test_a_result_beyond_the_dtypes_range_is_an_error(dtype):
    top = torch.finfo(dtype).max
    A, M = torch.tensor([[top, top], [top, -top]], dtype=dtype), torch.ones(2, 2)
    for call, words in [
        (lambda: reconstruction_loss(A, M, M), "a loss beyond"),
        (lambda: truncated_svd(A, 1), "singular values beyond"),
        (lambda: truncated_svd(A.abs(), 2), "singular values beyond"),  # infinite and 0
    ]:
        with pytest.raises(FloatingPointError, match=f"{words} {dtype}'s range"):
            call()


# --------------------------------------------------------------------------------- the same bits

PROGRAM = """
import hashlib
import torch
import mf_core

def show(name, *tensors):
    print(name, hashlib.sha256(b"".join(X.numpy().tobytes() for X in tensors)).hexdigest())

for shape in ((3, 3), (150, 301)):
    generator = torch.Generator().manual_seed(1)
    A = torch.rand(*shape, generator=generator)
    M = torch.rand(*shape, generator=generator) < 0.6
    for rank in (1, 5, 8):
        start = tuple(torch.rand(k, rank, generator=generator) for k in shape)
        options = dict(init=start, weight_decay=0.02)
        show("sgd", *mf_core.sgd_factorize_masked(A, M, rank, 9, 0.01, **options))
        show("sgd", *mf_core.sgd_factorize(A, rank, 9, 0.01, init=start))
        show("loss", mf_core.reconstruction_loss(A, *start, M))
        show("gd", *mf_core.gd_factorize_masked(A, M, rank, 9, 1e-4, **options))
"""


def bits(cache, **environment):
    """(name, digest) of every result that a new process computes."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [line.split() for line in run.stdout.splitlines()]


def test_bits_are_the_same_from_a_cold_and_a_warm_cache_and_of_sgd_on_the_simplest_processor(
    tmp_path,
):
    """For the last, numba compiles for the instructions that all processors of this kind have."""
    cold = bits(tmp_path / "cache")
    assert len(cold) == 24 and list(tmp_path.rglob("*.nbc"))
    assert bits(tmp_path / "cache") == cold
    simplest = bits(tmp_path / "generic", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    for here, there in zip(cold, simplest, strict=True):
        assert here == there or here[0] == "gd"


def test_sgd_has_the_bits_of_its_two_lines_in_float32_arithmetic():
    """NumPy's scalars round every product and sum, in the order of the pseudocode."""
    A, start = torch.rand(7, 5, generator=seeded(2)), (torch.rand(7, 3), torch.rand(5, 3))
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
    result = sgd_factorize_masked(A, torch.ones(7, 5), 3, 40, 0.03, weight_decay=0.1, init=start)
    assert all(np.array_equal(X, Y.numpy()) for X, Y in zip((U, V), result, strict=True))


def test_where_no_folder_can_be_written_every_process_compiles():
    nowhere = "from numba.core import caching; caching.CacheImpl._locator_classes = []"
    call = "import torch, mf_core; print(mf_core.sgd_factorize(torch.ones(2, 2), 1, 3)[0].shape)"
    command = [sys.executable, "-c", f"{nowhere}\n{call}"]
    assert "[2, 1]" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


# -------------------------------------------------------------------------------------- refusals

NAN = A3.clone()
NAN[0, 1] = float("nan")
GOOD = {"A": A3, "M": M3, "rank": 2}
TALL = A3[:, :2]  # a start of the right shape
BAD_CALLS = [
    ({"A": A3.numpy()}, TypeError, "A is a ndarray.*torch.as_tensor"),
    ({"A": A3[0]}, ValueError, r"A has shape \(3,\).*matrix"),
    ({"A": A3.half()}, TypeError, "float16.*float32"),
    ({"A": A3.to(torch.complex64)}, ValueError, "A is torch.complex64.*real numbers"),
    ({"A": torch.nested.nested_tensor([A3[0]] * 3)}, ValueError, "A is .*nested"),
    ({"A": A3.to("meta")}, ValueError, "A is .*meta.*cpu"),
    ({"A": A3.to_sparse_csr()}, ValueError, "A is .*sparse_csr.*A.to_dense"),
    ({"M": M3.to_sparse()}, ValueError, "M is .*sparse_coo.*M.to_dense"),
    ({"M": M3.to("meta")}, ValueError, "M is .*meta.*cpu"),
    ({"M": 1}, TypeError, "M is a int"),
    ({"M": M3[:2]}, ValueError, r"M has shape \(2, 3\).*\(3, 3\)"),
    ({"M": M3 * 2}, ValueError, "M has entries other than 0 and 1"),
    ({"M": M3 * float("nan")}, ValueError, "M has entries other than 0 and 1"),
    ({"M": M3 & False}, ValueError, "M observes no entry"),
    ({"A": A3[:0], "M": M3[:0]}, ValueError, "M observes no entry of A"),
    ({"A": NAN}, ValueError, r"A\[0, 1\] is nan"),
    ({"A": A3 / 0}, ValueError, r"A\[0, 0\] is inf"),
    ({"rank": 0}, ValueError, "rank is 0.*at least 1"),
    ({"rank": 2.0}, TypeError, "rank is 2.0.*integer"),
    ({"rank": True}, TypeError, "rank is True"),
    ({"rank": 10**12}, ValueError, "rank is 1000000000000.*memory"),
    ({"num_epochs": -1}, ValueError, "num_epochs is -1"),
    ({"lr": 0}, ValueError, "lr is 0.*above 0"),
    ({"lr": float("nan")}, ValueError, "lr is nan"),
    ({"lr": 1e-50}, ValueError, "lr is 1e-50 .*float32.*above 0"),
    ({"lr": 10**400}, ValueError, "lr is 1000.*finite"),
    ({"lr": "0.1"}, TypeError, "lr is '0.1'"),
    ({"lr": True}, TypeError, "lr is True"),
    ({"weight_decay": -1}, ValueError, "weight_decay is -1.*at least 0"),
    ({"weight_decay": 1e39}, ValueError, "weight_decay is 1e\\+39 .*finite"),
    ({"init": A3}, TypeError, "init is a Tensor.*pair"),
    ({"init": (A3, A3)}, ValueError, r"init\[0\] has shape \(3, 3\).*\(3, 2\)"),
    ({"init": (TALL, TALL[:2])}, ValueError, r"init\[1\] has shape \(2, 2\).*\(3, 2\)"),
    ({"init": (TALL, NAN[:, :2])}, ValueError, r"init\[1\] has NaN"),
    ({"init": (TALL.double() * 1e300, TALL)}, ValueError, r"init\[0\] has NaN or inf.*float32"),
    ({"init": (TALL, None)}, TypeError, r"init\[1\] is a NoneType"),
    ({"generator": 7}, TypeError, "generator is a int"),
    ({"callback": 7}, TypeError, "callback is 7"),
]


@both_masked
@pytest.mark.parametrize(("bad", "error", "words"), BAD_CALLS)
def test_a_bad_call_fails_at_once_and_names_the_argument(factorize, bad, error, words):
    with pytest.raises(error, match=words):
        factorize(**GOOD | bad)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: sgd_factorize(NAN, 2), r"A\[0, 1\] is nan"),
    (lambda: truncated_svd(A3, 4), "rank is 4.*3 at most"),
    (lambda: truncated_svd(A3, 0), "rank is 0"),
    (lambda: truncated_svd(NAN, 2), r"A\[0, 1\] is nan"),
    (lambda: truncated_svd(A3.to_sparse(), 1), "A is .*sparse_coo.*A.to_dense"),
    (lambda: gd_factorize_masked(A3.to_sparse(), None, 1), "A is .*sparse_coo.*A.to_dense"),
    (lambda: sgd_factorize_masked(A3.to_sparse(), M3, 1), "M is given with a sparse A.*M=None"),
    (lambda: reconstruction_loss(A3, A3[:, :2], A3[:, :1]), "V has shape"),
    (lambda: reconstruction_loss(A3, A3[:2, :2], A3[:, :2]), "U has shape"),
    (lambda: reconstruction_loss(A3, A3[0], A3), r"U has shape \(3,\)"),
    (lambda: reconstruction_loss(A3, A3[:, :0], A3[:, :0]), r"U has shape \(3, 0\)"),
    (lambda: reconstruction_loss(NAN, A3, A3), r"A\[0, 1\] is nan"),
])  # fmt: skip
def test_the_other_functions_name_the_argument_too(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(("index", "values", "words"), [
    ([[0, 0, 1], [1, 1, 0]], [1.0, 2.0, 3.0], "A stores an entry twice"),
    ([[0], [1]], [float("nan")], "A stores NaN or infinity"),
    ([[], []], [], "A stores no entry"),
    ([[1], [1]], [[1.0, 2.0]], "A has shape"),
    ([[1]], [[1.0, 2.0]], "has a dense dimension"),
    ([[2**40], [0]], [1.0], "A is a malformed"),
    ([[2], [0]], [1.0], "A is a malformed"),
    ([[0], [2]], [1.0], "A is a malformed"),
    ([[-1], [0]], [1.0], "A is a malformed"),
    ([[1, 0], [-1, 1]], [1.0, 2.0], "A is a malformed"),
])  # fmt: skip
@pytest.mark.parametrize("coalesced", [True, False])
def test_a_bad_sparse_tensor_is_refused(index, values, words, coalesced):
    index, values = torch.tensor(index, dtype=torch.int64), torch.tensor(values)
    shape = (2,) * len(index) + values.shape[1:]
    flags = {"check_invariants": False, "is_coalesced": coalesced}
    A = torch.sparse_coo_tensor(index, values, shape, **flags)
    with pytest.raises(ValueError, match=words):
        sgd_factorize(A, 1, 1)
    with pytest.raises(ValueError, match=words):
        reconstruction_loss(A, torch.ones(2, 1), torch.ones(2, 1))
