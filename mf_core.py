"""Matrix factorisation by gradient descent: A is approximated by U V^T, where U is m x rank and V is n x rank.

The three factorisers are the coursework's own algorithms, step for step; numba compiles their loops. Tensors in,
tensors out, in A's dtype (float32 or float64), on the CPU. With the same seed they follow the coursework's PyTorch
loops: U is drawn before V, both by `torch.rand`.
"""

import math
import numbers
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import torch

__all__ = [
    "damped_means",
    "gd_factorize_masked",
    "reconstruction_loss",
    "sgd_factorize",
    "sgd_factorize_masked",
    "truncated_svd",
]

WORK_PER_CALL = 20_000_000  # multiplications in a compiled loop before Python looks for an interrupt: 0.1 s or so
BLOCKS = 8  # of rows, shared by the threads of gd_factorize_masked: fixed, so that their number changes no result
STAGGER = 4  # rows of sgd_factorize under way at the same time
ROWS, TILE = 4, 1024  # how much of the error matrix gd_factorize_masked has in hand at a time


def sgd_factorize(A, rank, num_epochs=1000, lr=0.01, *, init=None, generator=None, callback=None):
    """Factorise A by stochastic gradient descent over all its entries (section 1.1).

    In every epoch, row by row and column by column: e = A[i, j] - U[i] . V[j]; U[i] += lr e V[j]; then
    V[j] += lr e U[i], with the U[i] just updated and the e from before.

    Parameters
    ----------
    A : tensor (m, n), float32 or float64; integers are converted to torch's default dtype
    rank : int, at least 1
    num_epochs : int, at least 0
    lr : float, above 0: the learning rate
    init : (U0, V0), the factors to start from, of shapes (m, rank) and (n, rank); they are left unchanged.
        Without it both are drawn from U(0, 1), U first.
    generator : torch.Generator for that draw; torch's global one if None
    callback : called as callback(epoch, U, V) after every epoch, counted from 1, with copies of the factors;
        a true return ends the run

    Returns
    -------
    U (m, rank) and V (n, rank), in A's dtype

    Raises
    ------
    TypeError, ValueError : a bad argument, named, with what it needs to be
    FloatingPointError : the factors stopped being finite; names the epoch
    """
    A = _matrix(A)
    return _sgd(A, _everywhere(A), rank, num_epochs, lr, 0.0, init, generator, callback)


def sgd_factorize_masked(
    A, M, rank, num_epochs=1000, lr=0.01, *, weight_decay=0.0, init=None, generator=None, callback=None
):
    """Factorise A by stochastic gradient descent over the entries where M is 1 (section 3.1).

    As `sgd_factorize`, but passing over the entries where M is 0: what stands there (NaN too) has no influence.
    With weight_decay w, U[i] += lr (e V[j] - w U[i]), then V[j] += lr (e U[i] - w V[j]) (Funk 2006).

    M is a tensor (m, n) of booleans, or of 0 and 1, that observes at least one entry. Or A is a sparse COO or CSR
    tensor and M is None: then the stored entries of A are the observed ones, stored zeros too, and memory and time go
    with their number. All else is as for `sgd_factorize`.
    """
    A = _matrix(A, sparse=True)
    return _sgd(A, _mask(M, A), rank, num_epochs, lr, weight_decay, init, generator, callback)


def gd_factorize_masked(
    A, M, rank, num_epochs=1000, lr=1e-5, *, weight_decay=0.0, init=None, generator=None, callback=None
):
    """Factorise A by gradient descent with whole matrices over the entries where M is 1 (section 4.1).

    In every epoch: E = (A - U V^T) * M; U += lr E V; then V += lr E^T U, with the U just updated and the E from
    before. With weight_decay w every observed entry adds w (|U[i]|^2 + |V[j]|^2) to the objective, as in
    `sgd_factorize_masked`: U[i] shrinks by lr w U[i] times the number of entries observed in row i.

    The rows are shared out over torch.get_num_threads() threads; their number does not change the result.
    All else is as for `sgd_factorize_masked`.
    """
    A = _matrix(A, sparse=True)
    return _gd(A, _mask(M, A), rank, num_epochs, lr, weight_decay, init, generator, callback)


