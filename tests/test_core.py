"""mf_core against the coursework's own PyTorch loops: equality, properties, bits, refusals."""

import _thread
import runpy
import threading
import time
from types import SimpleNamespace
from unittest.mock import Mock, patch

import numba
import numpy as np
import oracles
import pandas as pd
import pytest
import torch
from conftest import examples, seeded
from hypothesis import given
from hypothesis import strategies as st
from numba.core import caching

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
NAN = float("nan")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def gd_in_blocks(*arguments, **options):
    """gd_factorize_masked, which here takes a small matrix as a large one: blocks of a few rows."""
    with patch.multiple(mf_core, FEW_CELLS=0, SMALL_SHARE=0, GD_BLOCK=20):
        return gd_factorize_masked(*arguments, **options)


ORACLES = dict.fromkeys([gd_factorize_masked, gd_in_blocks], oracles.gd)
ORACLES[sgd_factorize_masked] = oracles.sgd
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
each_function = pytest.mark.parametrize("factorize", [sgd_factorize_masked, gd_factorize_masked])
each_way = pytest.mark.parametrize("factorize", ORACLES)


def assert_close(result, oracle, dtype):
    """To 1e-5 or 1e-12 of the largest entry: what the project promises."""
    for X, Y in zip(result, oracle, strict=True):
        assert X.dtype == dtype
        atol = TOLERANCE[dtype] * max(1, Y.abs().max().item())
        torch.testing.assert_close(X, Y, rtol=0, atol=atol)


def assert_same(result, expected):
    assert all(torch.equal(X, Y) for X, Y in zip(result, expected, strict=True))


def random_start(shape, rank, dtype=torch.float32):
    generator = seeded(1)
    return tuple(torch.rand(size, rank, generator=generator, dtype=dtype) for size in shape)


@st.composite
def problems(draw):
    """A random A, M with at least one entry, and other arguments."""
    m, n, rank = (draw(st.integers(1, top)) for top in (9, 9, 6))
    generator = seeded(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    A = 4 * torch.rand(m, n, generator=generator, dtype=dtype) - 1
    M = torch.rand(m, n, generator=generator) < draw(st.floats(0.1, 1))
    M[draw(st.integers(0, m - 1)), draw(st.integers(0, n - 1))] = True
    start = tuple(torch.rand(size, rank, generator=generator, dtype=dtype) for size in (m, n))
    lr = draw(st.sampled_from([0.001, 0.01, 0.03]))
    decay = draw(st.sampled_from([0.0, 0.1]))
    return A, M, {"rank": rank, "lr": lr, "weight_decay": decay, "init": start}


@both_dtypes
@pytest.mark.parametrize(("factorize", "lr"), [
    (sgd_factorize_masked, 0.01), (gd_factorize_masked, 1e-5),
])  # fmt: skip
def test_the_defaults_follow_the_courseworks_loop_from_the_same_seed(factorize, lr, dtype):
    A = A3.to(dtype)
    torch.manual_seed(3)
    start = torch.rand(3, 2, dtype=dtype), torch.rand(3, 2, dtype=dtype)
    torch.manual_seed(3)
    expected = ORACLES[factorize](A, M3, *start, 1000, lr)
    assert_close(factorize(A, M3, 2), expected, dtype)


@each_way
@examples(60)
@given(problems(), st.integers(0, 20))
def test_it_equals_the_courseworks_loop(factorize, problem, num_epochs):
    A, M, settings = problem
    result = factorize(A, M, num_epochs=num_epochs, **settings)
    _, lr, decay, start = settings.values()
    assert_close(result, ORACLES[factorize](A, M, *start, num_epochs, lr, decay), A.dtype)


@both_dtypes
def test_sgd_has_the_bits_of_its_two_lines_in_ieee_arithmetic(dtype):
    """NumPy's scalars round every product and sum, in the order of the pseudocode."""
    A, start = torch.rand(20, 5, generator=seeded(2), dtype=dtype), random_start((20, 5), 9, dtype)
    U, V = (X.numpy().copy() for X in start)
    lr, w = U.dtype.type(0.03), U.dtype.type(0.1)
    for _ in range(40):
        for i in range(20):
            for j in range(5):
                dot = U.dtype.type(0)
                for k in range(9):
                    dot += U[i, k] * V[j, k]
                e = A.numpy()[i, j] - dot
                for k in range(9):
                    U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]
                    V[j, k] += lr * e * U[i, k] - lr * w * V[j, k]
    result = sgd_factorize_masked(A, torch.ones(20, 5), 9, 40, 0.03, weight_decay=0.1, init=start)
    assert_same(result, map(torch.from_numpy, (U, V)))


