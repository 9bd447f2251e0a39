"""Matrix factorisation by gradient descent: A is approximated by U V^T; U is m x rank, V n x rank.

The factorisers are the coursework's own algorithms, step for step; numba compiles their loops.
Tensors in, tensors out, in A's dtype, on the CPU. mf_inputs checks what is passed. A result beyond
that dtype's range is a FloatingPointError. A process forked after a call hangs in torch: use spawn.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Generator, Tensor

from mf_compiled import compiled
from mf_inputs import factors, integer, mask, matrix, number, observed_entries, settings, start

__all__ = ["damped_means", "gd_factorize_masked", "reconstruction_loss", "sgd_factorize",
           "sgd_factorize_masked", "truncated_svd"]  # fmt: skip
Pair = tuple[Tensor, Tensor]

WORK_PER_CALL = 20_000_000  # multiplications between two looks for an interrupt: about 0.1 s
STAGGER = 8  # rows under way at the same time in SGD
BLOCKS = 4  # row blocks in GD; fixed, so that results do not depend on the number of threads
SMALL = 10_000  # cells; GD of a smaller table is not worth its threads


def sgd_factorize(
    A: Tensor, rank: int, num_epochs: int = 1000, lr: float = 0.01, *,
    init: Pair | None = None, generator: Generator | None = None, callback: Callable | None = None,
) -> Pair:  # fmt: skip
    """Factorise A by stochastic gradient descent over all its entries (section 1.1).

    In every epoch, row by row and column by column: e = A[i, j] - U[i] . V[j]; U[i] += lr e V[j];
    then V[j] += lr e U[i], with the U[i] just updated and the e from before. The arithmetic is
    strictly IEEE, in one fixed order: the same bits on every processor are a promise.

    A : tensor (m, n), float32 or float64; integers are converted to torch's default dtype.
        If A is sparse (COO or CSR), only its stored entries count, stored zeros too.
    rank, num_epochs : integers, at least 1 and at least 0
    lr : float, above 0: the learning rate
    init : (U0, V0), the factors to start from, (m, rank) and (n, rank); they are left unchanged.
        Without it both are drawn from U(0, 1), U first, by `generator` or torch's global one.
    callback : called as callback(epoch, U, V) after every epoch, counted from 1, with copies of
        the factors; a true return ends the run.

    Returns U (m, rank) and V (n, rank), in A's dtype. Raises TypeError or ValueError that names a
    bad argument, and FloatingPointError that names the epoch when the factors become infinite.
    """
    A = matrix(A, sparse=True)
    M = None if A.is_sparse else torch.ones(A.shape, dtype=torch.bool)
    options = {"init": init, "generator": generator, "callback": callback}
    return sgd_factorize_masked(A, M, rank, num_epochs, lr, **options)


def sgd_factorize_masked(
    A: Tensor, M: Tensor | None, rank: int, num_epochs: int = 1000, lr: float = 0.01, *,
    weight_decay: float = 0.0, init: Pair | None = None, generator: Generator | None = None,
    callback: Callable | None = None, strata: int | None = None,
) -> Pair:  # fmt: skip
    """Factorise A by stochastic gradient descent over the entries where M is 1 (section 3.1).

    As `sgd_factorize`, but skips the entries where M is 0; values there, even NaN, are ignored.
    M is a tensor (m, n) of booleans, or of 0 and 1, that observes at least one entry; None if A
    is sparse. With weight_decay w, at least 0, U[i] += lr (e V[j] - w U[i]), then
    V[j] += lr (e U[i] - w V[j]) (Funk 2006). All else is as for `sgd_factorize`.

    strata : None, or an integer S from 1 to min(m, n): another order, which threads can share
        (torch.get_num_threads() of them; Gemulla et al. 2011). Rows and columns are cut into S runs
        with about as many entries each. An epoch is S strata, one after the other, of S blocks that
        have no row and no column in common. The bits depend on S, not on the number of threads.
    """
    A = matrix(A, sparse=True)
    M = mask(M, A)
    num_epochs, lr, w = settings(num_epochs, lr, weight_decay, callback, A)
    S = 1 if strata is None else integer("strata", strata, at_least=1)
    if S > min(A.shape):
        raise ValueError(f"strata is {S}; A of {tuple(A.shape)} allows {min(A.shape)} at most")
    U, V = start(A, rank, init, generator)
    entries = observed_entries(A, M)
    edges = [_cuts(np.bincount(x), size, S) for x, size in zip(entries, A.shape, strict=False)]
    blocks = [[_staggered(*entries)]] if S == 1 else list(_blocks(*entries, *edges))
    size, part = len(entries[0]), max(1, WORK_PER_CALL // rank)  # part: entries in a compiled call
    del entries

    def one_block(a, b, epochs=1):
        u, v = (X.numpy()[e[k] : e[k + 1]] for X, e, k in zip((U, V), edges, (a, b), strict=True))
        parts = range(0, len(blocks[a][b][0]) or 1, part)
        calls = ([x[k : k + part] for x in blocks[a][b]] for k in parts)
        return min(_sgd_epochs(*some, u, v, lr, w, epochs) for some in calls)

    def run(epochs):
        if S == 1:
            return one_block(0, 0, epochs)
        strata = ([(a + s) % S for a in range(S)] for s in range(S))
        return min(min(pool.map(one_block, range(S), columns)) for columns in strata)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return _descend(run, part // size if S == 1 else 1, U, V, num_epochs, lr, callback)


def gd_factorize_masked(
    A: Tensor, M: Tensor, rank: int, num_epochs: int = 1000, lr: float = 1e-5, *,
    weight_decay: float = 0.0, init: Pair | None = None, generator: Generator | None = None,
    callback: Callable | None = None,
) -> Pair:  # fmt: skip
    """Factorise A by gradient descent with whole matrices, where M is 1 (section 4.1).

    In every epoch: E = (A - U V^T) * M; U += lr E V; then V += lr E^T U, with the U just updated
    and the E from before. With weight_decay w the objective is that of `sgd_factorize_masked`:
    U[i] shrinks by lr w U[i] for each entry observed in row i, and V[j] likewise.
    torch.get_num_threads() threads share the rows; their number does not change the result.
    A is dense. All else is as for `sgd_factorize_masked`.
    """
    A = matrix(A)
    M = mask(M, A)
    num_epochs, lr, w = settings(num_epochs, lr, weight_decay, callback, A)
    U, V = start(A, rank, init, generator)
    a, m, u, vt = A.numpy(), M.numpy(), U.numpy(), V.T.contiguous().numpy()
    decay_u, decay_v = (w * m.sum(axis, dtype=a.dtype) for axis in (1, 0))
    edges = np.linspace(0, len(a), BLOCKS + 1).astype(np.int64)
    gradients = np.empty((BLOCKS, *vt.shape), a.dtype)  # of V, one from each block of rows

    def one_block(b):
        _gd_rows(a, m, u, vt, lr, decay_u, edges[b], edges[b + 1], gradients[b])

    def run(epochs):
        if A.numel() < SMALL:
            return _gd_small(a, m, u, vt, lr, decay_u, decay_v, gradients[0], epochs)
        list(pool.map(one_block, range(BLOCKS)))
        vt[:] += lr * (gradients.sum(0) - decay_v * vt)
        return int(np.isfinite(u).all() and np.isfinite(vt).all())

    at_once = 100 if A.numel() < SMALL else 1
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return _descend(run, at_once, U, torch.from_numpy(vt).T, num_epochs, lr, callback)


def truncated_svd(A: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of A, cut to this rank (section 2.1).

    Returns U (m, rank), S (rank,), descending, and Vh (rank, n). No matrix of this rank comes
    closer to A in the Frobenius norm than U @ diag(S) @ Vh (Eckart & Young 1936).
    Raises TypeError or ValueError for a bad argument, and for NaN or infinity in A.
    """
    A = matrix(A)
    mask(torch.ones(A.shape), A)
    if integer("rank", rank, at_least=1) > min(A.shape):
        raise ValueError(f"rank is {rank}; A of {tuple(A.shape)} has rank {min(A.shape)} at most")
    U, S, Vh = _finite("singular values", A.dtype, *torch.linalg.svd(A, full_matrices=False))
    return U[:, :rank].clone(), S[:rank].clone(), Vh[:rank].clone()


