"""Matrix factorisation by gradient descent: A is approximated by U V^T.

A    (m, n)     the matrix to factorise
M    (m, n)     the mask: 1 where an entry of A is observed, 0 where it is missing
U    (m, rank)  the factors of the rows: U[i] belongs to row i of A
V    (n, rank)  the factors of the columns: V[j] belongs to column j of A; Vt is V transposed
E    (m, n)     the errors (A - U V^T) * M, a few rows at a time; `error` is one of them
lr              the learning rate: how far a step goes
epoch           one pass over all observed entries

The loops come first, on NumPy arrays; then the public functions, tensors in, tensors out, on the
CPU. "Section" is the coursework's. After a call, a forked process hangs in torch: spawn it.
"""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

import mf_arguments as checks

WORK_PER_CALL = 20_000_000  # entries x rank in a compiled call; between two, Ctrl-C is noticed
STAGGER = 8  # rows that advance together in SGD
BLOCKS = 4  # blocks of rows in GD: a fixed number, so that threads do not change the result
SMALL = 10_000  # cells; with fewer, GD visits the observed entries one by one,
SPARSE = 0.1  # and with a smaller share of them observed


def compiled(**options):
    """numba.njit, for threads in parallel, cached on disk if a folder is writable."""

    def decorate(loop):
        try:
            return numba.njit(cache=True, nogil=True, **options)(loop)
        except RuntimeError:  # numba found no such folder
            return numba.njit(nogil=True, **options)(loop)

    return decorate


strict = compiled()  # IEEE arithmetic in the order that is written: the same bits everywhere
# Sums in any order and fused with products, so that they become vector instructions.
fast = compiled(fastmath={"reassoc", "contract", "nsz"})


@strict
def sgd_epochs(rows, cols, values, U, V, lr, weight_decay, num_epochs):
    """Pass over the entries num_epochs times; return how many passes ended with finite factors."""
    for epoch in range(num_epochs):
        for p in range(len(values)):
            i = rows[p]
            j = cols[p]
            prediction = U.dtype.type(0)
            for k in range(U.shape[1]):
                prediction += U[i, k] * V[j, k]
            error = values[p] - prediction
            for k in range(U.shape[1]):
                U[i, k] += lr * error * V[j, k] - lr * weight_decay * U[i, k]
                V[j, k] += lr * error * U[i, k] - lr * weight_decay * V[j, k]
        if not (np.isfinite(U).all() and np.isfinite(V).all()):
            return epoch
    return num_epochs


def stagger(rows, cols, values):
    """Reorder entries that come row by row: the same bits in half the time.

    STAGGER rows advance together, each one column behind the row above. Every U[i] and every V[j]
    still sees its updates row by row and column by column. But nearly all neighbours in the new
    order share no row and no column, so the processor can overlap their updates.
    """
    group, row_in_group = np.divmod(rows.astype(np.int64), STAGGER)
    diagonals = int(cols.max(initial=0)) + STAGGER  # in a group
    order = np.argsort(group * diagonals + cols + row_in_group, kind="stable")
    return rows[order], cols[order], values[order]


@fast
def gd_rows(A, M, U, Vt, lr, decay_u, first, last):
    """For rows first to last: E = (A - U V^T) * M; U += lr E V; return U^T E, with the new U.

    U[i] also shrinks by lr decay_u[i] U[i]. Four rows at a time, so that what is read of V serves
    four rows: E and u are those four rows of E and U.
    """
    rank, n = Vt.shape
    E = np.zeros((4, n), A.dtype)
    e0, e1, e2, e3 = E
    u = np.zeros((4, rank), A.dtype)
    step_v = np.zeros_like(Vt)
    for i in range(first, last, 4):
        count = min(4, last - i)
        E[:count] = A[i : i + count]
        u[:count] = U[i : i + count]
        for k in range(rank):
            v = Vt[k]
            u0, u1, u2, u3 = u[:, k]
            for j in range(n):
                e0[j] -= u0 * v[j]
                e1[j] -= u1 * v[j]
                e2[j] -= u2 * v[j]
                e3[j] -= u3 * v[j]
        E[count:] = 0
        for r in range(count):
            for j in range(n):
                E[r, j] = E[r, j] if M[i + r, j] else 0
            for k in range(rank):
                u[r, k] -= lr * decay_u[i + r, 0] * u[r, k]
        for k in range(rank):
            v = Vt[k]
            step = step_v[k]
            sum0 = sum1 = sum2 = sum3 = A.dtype.type(0)
            for j in range(n):
                sum0 += e0[j] * v[j]
                sum1 += e1[j] * v[j]
                sum2 += e2[j] * v[j]
                sum3 += e3[j] * v[j]
            u[0, k] += lr * sum0
            u[1, k] += lr * sum1
            u[2, k] += lr * sum2
            u[3, k] += lr * sum3
            u0, u1, u2, u3 = u[:, k]
            for j in range(n):
                step[j] += u0 * e0[j] + u1 * e1[j] + u2 * e2[j] + u3 * e3[j]
        U[i : i + count] = u[:count]
    return step_v