@examples(30)
@given(problems())
def test_unmasked_sgd_has_the_defaults_and_the_result_of_a_mask_of_ones(problem):
    A, _, settings = problem
    rank, start = settings["rank"], settings["init"]
    masked = sgd_factorize_masked(A, torch.ones_like(A), rank, 1000, 0.01, init=start)
    assert_same(sgd_factorize(A, rank, init=start), masked)


@each_way
@examples(30)
@given(problems(), st.sampled_from([99.0, NAN, float("inf"), -1e30]))
def test_what_stands_in_an_unobserved_entry_changes_nothing(factorize, problem, junk):
    A, M, settings = problem
    hidden = torch.where(M, A, junk)
    factors = factorize(A, M, num_epochs=5, **settings)
    assert_same(factorize(hidden, M, num_epochs=5, **settings), factors)
    assert reconstruction_loss(hidden, *factors, M) == reconstruction_loss(A, *factors, M)


@each_way
@examples(30)
@given(problems())
def test_what_lies_in_memory_beside_an_argument_is_not_read(factorize, problem):
    """The loops check no bounds: every argument lies between NaN, which would show."""

    def fenced(X):
        fence = torch.full((X.numel() + 64,), NAN, dtype=X.dtype)
        fence[32:-32] = X.flatten()
        return fence[32:-32].view(X.shape)

    A, M, settings = problem
    A = fenced(A)
    start = tuple(map(fenced, settings["init"]))
    U, V = factorize(A, M, num_epochs=2, **settings | {"init": start})
    loss = reconstruction_loss(A, fenced(U), fenced(V), M)
    torch.testing.assert_close(loss, ((A - U @ V.T)[M] ** 2).sum(), rtol=1e-4, atol=1e-4)


@examples(30)
@given(problems())
def test_no_loss_is_below_the_eckart_young_floor_and_truncated_svd_reaches_it(problem):
    A = problem[0].double()
    rank = min(*A.shape, problem[2]["rank"])
    floor = (torch.linalg.svdvals(A)[rank:] ** 2).sum()
    U, V = sgd_factorize(A, rank, 200, generator=seeded())
    assert reconstruction_loss(A, U, V) >= floor - 1e-12
    U, S, Vh = truncated_svd(A, rank)
    assert U.shape == (A.shape[0], rank) and S.shape == (rank,) and Vh.shape == (rank, A.shape[1])
    torch.testing.assert_close(reconstruction_loss(A, U * S, Vh.T), floor, rtol=1e-9, atol=1e-12)


@each_way
@both_dtypes
def test_init_in_either_dtype_is_left_unchanged_and_not_returned(factorize, dtype):
    start = random_start(A3.shape, 2, dtype)
    floats = [X.float() for X in start]
    expected = factorize(A3, M3, 2, 10, init=floats)
    assert_same(factorize(A3, M3, 2, 10, init=start), expected)
    assert_same(start, random_start(A3.shape, 2, dtype))
    factors = factorize(A3, M3, 2, 0, init=start)
    assert_same(factors, floats)
    assert not {X.data_ptr() for X in factors} & {X.data_ptr() for X in start}


def test_torchs_defaults_change_nothing_and_gradients_end():
    A = torch.tensor([[1, 2], [3, 4]])
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device("meta"):
            for factorize in (sgd_factorize_masked, gd_factorize_masked):
                U, V = factorize(A, None, 1, 5, torch.tensor(0.01, device="cpu"))
                loss, given = reconstruction_loss(A, U, V), load_coursework_matrix()[0]
    finally:
        torch.set_default_dtype(torch.float32)
    assert {(X.dtype, X.device.type) for X in (U, V, loss)} == {(torch.float32, "cpu")}
    assert given.dtype == torch.float32
    assert not sgd_factorize(A.float().requires_grad_(), 1, 5)[0].requires_grad


@examples(40)
@given(problems())
def test_sparse_input_gives_the_result_of_the_mask(problem):
    A, M, settings = problem
    index = torch.nonzero(M).T
    A[tuple(index[:, 0])] = 0  # a stored zero is an observed one
    coalesced = torch.sparse_coo_tensor(index, A[M], A.shape).coalesce()
    order = torch.randperm(index.shape[1], generator=seeded(9))
    shuffled = torch.sparse_coo_tensor(index[:, order], A[M][order], A.shape)
    factors = sgd_factorize_masked(A, M, num_epochs=5, **settings)
    for sparse in (coalesced, shuffled):
        assert_same(sgd_factorize_masked(sparse, None, num_epochs=5, **settings), factors)
        assert reconstruction_loss(sparse, *factors) == reconstruction_loss(A, *factors, M)