def reconstruction_loss(A: Tensor, U: Tensor, V: Tensor, M: Tensor | None = None) -> Tensor:
    """The sum of squared errors of U V^T where M is 1, or over all entries (sections 1.2 and 4.1).

    A is (m, n), U (m, rank), V (n, rank) and M (m, n), of booleans or of 0 and 1; of a sparse A the
    stored entries count. Returns a tensor without dimensions in A's dtype; errors and sum are taken
    in float64. Raises as `sgd_factorize_masked` does for a bad argument.
    """
    A = matrix(A, sparse=True)
    U, V = factors(U, V, A)
    M = torch.ones(A.shape, dtype=torch.bool) if M is None and not A.is_sparse else M
    entries = observed_entries(A, mask(M, A))
    return _finite("a loss", A.dtype, _squared_error(*entries, U.numpy(), V.numpy()))[0]


def damped_means(A: Tensor, M: Tensor | None, damping: float) -> tuple[Tensor, Tensor, Tensor]:
    """The baseline A[i, j] ~ mu + row[i] + col[j] from the entries where M is 1 (section 4.1).

    The joint damped least-squares fit: it minimises the sum of squared errors + damping (|row|^2
    + |col|^2), as if each row and column had `damping` (a float, at least 0) more entries, all 0
    (Koren 2010). It is the same whichever way round the table lies.

    Returns mu (no dimensions), row (m,) and col (n,) in A's dtype; a level is 0 where nothing is
    observed. Raises as `sgd_factorize_masked` does.
    """
    A = matrix(A, sparse=True)
    rows, cols, values = observed_entries(A, mask(M, A))
    damping = number("damping", damping)
    index, mu, change = (rows, cols), values.mean(dtype=np.float64), math.inf
    count = [np.bincount(x, minlength=size) for x, size in zip(index, A.shape, strict=True)]
    levels = [np.zeros(size) for size in A.shape]
    while change > 1e-8 * np.abs(values).max():
        change = 0.0
        for this, other in ((0, 1), (1, 0)):  # the best mu and row for this col, then mu and col
            left = values - mu - levels[other][index[other]]
            total, weight = np.bincount(index[this], left, A.shape[this]), count[this] + damping
            weight = np.maximum(weight, 1)  # of an empty row or column without damping
            step = (total / weight).sum() / (count[this] / weight).sum()
            new = (total - step * count[this]) / weight
            mu, change = mu + step, max(change, np.abs(new - levels[this]).max())
            levels[this] = new
    return _finite("means", A.dtype, mu, *levels)