def truncated_svd(A, rank):
    """The best approximation of A of the given rank: its singular value decomposition, cut (section 2.1).

    Returns U (m, rank), S (rank,), descending, and Vh (rank, n); U @ diag(S) @ Vh approximates A, and no matrix of
    this rank comes closer to A in the Frobenius norm (Eckart & Young 1936). 1 <= rank <= min(m, n).
    Raises TypeError or ValueError for a bad argument, and for NaN or infinity in A.
    """
    A = _matrix(A)
    _check_observed(A, _everywhere(A))
    rank = _integer("rank", rank, at_least=1)
    if rank > min(A.shape):
        raise ValueError(f"rank is {rank}, but a {_shape(A)} matrix has rank {min(A.shape)} at most")
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    return U[:, :rank].clone(), S[:rank].clone(), Vh[:rank].clone()


def reconstruction_loss(A, U, V, M=None):
    """The sum of squared errors of U V^T over all entries of A, or over those where M is 1 (sections 1.2 and 4.1).

    A is (m, n), U (m, rank), V (n, rank) and M (m, n), of booleans or of 0 and 1; over the stored entries if A is
    sparse, without M. Returns a tensor without dimensions
    in A's dtype; the sum is taken in float64. Raises as `sgd_factorize_masked` does for a bad argument.
    """
    A = _matrix(A, sparse=True)
    U, V = _factors(U, V, "U", "V", A)
    if A.layout != torch.strided:
        total = _squared_error_sparse(*_rows_of(A, _mask(M, A)), U.numpy(), V.numpy())
    else:
        M = _everywhere(A) if M is None else _mask(M, A)
        _check_observed(A, M)
        scratch = _scratch(ROWS, A.shape[1], dtype=A.numpy().dtype)
        total = _squared_error(A.numpy(), M.numpy().view(np.uint8), U.numpy(), _columns_in_pairs(V).numpy(), *scratch)
    return torch.tensor(total, dtype=A.dtype)


def damped_means(A, M, damping):
    """The baseline A[i, j] ~ mu + row[i] + col[j] from the entries where M is 1 (section 4.1).

    mu is the mean of the observed entries, row[i] the mean of what mu leaves over in row i, and col[j] the mean of what
    mu and row leave over in column j; row and col are shrunk towards 0 as if `damping` (a float, at least 0) more
    entries equal to 0 had been observed. A row or column without an observed entry gets 0 (Funk 2006).

    Returns mu (no dimensions), row (m,) and col (n,) in A's dtype. Raises as `sgd_factorize_masked` does.
    """
    A = _matrix(A, sparse=True)
    start, j, a = _rows_of(A, _mask(M, A))
    damping = _number("damping", damping, at_least=0)
    i = np.repeat(np.arange(A.shape[0]), np.diff(start))
    a = a.astype(np.float64)
    mu = a.mean()
    row = _shrunk_means(a - mu, i, A.shape[0], damping)
    col = _shrunk_means(a - mu - row[i], j, A.shape[1], damping)
    return tuple(torch.tensor(x, dtype=A.dtype) for x in (mu, row, col))


def _shrunk_means(values, group, size, damping):
    weight = np.bincount(group, minlength=size) + damping
    return np.bincount(group, values, size) / np.where(weight > 0, weight, 1)


# ------------------------------------------------------------------------------------------------------- the algorithms