@each_way
def test_callback_sees_every_epoch_and_a_true_return_ends_the_run(factorize):
    seen = []
    options = {"generator": seeded(), "callback": lambda *x: seen.append(x) or x[0] == 7}
    factors = factorize(A3, M3, 2, 50, 0.01, **options)
    expected = factorize(A3, M3, 2, 7, 0.01, generator=seeded())
    assert [epoch for epoch, _, _ in seen] == list(range(1, 8))
    assert_same(factors, expected)
    assert_same(seen[-1][1:], expected)
    assert not torch.equal(seen[0][1], seen[-1][1])  # copies: an early one is not overwritten
    assert all(X.is_contiguous() for X in (*factors, *seen[-1][1:]))


@each_function
def test_a_long_run_can_be_interrupted_within_a_second(factorize, interruptible):
    A = torch.rand(400, 5000)
    M = torch.ones_like(A, dtype=torch.bool)
    factorize(A, M, 20, 1, 1e-7)  # compiled, and so not timed below
    threading.Timer(0.2, _thread.interrupt_main).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        factorize(A, M, 20, 100_000, 1e-7)
    assert time.monotonic() - start < 5  # asked for within one second; a loaded machine gets more


@each_way
@examples(40)
@given(problems(), st.floats(0.1, 10))
def test_the_epoch_that_divergence_names_is_the_first_one(factorize, problem, lr):
    A, M, settings = problem
    settings["lr"] = lr

    def run(num_epochs, callback=None):
        return factorize(A, M, num_epochs=num_epochs, callback=callback, **settings)

    try:
        assert all(X.isfinite().all() for X in run(50, lambda *_: None))
    except FloatingPointError as error:
        epoch = int(str(error).split("in epoch ")[1].split()[0])
        assert all(X.isfinite().all() for X in run(epoch - 1))
        for num_epochs in (epoch, 50):
            with pytest.raises(FloatingPointError, match=f"in epoch {epoch} of {num_epochs}:"):
                run(num_epochs)


@each_way
def test_a_v_that_overflows_alone_is_found(factorize):
    start = torch.tensor([[1e5]]), torch.tensor([[0.0]])  # V becomes 1e36 * 1e5; U has met V = 0
    with pytest.raises(FloatingPointError, match="epoch 1 of 1: lr = 1 is too large"):
        factorize(torch.tensor([[1e36]]), torch.ones(1, 1), 1, 1, 1.0, init=start)


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


@pytest.mark.parametrize(("owner", "name", "broken"), [
    (caching.CacheImpl, "_locator_classes", []),  # no folder can be written
    (caching.IndexDataCacheFile, "save", Mock(side_effect=OSError(28, "the disk is full"))),
    (caching.IndexDataCacheFile, "load", Mock(side_effect=PermissionError(13, "not yours"))),
])  # fmt: skip
def test_a_cache_that_fails_is_renewed(owner, name, broken, tmp_path, monkeypatch):
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    program = tmp_path / "double.py"
    program.write_text("from mf_loops import compiled\n@compiled\ndef double(x): return 2 * x")

    def cache_hits():
        double = runpy.run_path(str(program))["double"]
        assert double(3) == 6
        return sum(double.stats.cache_hits.values())

    assert [cache_hits(), cache_hits()] == [0, 1]
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[:50])
    with patch.object(owner, name, broken):
        assert cache_hits() == 0
    cache_hits()
    assert cache_hits() == 1


GAPS = np.where(M3, A3, NAN)


@pytest.mark.parametrize("A", [
    A3.tolist(), A3.numpy(), pd.DataFrame(GAPS), np.ma.masked_invalid(GAPS),
    SimpleNamespace(toarray=lambda: np.nan_to_num(GAPS)),  # as SciPy's sparse matrices have it
    A3.to(torch.complex64), torch.tensor(GAPS).nan_to_num().to_sparse_csr(),
    torch.nested.nested_tensor([*A3]),
], ids=["list", "array", "table", "masked", "sparse", "complex", "CSR", "nested"])  # fmt: skip
def test_the_remedy_for_what_is_no_tensor_works_and_keeps_its_gaps(A):
    with pytest.raises((TypeError, ValueError), match=": pass ") as error:
        sgd_factorize(A, 2)
    given = eval(f"dict(A={str(error.value).split(': pass ')[1]})".replace(", and ", ", "))
    options = {"rank": 2, "num_epochs": 3, "init": (A3[:, :2], A3[:, :2])}
    factors = sgd_factorize_masked(**{"M": None} | given, **options)
    is_csr = isinstance(A, torch.Tensor) and A.layout == torch.sparse_csr
    has_gaps = is_csr or isinstance(A, (pd.DataFrame, np.ma.MaskedArray, SimpleNamespace))
    expected = sgd_factorize_masked(A3, M3 if has_gaps else None, **options)
    torch.testing.assert_close(tuple(X.float() for X in factors), expected)


