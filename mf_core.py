"""Matrix factorisation by gradient descent: A is approximated by U V^T.

A    (m, n)     the matrix to factorise
M    (m, n)     the mask: 1 where an entry of A is observed, 0 where it is missing
U    (m, rank)  the factors of the rows: U[i] belongs to row i of A
V    (n, rank)  the factors of the columns: V[j] belongs to column j of A; Vt is V transposed
E    (m, n)     the errors (A - U V^T) * M, a block of rows at a time; `error` is one entry
lr              the learning rate: how far a step goes
epoch           one pass over all observed entries

`sgd_epochs` and `gd_epoch` are the algorithms. The public functions check what they are given, and
compute: tensors in, tensors out, on the CPU. "Section" is the coursework's, whose own sheet
writes `factorise`: both names are here. After a call, a forked process hangs in torch: spawn it.
"""

import numpy as np
import torch

import mf_arguments as arguments
from mf_loops import compiled, epochs_at_once, gd_entries, run_in_slices, squared_error, stagger

GD_BLOCK = 1_000_000  # cells of A whose errors are in the processor's cache together
FEW_CELLS = 10_000  # in a smaller table, gradient descent visits the observed entries one by one
SMALL_SHARE = 0.1  # and also where a smaller share of the cells is observed


@compiled
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


def gd_epoch(A, M, U, Vt, lr, decay_u, decay_v):
    """An epoch of gradient descent; U and Vt change. M has A's dtype, and A is 0 where M is 0."""
    step_v = torch.zeros_like(Vt)
    height = max(1, GD_BLOCK // A.shape[1])  # rows of a block
    buffer = torch.empty_like(A[:height])  # reused for every E: new memory takes time
    for first in range(0, len(A), height):
        block = slice(first, first + height)
        E = buffer[: len(A[block])]
        torch.mm(U[block], Vt, out=E)
        torch.addcmul(A[block], E, M[block], value=-1, out=E)  # A is 0 where M is 0
        U[block] += lr * (E @ Vt.T - decay_u[block] * U[block])
        step_v.addmm_(U[block].T, E)  # with the new U
    Vt += lr * (step_v - decay_v * Vt)


def sgd_factorize(A, rank, num_epochs=1000, lr=0.01, *, init=None, generator=None, callback=None):
    """Factorise A by stochastic gradient descent over all its entries (section 1.1).

    In every epoch, row by row, each from left to right: error = A[i, j] - U[i] . V[j], then
    U[i] += lr error V[j], then V[j] += lr error U[i], with the U[i] just updated and the error
    from before. The arithmetic is strictly IEEE, as if in this order: the same bits everywhere.

    A : tensor (m, n), float32 or float64; integers become float32. A sparse COO one: all it stores.
    rank, num_epochs, lr : integers, at least 1 and 0; a number above 0
    init : (U0, V0), the factors to start from; they are left unchanged. Without it, both are
        drawn uniformly from [0, 1), U first, by `generator` or else torch's global one.
    callback : called as callback(epoch, U, V) after every epoch, counted from 1, with copies of
        the factors. A true return ends the run.

    Returns U (m, rank) and V (n, rank) in A's dtype. Raises TypeError or ValueError that names a
    bad argument, and FloatingPointError that names the epoch when factors stop being finite.
    """
    return sgd_factorize_masked(
        A, None, rank, num_epochs, lr, init=init, generator=generator, callback=callback
    )


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
    A = arguments.check_matrix(A, sparse=True)
    entries = stagger(*arguments.observed_entries(A, M))
    settings = arguments.check_settings(num_epochs, lr, weight_decay, callback, A)
    num_epochs, lr, weight_decay = settings
    U, V = arguments.initial_factors(A, rank, init, generator)

    def run(epochs):
        return sgd_epochs(*entries, U.numpy(), V.numpy(), lr, weight_decay, epochs)

    return run_in_slices(run, epochs_at_once(entries, U), U, V, num_epochs, lr, callback)


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
    visited. If not, PyTorch multiplies blocks of rows: then results may differ by 1e-5 between
    processors and numbers of threads. All else, but lr's default, is as in `sgd_factorize_masked`.
    """
    A = arguments.check_matrix(A)
    M = arguments.check_mask(M, A)
    settings = arguments.check_settings(num_epochs, lr, weight_decay, callback, A)
    num_epochs, lr, weight_decay = settings
    U, V = arguments.initial_factors(A, rank, init, generator)
    decay_u = M.sum(1, keepdim=True, dtype=A.dtype) * weight_decay
    decay_v = M.sum(0, dtype=A.dtype) * weight_decay
    if A.numel() < FEW_CELLS or M.sum() < SMALL_SHARE * A.numel():
        entries = arguments.observed_entries(A, M)
        decays = decay_u.numpy(), decay_v.numpy()[:, None]

        def run(epochs):
            return gd_entries(*entries, U.numpy(), V.numpy(), lr, *decays, epochs)

        return run_in_slices(run, epochs_at_once(entries, U), U, V, num_epochs, lr, callback)
    A, M = A.where(M, 0), M.to(A.dtype)  # for gd_epoch; A * M would keep NaN
    Vt = V.T.contiguous()

    def run_one(_):
        gd_epoch(A, M, U, Vt, float(lr), decay_u, decay_v)
        return int(U.isfinite().all() and Vt.isfinite().all())

    return run_in_slices(run_one, 1, U, Vt.T, num_epochs, lr, callback)


def truncated_svd(A, rank):
    """The singular value decomposition of A, cut to this rank (section 2.1).

    Returns U (m, rank), S (rank,), descending, and Vh (rank, n). No matrix of this rank comes
    closer to A in the Frobenius norm than U @ diag(S) @ Vh (Eckart & Young 1936). Raises TypeError
    or ValueError for a bad argument, FloatingPointError where A's dtype does not hold the result.
    """
    A = arguments.check_matrix(A)
    arguments.check_finite(A)
    if arguments.check_integer("rank", rank, at_least=1) > min(A.shape):
        raise ValueError(f"rank is {rank}; A of {tuple(A.shape)} has rank {min(A.shape)} at most")
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    if not all(X.isfinite().all() for X in (U, S, Vh)):
        raise FloatingPointError(f"singular values beyond {A.dtype}'s range: pass smaller numbers")
    return U[:, :rank].clone(), S[:rank].clone(), Vh[:rank].clone()


def reconstruction_loss(A, U, V, M=None):
    """The sum of squared errors of U V^T where M is 1, or over all entries (sections 1.2 and 4.1).

    A is (m, n), U (m, rank), V (n, rank) and M (m, n), of booleans or of 0 and 1; of a sparse A the
    stored entries count. Returns a tensor without dimensions in A's dtype; errors and sum are taken
    in float64. Raises TypeError or ValueError for a bad argument, FloatingPointError on overflow.
    """
    A = arguments.check_matrix(A, sparse=True)
    U, V = arguments.check_factors(U, V, A)
    entries = arguments.observed_entries(A, M)
    loss = torch.tensor(squared_error(*entries, U.numpy(), V.numpy()), dtype=A.dtype, device="cpu")
    if not loss.isfinite():
        raise FloatingPointError(f"a loss beyond {A.dtype}'s range: pass smaller numbers")
    return loss


sgd_factorise = sgd_factorize
sgd_factorise_masked = sgd_factorize_masked
gd_factorise_masked = gd_factorize_masked