def _finite(what, dtype, *found):
    found = tuple(torch.as_tensor(x, dtype=dtype) for x in found)
    if not all(x.isfinite().all() for x in found):
        raise FloatingPointError(f"{what} beyond {dtype}'s range: pass smaller numbers")
    return found


# ------------------------------------------------------------------------------- the algorithms

strict = compiled()
# Sums may be reordered and fused with products, so that a row is done in vector instructions.
fast = compiled(fastmath={"reassoc", "contract", "nsz"})


@strict
def _sgd_epochs(rows, cols, values, U, V, lr, w, num_epochs):
    """Pass num_epochs times over the entries; return how many passes ended with finite factors."""
    for epoch in range(num_epochs):
        for p in range(len(values)):
            i, j, dot = rows[p], cols[p], U.dtype.type(0)
            for k in range(U.shape[1]):
                dot += U[i, k] * V[j, k]
            e = values[p] - dot
            for k in range(U.shape[1]):
                U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]
                V[j, k] += lr * e * U[i, k] - lr * w * V[j, k]
        if not (np.isfinite(U).all() and np.isfinite(V).all()):
            return epoch
    return num_epochs


def _staggered(rows, cols, values):
    """The entries, which come row by row, in an order that gives the same bits in half the time.

    Several rows advance together, each one column behind the row above. Every U[i] and every V[j]
    still sees its updates in the old order. But neighbours share no row and no column, so that
    the processor can overlap their updates.
    """
    group, behind = np.divmod(rows.astype(np.int64), STAGGER)
    width = int(cols.max(initial=0)) + STAGGER
    order = np.argsort(group * width + cols + behind, kind="stable")
    return rows[order], cols[order], values[order]