BAD = A3.clone()
BAD[0, 1] = NAN
GOOD = {"A": A3, "M": M3, "rank": 2}
TALL = A3[:, :2]  # a start of the right shape
BAD_CALLS = [
    ({"A": A3[0]}, ValueError, r"A has shape \(3,\).*matrix"),
    ({"A": A3.half()}, TypeError, "float16.*float32"),
    ({"M": M3[:2]}, ValueError, r"M has shape \(2, 3\).*\(3, 3\)"),
    ({"M": M3 * 2}, ValueError, "M has entries other than 0 and 1"),
    ({"A": A3[:0], "M": M3[:0]}, ValueError, "M observes no entry of A"),
    ({"A": BAD}, ValueError, r"A\[0, 1\] is nan"),
    ({"A": A3 / M3, "M": None}, ValueError, r"A\[1, 0\] is inf"),
    ({"rank": 0}, ValueError, "rank is 0.*at least 1"),
    ({"rank": 2.0}, TypeError, "rank is 2.0.*integer"),
    ({"rank": 10**12}, ValueError, "rank is 1000000000000.*memory"),
    ({"num_epochs": -1}, ValueError, "num_epochs is -1"),
    ({"lr": 0}, ValueError, "lr is 0.*above 0"),
    ({"lr": 1e-50}, ValueError, "lr is 1e-50 .*float32.*above 0"),
    ({"lr": 10**400}, ValueError, "lr is 1000.*finite"),
    ({"lr": "0.1"}, TypeError, "lr is '0.1'"),
    ({"weight_decay": -1}, ValueError, "weight_decay is -1.*at least 0"),
    ({"weight_decay": 1e39}, ValueError, "weight_decay is 1e\\+39 .*finite"),
    ({"init": A3}, TypeError, "init is a Tensor.*pair"),
    ({"init": (A3, A3)}, ValueError, r"init\[0\] has shape \(3, 3\).*\(3, 2\)"),
    ({"init": (TALL, TALL[:2])}, ValueError, r"init\[1\] has shape \(2, 2\).*\(3, 2\)"),
    ({"init": (TALL.double() * 1e300, TALL)}, ValueError, r"init\[0\] has NaN or inf.*float32"),
    ({"generator": 7}, TypeError, "generator is a int"),
    ({"callback": 7}, TypeError, "callback is 7"),
]


@each_function
@pytest.mark.parametrize(("bad", "error", "words"), BAD_CALLS)
def test_a_bad_call_fails_at_once_and_names_the_argument(factorize, bad, error, words):
    with pytest.raises(error, match=words):
        factorize(**GOOD | bad)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: truncated_svd(A3, 4), "rank is 4.*3 at most"),
    (lambda: truncated_svd(BAD, 2), r"A\[0, 1\] is nan"),
    (lambda: truncated_svd(A3.to_sparse(), 1), "A is .*sparse_coo.*A.to_dense"),
    (lambda: gd_factorize_masked(A3.to_sparse(), None, 1), "A is .*sparse_coo.*A.to_dense"),
    (lambda: sgd_factorize_masked(A3.to_sparse(), M3, 1), "M is given with a sparse A.*M=None"),
    (lambda: reconstruction_loss(A3, A3[:, :2], A3[:, :1]), "V has shape"),
    (lambda: reconstruction_loss(A3, A3[0], A3), r"U has shape \(3,\)"),
    (lambda: reconstruction_loss(A3, A3[:, :0], A3[:, :0]), r"U has shape \(3, 0\)"),
])  # fmt: skip
def test_the_other_functions_name_the_argument_too(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(("index", "values", "words"), [
    ([[0, 0, 1], [1, 1, 0]], [1.0, 2.0, 3.0], "A stores an entry twice"),
    ([[0], [1]], [NAN], "A stores NaN or infinity"),
    ([[], []], [], "A stores no entry"),
    ([[1], [1]], [[1.0, 2.0]], "A has shape"),
    ([[1]], [[1.0, 2.0]], "has a dense dimension"),
    ([[2**40], [0]], [1.0], "A is a malformed"),
    ([[0], [2]], [1.0], "A is a malformed"),
    ([[-1, 1], [0, 1]], [1.0, 2.0], "A is a malformed"),
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
