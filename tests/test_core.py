"""mf_core against the coursework's own PyTorch loops, and the properties that every factorisation must have."""

import _thread
import threading
import time

import oracles
import pytest
import torch
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import mf_core
from mf_core import (
    damped_means,
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


# ------------------------------------------------------------------------------------------------------ the same results


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


def test_large_sgd_in_slices_equals_the_loop(monkeypatch):
    monkeypatch.setattr("mf_core.WORK_PER_CALL", 100)
    A = torch.rand(31, 17, generator=seeded(), dtype=torch.float64)
    M = torch.rand(31, 17, generator=seeded(1)) < 0.4
    start = tuple(torch.rand(size, 3, generator=seeded(2), dtype=torch.float64) for size in A.shape)
    assert_equal(
        sgd_factorize_masked(A, M, 3, 3, init=start),
        oracles.sgd(A, M, *start, 3, 0.01),
        torch.float64,
    )


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


def runs(M, S):
    """The run of each row: cut where at least 1/S, 2/S ... of the entries are in the rows above."""
    above, total = torch.cat([M.new_zeros(1), M.sum(1)]).cumsum(0)[:-1], int(M.sum())
    edges = [
        next((i for i in range(1, len(M)) if above[i] >= k * total // S), len(M))
        for k in range(1, S)
    ]
    return torch.tensor([sum(i >= edge for edge in edges) for i in range(len(M))])


@examples(60)
@given(problems(), st.integers(1, 9), st.integers(0, 4))
def test_strata_are_blocks_on_the_diagonals_one_after_the_other(problem, S, num_epochs):
    A, M, start, lr, w = problem
    S = min(S, *A.shape)
    result = sgd_factorize_masked(
        A, M, start[0].shape[1], num_epochs, lr, weight_decay=w, init=start, strata=S
    )
    row, col = runs(M, S), runs(M.T, S)
    factors = start
    for _ in range(num_epochs):
        for s in range(S):
            for a in range(S):
                block = M & (row == a)[:, None] & (col == (a + s) % S)
                factors = oracles.sgd(A, block, *factors, 1, lr, w)
    assert_equal(result, factors, A.dtype)


@examples(20)
@given(problems())
def test_one_stratum_is_the_order_row_by_row(problem):
    A, M, start, lr, w = problem
    results = [
        sgd_factorize_masked(
            A, M, start[0].shape[1], 3, lr, weight_decay=w, init=start, strata=strata
        )
        for strata in (None, 1)
    ]
    assert all(torch.equal(X, Y) for X, Y in zip(*results, strict=True))


def test_strata_give_the_same_bits_for_any_number_of_threads_also_in_slices(monkeypatch):
    A = torch.where(torch.rand(301, 2001, generator=seeded()) < 0.1, 1.0, 0.0).to_sparse()
    before, results = torch.get_num_threads(), []
    try:
        for threads, work in ((1, 10**9), (2, 10**9), (3, 10**9), (7, 10**9), (2, 1000)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(mf_core, "WORK_PER_CALL", work)
            options = {"generator": seeded(2), "strata": 8}
            results.append(sgd_factorize_masked(A, None, 5, 4, 0.01, **options))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(U, results[0][0]) and torch.equal(V, results[0][1]) for U, V in results)


@pytest.mark.parametrize("strata, kind, message", [
    (0, ValueError, "strata is 0; it needs to be at least 1"),
    (3, ValueError, r"strata is 3; .*allows 2 at most"),
    (2.0, TypeError, "strata is 2.0; it needs to be an integer"),
])  # fmt: skip
def test_bad_strata_are_refused(strata, kind, message):
    with pytest.raises(kind, match=message):
        sgd_factorize_masked(A3[:2], M3[:2], 2, strata=strata)


# ------------------------------------------------------------------------------------------------------------ properties


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
    """The compiled loops check no bounds: so every argument lies between NaN, which would show in the result."""

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
def test_unobserved_entries_change_no_loss_and_no_mean(problem, junk):
    A, M, (U, V), _, _ = problem
    hidden = torch.where(M, A, junk)
    assert torch.equal(reconstruction_loss(hidden, U, V, M), reconstruction_loss(A, U, V, M))
    for x, y in zip(damped_means(hidden, M, 2.0), damped_means(A, M, 2.0), strict=True):
        assert torch.equal(x, y)


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


def test_truncated_svd_of_the_coursework_leaves_the_square_of_the_last_singular_value():
    U, S, Vh = truncated_svd(A3, 2)
    assert (
        round(torch.nn.functional.mse_loss(U @ torch.diag(S) @ Vh, A3, reduction="sum").item(), 4)
        == 0.1219
    )


@examples(30)
@given(problems())
def test_transposing_a_swaps_the_roles_in_the_loss_and_in_one_gd_step_of_u(problem):
    A, M, (U, V), lr, _ = problem
    torch.testing.assert_close(reconstruction_loss(A, U, V, M), reconstruction_loss(A.T, V, U, M.T))
    # V's first step from A^T is U's first step from A.
    step, _ = gd_factorize_masked(A.T, M.T, U.shape[1], 1, lr, init=(V, U))
    expected = V + lr * torch.where(M, A - U @ V.T, 0).T @ U
    torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-5)


def test_transposing_a_and_the_order_of_passing_swaps_u_and_v_when_one_column_is_left():
    # With one column, row-by-row order is the only order: A^T has one row and is passed in the same order.
    A = A3[:, :1].double()
    U0, V0 = (
        torch.rand(3, 2, generator=seeded(), dtype=torch.float64),
        torch.rand(1, 2, dtype=torch.float64),
    )
    U, V = sgd_factorize(A, 2, 2000, init=(U0, V0))
    V2, U2 = sgd_factorize(A.T, 2, 2000, init=(V0, U0))
    torch.testing.assert_close(U @ V.T, (V2 @ U2.T).T)


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


def close(result, expected):
    return all(
        torch.allclose(x.double(), y.double(), rtol=0, atol=1e-5)
        for x, y in zip(result, expected, strict=True)
    )


@examples(60)
@given(problems(), st.sampled_from([0.5, 3, 100]))
def test_damped_means_are_the_joint_damped_least_squares_fit_whichever_way_the_table_lies(
    problem, damping
):
    A, M, _, _, _ = problem
    mu, row, col = damped_means(A, M, damping)
    assert close((mu, row, col), oracles.damped_means(A, M, damping))
    mu_t, col_t, row_t = damped_means(A.T, M.T, damping)
    assert close((mu_t, row_t, col_t), (mu, row, col))


def test_damped_means_without_damping_fit_a_connected_table_and_share_levels_out_evenly():
    row, col = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-0.5, 0.5])
    A = 3 + row[:, None] + col
    M = torch.tensor([[1, 1], [1, 0], [0, 1]])
    assert close(damped_means(A, M, 0), (torch.tensor(3.0), row, col))
    mu, row, col = damped_means(A, M * torch.tensor([[1], [1], [0]]), 0)
    assert row[2] == 0 and close(
        (mu, row[:2], col), (torch.tensor(2.5), row.new_tensor([-0.5, 0.5]), col)
    )