def _sgd(A, M, rank, num_epochs, lr, weight_decay, init, generator, callback):
    rows, cols, entries = _staggered(*_rows_of(A, M))
    num_epochs, lr, w = _settings(num_epochs, lr, weight_decay, callback, A)
    U, V = _start(A, rank, init, generator)
    work = len(cols) * U.shape[1]
    cuts = np.linspace(0, len(cols), 2 + work // WORK_PER_CALL).astype(np.int64)

    def advance(epochs):
        for first, last in pairwise(cuts):
            some = slice(first, last)
            finite = _sgd_entries(rows[some], cols[some], entries[some], U.numpy(), V.numpy(), lr, w, epochs)
            if finite < epochs:
                break
        return finite

    return _run(advance, max(1, WORK_PER_CALL // work), U, V, num_epochs, lr, callback)


@numba.njit(cache=True, nogil=True)
def _sgd_entries(rows, cols, entries, U, V, lr, w, num_epochs):
    """Pass num_epochs times over the entries; return how many passes ended with finite factors."""
    rank, zero = U.shape[1], U.dtype.type(0)
    fours = rank - rank % 4
    for epoch in range(num_epochs):
        for p in range(len(entries)):
            i, j = rows[p], cols[p]
            # U[i] . V[j] as four sums side by side: an addition waits for the one before it, and so a quarter as long.
            s0 = s1 = s2 = s3 = zero
            for k in range(0, fours, 4):
                s0 += U[i, k] * V[j, k]
                s1 += U[i, k + 1] * V[j, k + 1]
                s2 += U[i, k + 2] * V[j, k + 2]
                s3 += U[i, k + 3] * V[j, k + 3]
            for k in range(fours, rank):
                s0 += U[i, k] * V[j, k]
            e = entries[p] - ((s0 + s1) + (s2 + s3))
            for k in range(rank):
                U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]
                V[j, k] += lr * e * U[i, k] - lr * w * V[j, k]
        if not (_finite(U) and _finite(V)):
            return epoch
    return num_epochs


@numba.njit(cache=True, nogil=True)
def _staggered(start, cols, entries):
    """The entries (rows, columns, values) in an order that gives exactly the result of going row by row.

    STAGGER rows advance in turn, each only in columns that the rows above it have passed. So every U[i] and every V[j]
    sees its updates in the same order as ever, and the processor need not wait for one update before the next begins.
    """
    order = np.empty(len(cols), np.int64)
    rows = np.empty(len(cols), np.int32)
    upcoming, done = start[:-1].copy(), 0
    for top in range(0, len(upcoming), STAGGER):
        bottom = min(top + STAGGER, len(upcoming))
        while done < start[bottom]:
            passed = np.iinfo(np.int64).max  # the columns before this one are behind all rows above
            for i in range(top, bottom):
                if upcoming[i] < start[i + 1] and cols[upcoming[i]] < passed:
                    rows[done], order[done] = i, upcoming[i]
                    upcoming[i] += 1
                    done += 1
                if upcoming[i] < start[i + 1]:
                    passed = min(passed, cols[upcoming[i]])
    return rows, cols[order], entries[order]


def _gd(A, M, rank, num_epochs, lr, weight_decay, init, generator, callback):
    """Each block of rows updates its rows of U and adds up its share of V's gradient; then the shares go into V."""
    num_epochs, lr, w = _settings(num_epochs, lr, weight_decay, callback, A)
    if A.layout == torch.strided:
        _check_observed(A, M)
        U, V = _start(A, rank, init, generator)
        a, mask = A.numpy(), M.numpy().view(np.uint8)
        v = _columns_in_pairs(V).numpy()
        V = torch.from_numpy(v[: V.shape[1]]).T
        decay_u, decay_v = (w * M.numpy().sum(axis).astype(a.dtype) for axis in (1, 0))
        decay_v = decay_v[None, :]
        edges = _edges(np.arange(A.shape[0] + 1), BLOCKS)
        e, bits = _scratch(len(edges), ROWS, A.shape[1], dtype=a.dtype)
        update, fixed = _gd_rows, (a, mask, U.numpy(), v, lr, decay_u)
        work = 3 * A.numel() * U.shape[1]
    else:
        start, cols, entries = _rows_of(A, M)
        U, V = _start(A, rank, init, generator)
        v = V.numpy()
        decay_u = w * np.diff(start).astype(v.dtype)
        decay_v = w * np.bincount(cols, minlength=A.shape[1]).astype(v.dtype)[:, None]
        edges = _edges(start, BLOCKS)
        longest = np.diff(start).max()
        e = bits = np.empty((len(edges), longest), v.dtype)
        update, fixed = _gd_rows_sparse, (start, cols, entries, U.numpy(), v, lr, decay_u)
        work = 3 * len(cols) * U.shape[1]
    grad = np.empty((len(edges), *v.shape), v.dtype)

    def one_block(b):
        update(*fixed, *edges[b], e[b], bits[b], grad[b])

    def in_threads(epochs):
        for epoch in range(epochs):
            list(pool.map(one_block, range(len(edges))))
            _gd_columns(v, lr, decay_v, grad)
            if not (_finite(U.numpy()) and _finite(v)):
                return epoch
        return epochs

    def in_one_call(epochs):
        return _gd_epochs(*fixed, decay_v, edges, e, bits, grad, epochs)

    small = A.layout == torch.strided and 100 * work < WORK_PER_CALL
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return _run(in_one_call if small else in_threads, max(1, WORK_PER_CALL // work), U, V, num_epochs, lr, callback)


# In GD sums may be reordered and fused: then the loops along a row become vector instructions. NaN and infinity stay
# what they are. Four rows at a time share what is read of V, and a tile of their errors stays in the first-level cache.
fast = numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})


@fast
def _gd_rows(A, M, U, Vt, lr, decay, first, last, e, bits, grad):
    """One epoch's update of rows first to last of U; their share of V's gradient goes to grad. bits is a view of e."""
    rank, n = Vt.shape
    u, ev = np.zeros((ROWS, rank), U.dtype), np.zeros((ROWS, rank), U.dtype)
    for k in range(rank):
        _fill_row(grad[k], 0)
    for i in range(first, last, ROWS):
        rows = min(ROWS, last - i)
        for r in range(ROWS):
            for k in range(U.shape[1]):
                u[r, k] = U[i + r, k] if r < rows else 0
                ev[r, k] = 0
        for r in range(rows, ROWS):
            _fill_row(e[r], 0)
        for left in range(0, n, TILE):
            right = min(n, left + TILE)
            _errors(A, M, u, Vt, i, rows, left, right, e, bits)
            _times_v(e, Vt, ev, left, right)
        for r in range(rows):
            for k in range(U.shape[1]):
                u[r, k] += lr * (ev[r, k] - decay[i + r] * u[r, k])
                U[i + r, k] = u[r, k]
        for left in range(0, n, TILE):
            _add_outer_product(grad, u, e, left, min(n, left + TILE))


@fast
def _errors(A, M, u, Vt, i, rows, left, right, e, bits):
    """e = M * (A - u Vt) for some rows from i on, between the columns left and right."""
    for r in range(rows):
        _copy_row(A[i + r, left:right], e[r, left:right])
    _subtract_product(e, u, Vt, left, right)
    for r in range(rows):
        _clear_unobserved(bits[r, left:right], M[i + r, left:right])


@fast
def _fill_row(e, value):
    for j in range(len(e)):
        e[j] = value


@fast
def _copy_row(a, e):
    for j in range(len(a)):
        e[j] = a[j]


@fast
def _clear_unobserved(bits, m):
    """e = 0 where m is 0, as bits: even of NaN nothing is left, and there is no branch to predict."""
    for j in range(len(bits)):
        bits[j] &= -bits.dtype.type(m[j])


@fast
def _subtract_product(e, u, Vt, left, right):
    """e -= u Vt, between the columns left and right, two columns of u at a time: their number is even."""
    e0, e1, e2, e3 = e[0, left:right], e[1, left:right], e[2, left:right], e[3, left:right]
    for k in range(0, len(Vt), 2):
        v, w = Vt[k, left:right], Vt[k + 1, left:right]
        u0, u1, u2, u3 = u[0, k], u[1, k], u[2, k], u[3, k]
        x0, x1, x2, x3 = u[0, k + 1], u[1, k + 1], u[2, k + 1], u[3, k + 1]
        for j in range(len(v)):
            e0[j] -= u0 * v[j] + x0 * w[j]
            e1[j] -= u1 * v[j] + x1 * w[j]
            e2[j] -= u2 * v[j] + x2 * w[j]
            e3[j] -= u3 * v[j] + x3 * w[j]


@fast
def _times_v(e, Vt, ev, left, right):
    """ev += e V, between the columns left and right."""
    e0, e1, e2, e3 = e[0, left:right], e[1, left:right], e[2, left:right], e[3, left:right]
    for k in range(0, len(Vt), 2):
        v, w = Vt[k, left:right], Vt[k + 1, left:right]
        s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = e.dtype.type(0)
        for j in range(len(v)):
            s0 += e0[j] * v[j]
            s1 += e1[j] * v[j]
            s2 += e2[j] * v[j]
            s3 += e3[j] * v[j]
            t0 += e0[j] * w[j]
            t1 += e1[j] * w[j]
            t2 += e2[j] * w[j]
            t3 += e3[j] * w[j]
        ev[0, k] += s0
        ev[1, k] += s1
        ev[2, k] += s2
        ev[3, k] += s3
        ev[0, k + 1] += t0
        ev[1, k + 1] += t1
        ev[2, k + 1] += t2
        ev[3, k + 1] += t3


@fast
def _add_outer_product(grad, u, e, left, right):
    """grad += u^T e, between the columns left and right."""
    e0, e1, e2, e3 = e[0, left:right], e[1, left:right], e[2, left:right], e[3, left:right]
    for k in range(0, len(grad), 2):
        g, h = grad[k, left:right], grad[k + 1, left:right]
        u0, u1, u2, u3 = u[0, k], u[1, k], u[2, k], u[3, k]
        x0, x1, x2, x3 = u[0, k + 1], u[1, k + 1], u[2, k + 1], u[3, k + 1]
        for j in range(len(g)):
            g[j] += u0 * e0[j] + u1 * e1[j] + u2 * e2[j] + u3 * e3[j]
            h[j] += x0 * e0[j] + x1 * e1[j] + x2 * e2[j] + x3 * e3[j]


@numba.njit(cache=True, nogil=True)
def _gd_rows_sparse(start, cols, entries, U, V, lr, decay, first, last, e, _, grad):
    """As _gd_rows, from the stored entries alone; V and grad are n x rank."""
    rank = U.shape[1]
    ev = np.empty(rank, U.dtype)
    for j in range(len(grad)):
        _fill_row(grad[j], 0)
    for i in range(first, last):
        _fill_row(ev, 0)
        for p in range(start[i], start[i + 1]):
            j = cols[p]
            error = entries[p]
            for k in range(rank):
                error -= U[i, k] * V[j, k]
            for k in range(rank):
                ev[k] += error * V[j, k]
            e[p - start[i]] = error
        for k in range(rank):
            U[i, k] += lr * (ev[k] - decay[i] * U[i, k])
        for p in range(start[i], start[i + 1]):
            for k in range(rank):
                grad[cols[p], k] += e[p - start[i]] * U[i, k]


@fast
def _gd_columns(V, lr, decay, grad):
    """V += lr (the blocks' shares of the gradient - decay V), whichever way V lies."""
    for k in range(V.shape[0]):
        for b in range(1, len(grad)):
            for j in range(V.shape[1]):
                grad[0, k, j] += grad[b, k, j]
        for j in range(V.shape[1]):
            V[k, j] += lr * (grad[0, k, j] - decay[k % len(decay), j % decay.shape[1]] * V[k, j])


@fast
def _gd_epochs(A, M, U, Vt, lr, decay_u, decay_v, edges, e, bits, grad, num_epochs):
    """The dense epochs in one call, for a small matrix; return how many ended with finite factors."""
    for epoch in range(num_epochs):
        for b in range(len(edges)):
            _gd_rows(A, M, U, Vt, lr, decay_u, edges[b, 0], edges[b, 1], e[b], bits[b], grad[b])
        _gd_columns(Vt, lr, decay_v, grad)
        if not (_finite(U) and _finite(Vt)):
            return epoch
    return num_epochs


@fast
def _squared_error(A, M, U, Vt, e, bits):
    u = np.zeros((ROWS, len(Vt)), U.dtype)
    total = 0.0
    for i in range(0, len(A), ROWS):
        rows = min(ROWS, len(A) - i)
        for r in range(rows):
            _copy_row(U[i + r], u[r])
        for left in range(0, A.shape[1], TILE):
            right = min(A.shape[1], left + TILE)
            _errors(A, M, u, Vt, i, rows, left, right, e, bits)
            for r in range(rows):
                total += _sum_of_squares(e[r, left:right])
    return total


@fast
def _sum_of_squares(e):
    total = 0.0
    for j in range(len(e)):
        total += np.float64(e[j]) * np.float64(e[j])
    return total


@numba.njit(cache=True, nogil=True)
def _squared_error_sparse(start, cols, entries, U, V):
    total = 0.0
    for i in range(len(start) - 1):
        for p in range(start[i], start[i + 1]):
            e = entries[p]
            for k in range(U.shape[1]):
                e -= U[i, k] * V[cols[p], k]
            total += np.float64(e) ** 2
    return total


@numba.njit(cache=True, nogil=True)
def _finite(X):
    for i in range(X.shape[0]):
        for k in range(X.shape[1]):
            if not math.isfinite(X[i, k]):
                return False
    return True


def _scratch(*shape, dtype):
    """An array for errors, and a view of its bits as integers."""
    e = np.zeros(shape, dtype)
    return e, e.view(f"i{e.itemsize}")


def _columns_in_pairs(V):
    """V transposed, so that the inner loops run along memory, with a row of zeros below if the rank is odd."""
    v = torch.zeros(V.shape[1] + V.shape[1] % 2, V.shape[0], dtype=V.dtype)
    v[: V.shape[1]] = V.T
    return v


def _edges(start, blocks):
    """Cut rows into at most so many blocks with about as many entries each: an array of (first row, last row)."""
    cuts = np.unique(np.searchsorted(start, np.linspace(0, start[-1], blocks + 1)[:-1], side="right") - 1)
    cuts[0] = 0
    return np.stack([cuts, np.append(cuts[1:], len(start) - 1)], 1)


def _run(advance, stride, U, V, num_epochs, lr, callback):
    """Do the epochs, stride by stride: advance(epochs) does some, and returns how many ended with finite factors."""
    epoch = 0
    while epoch < num_epochs:
        epochs = 1 if callback else min(stride, num_epochs - epoch)
        finite = advance(epochs)
        if finite < epochs:
            raise FloatingPointError(
                f"the factors stopped being finite in epoch {epoch + finite + 1} of {num_epochs}: "
                f"lr = {lr:g} is too large here; try a smaller one, {lr / 10:.1g} or less"
            )
        epoch += epochs
        if callback and callback(epoch, _copy(U), _copy(V)):
            break
    return U, _copy(V)


def _copy(X):
    return X.clone(memory_format=torch.contiguous_format)


# --------------------------------------------------------------------------------------------------------- the arguments


def _matrix(A, sparse=False):
    if not isinstance(A, torch.Tensor):
        raise TypeError(f"A is a {type(A).__name__}; it needs to be a torch tensor: torch.as_tensor(A) makes one")
    if A.ndim != 2:
        raise ValueError(f"A has shape {tuple(A.shape)}; it needs to be a matrix (m, n)")
    if A.layout != torch.strided and not (sparse and A.layout in (torch.sparse_coo, torch.sparse_csr)):
        what = "dense, sparse COO or sparse CSR" if sparse else "dense (the functions with a mask take sparse ones)"
        raise ValueError(f"A has layout {A.layout}; it needs to be {what}")
    if A.device.type != "cpu":
        raise ValueError(f"A is on {A.device}; the factorisers run on the CPU: pass A.cpu()")
    if not (A.is_floating_point() or A.is_complex()):
        A = A.to(torch.get_default_dtype())
    if A.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"A has dtype {A.dtype}; it needs float32 or float64: pass A.float()")
    return A.detach() if A.layout != torch.strided else A.detach().contiguous()


def _everywhere(A):
    return torch.ones(A.shape, dtype=torch.bool)


def _mask(M, A):
    if A.layout != torch.strided:
        if M is not None:
            raise ValueError("M is given with a sparse A, whose stored entries are the observed ones; pass M=None")
        return None
    if not isinstance(M, torch.Tensor):
        raise TypeError(f"M is a {type(M).__name__}; it needs to be a torch tensor of A's shape, boolean or of 0 and 1")
    if M.shape != A.shape:
        raise ValueError(f"M has shape {tuple(M.shape)}; it needs A's shape, {tuple(A.shape)}")
    if M.dtype != torch.bool:
        if not ((M == 0) | (M == 1)).all():
            raise ValueError("M has entries other than 0 and 1; it needs 1 (or True) for observed and 0 for missing")
        M = M.bool()
    return M.detach().cpu().contiguous()


def _check_observed(A, M):
    observed, bad = _count(A.numpy(), M.numpy().view(np.uint8))
    if not observed:
        what = "M observes no entry of A" if A.numel() else f"A is empty ({_shape(A)})"
        raise ValueError(f"{what}; at least one observed entry is needed")
    if bad:
        i, j = torch.nonzero(M & ~torch.isfinite(A))[0].tolist()
        raise ValueError(
            f"A[{i}, {j}] is {A[i, j].item()} and counts as observed (with {bad - 1} more such); observed entries need "
            "to be finite: mask it with M[i, j] = 0, in a function that takes M"
        )


@numba.njit(cache=True, nogil=True)
def _count(A, M):
    """How many entries are observed, and how many of these are NaN or infinite: in one pass, without a copy."""
    observed = bad = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            observed += M[i, j]
            bad += M[i, j] & (A[i, j] - A[i, j] != 0)
    return observed, bad


def _rows_of(A, M):
    """The observed entries, row after row: those of row i are start[i] to start[i + 1]; their columns; their values."""
    m, n = A.shape
    if A.layout == torch.strided:
        _check_observed(A, M)
        start = np.concatenate([[0], np.cumsum(M.numpy().sum(1))])
        return start, (np.flatnonzero(M.numpy()) % n).astype(np.int32), A[M].numpy()
    if A.layout == torch.sparse_csr:
        start, cols, values = A.crow_indices().numpy(), A.col_indices().numpy(), A.values().numpy()
        rows = None
    else:
        (rows, cols), values = A._indices().numpy(), A._values().numpy()  # indices() wants coalesced ones
        start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=m))])
    if not len(values):
        raise ValueError("A stores no entry; at least one observed entry is needed")
    # torch lets a sparse tensor through whose indices lie outside; the compiled loops would not notice.
    if cols.min() < 0 or cols.max() >= n or len(start) != m + 1 or start[0] != 0 or start[-1] != len(cols):
        raise ValueError(f"A has indices outside its {m} x {n} entries; make it with check_invariants=True")
    if not np.isfinite(values).all():
        raise ValueError(f"A stores {np.count_nonzero(~np.isfinite(values))} entries of NaN or infinity; drop them")
    if not A.is_coalesced() if rows is not None else not _ascending(start, cols):
        place = (np.repeat(np.arange(m), np.diff(start)) if rows is None else rows) * n + cols
        order = np.argsort(place, kind="stable")
        if (np.diff(place[order]) == 0).any():
            raise ValueError("A stores an entry twice; A.coalesce() would add the two up: drop one")
        cols, values = cols[order], values[order]
    return np.ascontiguousarray(start), cols.astype(np.int32), np.ascontiguousarray(values)