def _cuts(counts, size, S):
    """Where to cut so many rows, or columns, into S runs with about as many entries each."""
    total = np.cumsum(counts)
    return [0, *(np.searchsorted(total, total[-1] * np.arange(1, S) // S) + 1).tolist(), size]


def _blocks(rows, cols, values, row_edges, col_edges):
    """Of each run of rows: its entries by run of columns, staggered; indices start at 0 in each."""
    ends = np.searchsorted(rows, row_edges)
    for first, p, q in zip(row_edges, ends, ends[1:], strict=False):
        run = np.searchsorted(col_edges, cols[p:q], side="right") - 1
        places = [(p + np.flatnonzero(run == b), col) for b, col in enumerate(col_edges[:-1])]
        yield [_staggered(rows[k] - first, cols[k] - col, values[k]) for k, col in places]


@fast
def _gd_rows(A, M, U, Vt, lr, decay, first, last, gradient):
    """For rows first to last: E = (A - U V^T) * M; U += lr E V; gradient = (E^T U)^T, new U."""
    rank, n = Vt.shape
    E, u = np.zeros((4, n), A.dtype), np.zeros((4, rank), A.dtype)
    e, f, g, h = E  # four rows at a time, which share what is read of V
    gradient[:] = 0
    for i in range(first, last, 4):
        rows = min(4, last - i)
        E[:rows], E[rows:] = A[i : i + rows], 0
        u[:rows], u[rows:] = U[i : i + rows], 0
        for k in range(rank):
            v, a, b, c, d = Vt[k], u[0, k], u[1, k], u[2, k], u[3, k]
            for j in range(n):
                e[j] -= a * v[j]
                f[j] -= b * v[j]
                g[j] -= c * v[j]
                h[j] -= d * v[j]
        for r in range(rows):
            for j in range(n):
                E[r, j] = E[r, j] if M[i + r, j] else 0
            for k in range(rank):
                u[r, k] -= lr * decay[i + r] * u[r, k]
        for k in range(rank):
            v, x = Vt[k], gradient[k]
            a = b = c = d = A.dtype.type(0)
            for j in range(n):
                a += e[j] * v[j]
                b += f[j] * v[j]
                c += g[j] * v[j]
                d += h[j] * v[j]
            u[0, k] += lr * a
            u[1, k] += lr * b
            u[2, k] += lr * c
            u[3, k] += lr * d
            a, b, c, d = u[:, k]
            for j in range(n):
                x[j] += a * e[j] + b * f[j] + c * g[j] + d * h[j]
        U[i : i + rows] = u[:rows]


@strict
def _gd_small(A, M, U, Vt, lr, decay_u, decay_v, gradient, num_epochs):
    """All epochs of a small table in one call; return how many ended with finite factors."""
    for epoch in range(num_epochs):
        _gd_rows(A, M, U, Vt, lr, decay_u, 0, len(A), gradient)
        Vt += lr * (gradient - decay_v * Vt)
        if not (np.isfinite(U).all() and np.isfinite(Vt).all()):
            return epoch
    return num_epochs


@strict
def _squared_error(rows, cols, values, U, V):
    total = 0.0
    for p in range(len(values)):
        e = np.float64(values[p])
        for k in range(U.shape[1]):
            e -= np.float64(U[rows[p], k]) * np.float64(V[cols[p], k])
        total += e * e
    return total


def _descend(run, at_once, U, V, num_epochs, lr, callback):
    """Do all epochs by run(epochs), which returns how many of them ended with finite factors."""
    done = 0
    while done < num_epochs:
        epochs = 1 if callback else min(max(1, at_once), num_epochs - done)
        finite = run(epochs)
        if finite < epochs:
            raise FloatingPointError(
                f"the factors stopped being finite in epoch {done + finite + 1} of {num_epochs}: "
                f"lr = {lr:g} is too large here; try a smaller one, {lr / 10:.1g} or less"
            )
        done += epochs
        if callback and callback(done, U.clone(), V.clone(memory_format=torch.contiguous_format)):
            break
    return U, V.clone(memory_format=torch.contiguous_format)