def test_damped_means_by_hand():
    """One row of ratings 1 and 5, damping 1: mu is 3, and half of what each column is off goes into its level."""
    mu, row, col = damped_means(torch.tensor([[1.0, 5.0]]), torch.ones(1, 2), 1)
    assert close((mu, row, col), (torch.tensor(3.0), torch.zeros(1), torch.tensor([-1.0, 1.0])))


def test_integers_are_converted_and_gradients_left_alone():
    A = torch.tensor([[1, 2], [3, 4]])
    assert all(torch.equal(X, Y) for X, Y in zip(
        sgd_factorize(A, 1, 5, generator=seeded()), sgd_factorize(A.float(), 1, 5, generator=seeded()), strict=True
    ))  # fmt: skip
    U, _ = sgd_factorize(A.float().requires_grad_(), 1, 5)
    assert U.dtype == torch.float32 and not U.requires_grad


def test_a_view_and_its_copy_give_the_same():
    A = torch.rand(6, 8, generator=seeded())
    for view in (A.T, A[::2, 1::3]):
        assert torch.equal(
            sgd_factorize(view, 2, 5, generator=seeded())[0],
            sgd_factorize(view.clone(), 2, 5, generator=seeded())[0],
        )


# --------------------------------------------------------------------------------------------------------- sparse input


def sparse_forms(A, M):
    """A's observed entries as sparse tensors: COO coalesced, COO in random order, CSR."""
    index = torch.nonzero(M).T
    coo = torch.sparse_coo_tensor(index, A[M], A.shape).coalesce()
    order = torch.randperm(index.shape[1], generator=seeded(9))
    shuffled = torch.sparse_coo_tensor(index[:, order], A[M][order], A.shape)
    return coo, shuffled, coo.to_sparse_csr()


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
        for x, y in zip(damped_means(sparse, None, 3), damped_means(A, M, 3), strict=True):
            assert torch.equal(x, y)


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


# ------------------------------------------------------------------------------------------- callbacks and interruptions


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


def test_callbacks_exception_passes_through():
    def callback(epoch, U, V):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        sgd_factorize(A3, 2, callback=callback)


def test_divergence_in_strata_names_the_epoch():
    with pytest.raises(FloatingPointError, match="epoch 1 of 100"):
        sgd_factorize_masked(1e30 * A3, M3, 2, 100, 0.9, strata=3)


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


@both_masked
def test_the_rate_that_a_divergence_advises_is_a_tenth(factorize):
    with pytest.raises(FloatingPointError, match=r"lr = 9.6 is too large here; .* one, 1 or less$"):
        factorize(1e9 * A3, M3, 2, 50, 9.6)


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


def test_divergence_of_a_large_gd_is_found_too():
    A = torch.rand(200, 2000)
    with pytest.raises(FloatingPointError, match="epoch"):
        gd_factorize_masked(A, torch.ones_like(A), 5, 100, 0.1)


# ------------------------------------------------------------------------------------------------ dtypes, sizes and ranges


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


def test_loss_of_integers_is_that_of_the_same_numbers():
    A, U, V = torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 1), torch.tensor([[1.0], [2.0]])
    assert reconstruction_loss(A, U, V) == 8
    with pytest.raises(TypeError, match="A is a ndarray"):
        reconstruction_loss(A.numpy(), U, V)


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
        (lambda: damped_means(torch.full((1, 1), top, dtype=dtype), M[:1, :1], 0), None),
        (lambda: damped_means(A, M, 0), "means beyond" if dtype == torch.float64 else None),
    ]:
        if words:
            with pytest.raises(FloatingPointError, match=f"{words} {dtype}'s range"):
                call()
        else:
            assert all(X.isfinite().all() for X in call())


def test_a_view_that_only_notes_a_change_of_sign_is_taken():
    """NumPy refuses it; only with one entry is it contiguous, so that nothing else writes it out."""
    A = torch.tensor([[2j]]).conj().imag
    assert A.is_neg() and damped_means(A, torch.ones(1, 1), 0)[0] == -2