@strict
def gd_entries(rows, cols, values, U, V, lr, decay_u, decay_v, num_epochs):
    """GD that visits observed entries only; return how many epochs ended with finite factors."""
    errors = np.empty_like(values)
    for epoch in range(num_epochs):
        step_u = np.zeros_like(U)
        for p in range(len(values)):
            i = rows[p]
            j = cols[p]
            error = values[p]
            for k in range(U.shape[1]):
                error -= U[i, k] * V[j, k]
            for k in range(U.shape[1]):
                step_u[i, k] += error * V[j, k]
            errors[p] = error
        U += lr * (step_u - decay_u * U)
        step_v = np.zeros_like(V)
        for p in range(len(values)):
            u = U[rows[p]]
            step = step_v[cols[p]]
            for k in range(len(u)):
                step[k] += errors[p] * u[k]
        V += lr * (step_v - decay_v * V)
        if not (np.isfinite(U).all() and np.isfinite(V).all()):
            return epoch
    return num_epochs


@strict
def squared_error(rows, cols, values, U, V):
    """The sum of the squared errors of these entries, in float64."""
    total = 0.0
    for p in range(len(values)):
        error = np.float64(values[p])
        for k in range(U.shape[1]):
            error -= np.float64(U[rows[p], k]) * np.float64(V[cols[p], k])
        total += error * error
    return total


def sgd_factorize(A, rank, num_epochs=1000, lr=0.01, *, init=None, generator=None, callback=None):
    """Factorise A by stochastic gradient descent over all its entries (section 1.1).

    In every epoch, row by row and column by column: error = A[i, j] - U[i] . V[j], then
    U[i] += lr error V[j], then V[j] += lr error U[i], with the U[i] just updated and the error
    from before. The arithmetic is strictly IEEE, in this one order: the same bits everywhere.

    A : tensor (m, n), float32 or float64; integers are converted to torch's default dtype.
        Of a sparse COO tensor only the stored entries count, stored zeros too.
    rank, num_epochs, lr : integers, at least 1 and 0; a number above 0
    init : (U0, V0), the factors to start from; they are left unchanged. Without it, both are
        drawn uniformly from [0, 1), U first, by `generator` or else torch's global one.
    callback : called as callback(epoch, U, V) after every epoch, counted from 1, with copies of
        the factors. A true return ends the run.

    Returns U (m, rank) and V (n, rank) in A's dtype. Raises TypeError or ValueError that names a
    bad argument, and FloatingPointError that names the epoch when factors stop being finite.
    """
    options = {"init": init, "generator": generator, "callback": callback}
    return sgd_factorize_masked(A, None, rank, num_epochs, lr, **options)


def sgd_factorize_masked(
    A,
    M,
    rank,
    num_epochs=1000,
    lr=0.01,
    *,
    weight_decay=0.0,
    init=None,
    generator=None,
    callback=None,
):
    """Factorise A by stochastic gradient descent over the entries where M is 1 (section 3.1).

    As `sgd_factorize`, but entries where M is 0 are skipped; nothing in them, not even NaN, has an
    effect. With weight_decay w, U[i] += lr (error V[j] - w U[i]), then
    V[j] += lr (error U[i] - w V[j]) (Funk 2006).

    M : tensor (m, n) of booleans, or of 0 and 1, with at least one 1. None observes all of A, or
        the stored entries of a sparse A.
    weight_decay : number, at least 0
    All else is as for `sgd_factorize`.
    """
    A = checks.check_matrix(A, sparse=True)
    rows, cols, values = stagger(*checks.observed_entries(A, M))
    num_epochs, lr, weight_decay = checks.check_settings(num_epochs, lr, weight_decay, callback, A)
    U, V = checks.initial_factors(A, rank, init, generator)

    def run(epochs):  # changes U and V in place
        return sgd_epochs(rows, cols, values, U.numpy(), V.numpy(), lr, weight_decay, epochs)

    return descend(run, len(values), U, V, num_epochs, lr, callback)