def _ascending(start, cols):
    """Whether the columns ascend within each row."""
    inside = np.ones(len(cols), bool)
    inside[start[:-1][start[:-1] < len(cols)]] = False
    return (np.diff(cols)[inside[1:]] > 0).all()


def _settings(num_epochs, lr, weight_decay, callback, A):
    """lr and weight_decay come back as scalars of A's dtype, so that the compiled loops compute in it."""
    if not (callback is None or callable(callback)):
        raise TypeError(f"callback is {callback!r:.60}; it needs to be a function of epoch, U and V, or None")
    num_epochs = _integer("num_epochs", num_epochs, at_least=0)
    lr = _number("lr", lr, above=0)
    weight_decay = _number("weight_decay", weight_decay, at_least=0)
    scalar = np.float32 if A.dtype == torch.float32 else np.float64
    return num_epochs, scalar(lr), scalar(weight_decay)


def _start(A, rank, init, generator):
    rank = _integer("rank", rank, at_least=1)
    if init is not None:
        if not (isinstance(init, tuple | list) and len(init) == 2):
            raise TypeError(f"init is a {type(init).__name__}; it needs to be a pair of tensors (U0, V0)")
        return tuple(_copy(X) for X in _factors(*init, "init[0]", "init[1]", A, rank))
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator is a {type(generator).__name__}; it needs to be a torch.Generator or None")
    return tuple(torch.rand(rows, rank, generator=generator, dtype=A.dtype) for rows in A.shape)


def _factors(U, V, u_name, v_name, A, rank=None):
    for X, name, rows in ((U, u_name, A.shape[0]), (V, v_name, A.shape[1])):
        if not isinstance(X, torch.Tensor):
            raise TypeError(f"{name} is a {type(X).__name__}; it needs to be a torch tensor")
        if rank is None and X.ndim == 2 and X.shape[1] > 0:
            rank = X.shape[1]
        if X.shape != (rows, rank):
            raise ValueError(
                f"{name} has shape {tuple(X.shape)}; with A of {_shape(A)} it needs ({rows}, {rank or 'r'})"
            )
        if not torch.isfinite(X).all():
            raise ValueError(f"{name} has NaN or infinite entries; factors need to be finite")
    return tuple(X.detach().to("cpu", A.dtype).contiguous() for X in (U, V))


def _integer(name, value, at_least):
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}; it needs to be an integer")
    if value < at_least:
        raise ValueError(f"{name} is {value}; it needs to be at least {at_least}")
    return int(value)


def _number(name, value, at_least=None, above=None):
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}; it needs to be a number")
    if (
        not math.isfinite(value)
        or (above is not None and value <= above)
        or (at_least is not None and value < at_least)
    ):
        bound = f"above {above}" if above is not None else f"at least {at_least}"
        raise ValueError(f"{name} is {value}; it needs to be finite and {bound}")
    return float(value)


def _shape(A):
    return " x ".join(str(size) for size in A.shape)