def gd_factorize_masked(
    A,
    M,
    rank,
    num_epochs=1000,
    lr=1e-5,
    *,
    weight_decay=0.0,
    init=None,
    generator=None,
    callback=None,
):
    """Factorise A by gradient descent with whole matrices, where M is 1 (section 4.1).

    In every epoch: E = (A - U V^T) * M; U += lr E V; then V += lr E^T U, with the U just updated
    and the E from before. With weight_decay w, U[i] also shrinks by lr w U[i] for each entry that
    is observed in row i, and V[j] by lr w V[j] for each in column j.

    A is dense. If it is small, or less than a tenth of it observed, only the observed entries are
    visited. If not, threads share the rows; their number does not change the result, but sums are
    not in a fixed order, so processors may differ in the last digits. All else, but for the
    default of lr, is as for `sgd_factorize_masked`.
    """
    A = checks.check_matrix(A)
    M = checks.check_mask(M, A)
    num_epochs, lr, weight_decay = checks.check_settings(num_epochs, lr, weight_decay, callback, A)
    U, V = checks.initial_factors(A, rank, init, generator)
    decay_u = weight_decay * M.sum(1, keepdim=True).to(A.dtype).numpy()
    decay_v = weight_decay * M.sum(0).to(A.dtype).numpy()
    if A.numel() < SMALL or M.sum() < SPARSE * A.numel():
        rows, cols, values = checks.observed_entries(A, M)
        arguments = (U.numpy(), V.numpy(), lr, decay_u, decay_v[:, None])  # U, V change in place

        def run(epochs):
            return gd_entries(rows, cols, values, *arguments, epochs)

        return descend(run, len(values), U, V, num_epochs, lr, callback)
    Vt = V.T.contiguous()
    edges = np.linspace(0, len(A), BLOCKS + 1).astype(np.int64)

    def run_block(first, last):
        return gd_rows(A.numpy(), M.numpy(), U.numpy(), Vt.numpy(), lr, decay_u, first, last)

    def run_in_blocks(_):  # one epoch
        steps_v = threads.map(run_block, edges[:-1], edges[1:])
        Vt.numpy()[:] += lr * (sum(steps_v) - decay_v * Vt.numpy())
        return int(bool(U.isfinite().all() and Vt.isfinite().all()))

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        return descend(run_in_blocks, WORK_PER_CALL, U, Vt.T, num_epochs, lr, callback)


def descend(run, num_entries, U, V, num_epochs, lr, callback):
    """Call run(epochs), which returns how many ended with finite factors, until all are done."""
    epochs_per_call = max(1, WORK_PER_CALL // (num_entries * U.shape[1]))
    done = 0
    while done < num_epochs:
        epochs = 1 if callback else min(epochs_per_call, num_epochs - done)
        completed = run(epochs)
        if completed < epochs:
            epoch = f"epoch {done + completed + 1} of {num_epochs}"
            advice = f"lr = {lr:g} is too large here; try a smaller one"
            raise FloatingPointError(f"the factors stopped being finite in {epoch}: {advice}")
        done += epochs
        if callback and callback(done, U.clone(), V.clone().contiguous()):
            break
    return U, V.contiguous()


def truncated_svd(A, rank):
    """The singular value decomposition of A, cut to this rank (section 2.1).

    Returns U (m, rank), S (rank,), descending, and Vh (rank, n). No matrix of this rank comes
    closer to A in the Frobenius norm than U @ diag(S) @ Vh (Eckart & Young 1936). Raises TypeError
    or ValueError for a bad argument, FloatingPointError where A's dtype does not hold the result.
    """
    A = checks.check_matrix(A)
    checks.check_mask(None, A)  # all entries are finite
    if checks.check_integer("rank", rank, at_least=1) > min(A.shape):
        raise ValueError(f"rank is {rank}; A of {tuple(A.shape)} has rank {min(A.shape)} at most")
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    if not (U.isfinite().all() and S.isfinite().all() and Vh.isfinite().all()):
        raise FloatingPointError(f"singular values beyond {A.dtype}'s range: pass smaller numbers")
    return U[:, :rank].clone(), S[:rank].clone(), Vh[:rank].clone()


def reconstruction_loss(A, U, V, M=None):
    """The sum of squared errors of U V^T where M is 1, or over all entries (sections 1.2 and 4.1).

    A is (m, n), U (m, rank), V (n, rank) and M (m, n), of booleans or of 0 and 1; of a sparse A the
    stored entries count. Returns a tensor without dimensions in A's dtype; errors and sum are taken
    in float64. Raises TypeError or ValueError that names a bad argument, and FloatingPointError
    where the loss is beyond the range of A's dtype.
    """
    A = checks.check_matrix(A, sparse=True)
    U, V = checks.check_factors(U, V, A)
    entries = checks.observed_entries(A, M)
    loss = torch.tensor(squared_error(*entries, U.numpy(), V.numpy()), dtype=A.dtype)
    if not loss.isfinite():
        raise FloatingPointError(f"a loss beyond {A.dtype}'s range: pass smaller numbers")
    return loss
