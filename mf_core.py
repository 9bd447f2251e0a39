"""Matrix factorisation by gradient descent: A is approximated by U V^T, where U is m x rank and V is n x rank.

The three factorisers are the coursework's own algorithms, step for step; numba compiles their loops. Tensors in,
tensors out, in A's dtype (float32 or float64), on the CPU. With the same seed they follow the coursework's PyTorch
loops: U is drawn before V, both by `torch.rand`.
"""

import math
import numbers
from concurrent.futures import ThreadPoolExecutor

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

    M is a tensor (m, n) of booleans, or of 0 and 1, that observes at least one entry. All else is as for
    `sgd_factorize`.
    """
    A = _matrix(A)
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
    A = _matrix(A)
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

    A is (m, n), U (m, rank), V (n, rank) and M (m, n), of booleans or of 0 and 1. Returns a tensor without dimensions
    in A's dtype; the sum is taken in float64. Raises as `sgd_factorize_masked` does for a bad argument.
    """
    A = _matrix(A)
    M = _everywhere(A) if M is None else _mask(M, A)
    _check_observed(A, M)
    U, V = _factors(U, V, "U", "V", A)
    return torch.tensor(_squared_error(A.numpy(), M.numpy(), U.numpy(), V.T.contiguous().numpy()), dtype=A.dtype)


def damped_means(A, M, damping):
    """The baseline A[i, j] ~ mu + row[i] + col[j] from the entries where M is 1 (section 4.1).

    mu is the mean of the observed entries, row[i] the mean of what mu leaves over in row i, and col[j] the mean of what
    mu and row leave over in column j; row and col are shrunk towards 0 as if `damping` (a float, at least 0) more
    entries equal to 0 had been observed. A row or column without an observed entry gets 0 (Funk 2006).

    Returns mu (no dimensions), row (m,) and col (n,) in A's dtype. Raises as `sgd_factorize_masked` does.
    """
    A = _matrix(A)
    M = _mask(M, A)
    _check_observed(A, M)
    damping = _number("damping", damping, at_least=0)
    i, j = (index.numpy() for index in torch.nonzero(M, as_tuple=True))
    a = A[M].double().numpy()
    mu = a.mean()
    row = _shrunk_means(a - mu, i, A.shape[0], damping)
    col = _shrunk_means(a - mu - row[i], j, A.shape[1], damping)
    return tuple(torch.tensor(x, dtype=A.dtype) for x in (mu, row, col))


def _shrunk_means(values, group, size, damping):
    weight = np.bincount(group, minlength=size) + damping
    return np.bincount(group, values, size) / np.where(weight > 0, weight, 1)


# ------------------------------------------------------------------------------------------------------- the algorithms


def _sgd(A, M, rank, num_epochs, lr, weight_decay, init, generator, callback):
    _check_observed(A, M)
    num_epochs, lr, w = _settings(num_epochs, lr, weight_decay, callback, A)
    U, V = _start(A, rank, init, generator)
    u, v = U.numpy(), V.numpy()
    # The observed entries, row after row: those of row i are start[i] to start[i + 1].
    start = np.concatenate([[0], np.cumsum(M.sum(1).numpy())])
    cols = (np.flatnonzero(M.numpy()) % A.shape[1]).astype(np.int32)
    entries = A[M].numpy()
    work = len(cols) * U.shape[1]
    some_rows = np.linspace(0, A.shape[0], min(A.shape[0], 1 + work // WORK_PER_CALL) + 1).astype(int)

    def advance(epochs):
        for first, last in zip(some_rows[:-1], some_rows[1:], strict=True):
            finite = _sgd_rows(start, cols, entries, u, v, lr, w, first, last, epochs)
            if finite < epochs:
                break
        return finite

    return _run(advance, max(1, WORK_PER_CALL // work), U, V, num_epochs, lr, callback)


@numba.njit(cache=True, nogil=True)
def _sgd_rows(start, cols, entries, U, V, lr, w, first, last, num_epochs):
    """Pass num_epochs times over rows first to last; return how many passes ended with finite factors."""
    rank = U.shape[1]
    for epoch in range(num_epochs):
        for i in range(first, last):
            for p in range(start[i], start[i + 1]):
                j = cols[p]
                uv = U[i, 0] * V[j, 0]
                for k in range(1, rank):
                    uv += U[i, k] * V[j, k]
                e = entries[p] - uv
                for k in range(rank):
                    U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]
                    V[j, k] += lr * e * U[i, k] - lr * w * V[j, k]
        if not (_finite(U) and _finite(V)):
            return epoch
    return num_epochs


def _gd(A, M, rank, num_epochs, lr, weight_decay, init, generator, callback):
    _check_observed(A, M)
    num_epochs, lr, w = _settings(num_epochs, lr, weight_decay, callback, A)
    U, V = _start(A, rank, init, generator)
    a, mask, u = A.numpy(), M.numpy(), U.numpy()
    vt = V.T.contiguous().clone().numpy()  # rank x n, so that the inner loops run along memory
    decay_u, decay_v = (w * M.sum(dim).numpy().astype(a.dtype) for dim in (1, 0))
    grad = np.empty((min(BLOCKS, A.shape[0]), *vt.shape), a.dtype)  # each block's share of V's gradient
    edges = np.linspace(0, A.shape[0], len(grad) + 1).astype(int)
    work = 3 * A.numel() * U.shape[1]

    def one_block(b):
        _gd_rows(a, mask, u, vt, lr, decay_u, edges[b], edges[b + 1], grad[b])

    def in_threads(epochs):
        for epoch in range(epochs):
            list(pool.map(one_block, range(len(grad))))
            _gd_columns(vt, lr, decay_v, grad)
            if not (_finite(u) and _finite(vt)):
                return epoch
        return epochs

    def in_one_call(epochs):
        return _gd_epochs(a, mask, u, vt, lr, decay_u, decay_v, edges, grad, epochs)

    advance = in_threads if 100 * work > WORK_PER_CALL else in_one_call
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return _run(advance, max(1, WORK_PER_CALL // work), U, torch.from_numpy(vt).T, num_epochs, lr, callback)


# Sums may be reordered and fused: then the loops along a row become vector instructions. NaN and infinity stay exact.
@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _gd_rows(A, M, U, Vt, lr, decay, first, last, grad):
    """One epoch's update of rows first to last of U; leave these rows' share of V's gradient in grad."""
    rank, n = Vt.shape
    e = np.empty(n, A.dtype)
    zero = A.dtype.type(0)
    grad[:] = 0
    for i in range(first, last):
        e[:] = A[i]
        for k in range(rank):
            for j in range(n):
                e[j] -= U[i, k] * Vt[k, j]
        for j in range(n):
            e[j] = e[j] if M[i, j] else zero
        for k in range(rank):
            ev = zero
            for j in range(n):
                ev += e[j] * Vt[k, j]
            u = U[i, k] + lr * (ev - decay[i] * U[i, k])
            U[i, k] = u
            for j in range(n):
                grad[k, j] += u * e[j]


@numba.njit(cache=True, nogil=True)
def _gd_columns(Vt, lr, decay, grad):
    for k in range(Vt.shape[0]):
        for j in range(Vt.shape[1]):
            g = grad[0, k, j]
            for b in range(1, len(grad)):
                g += grad[b, k, j]
            Vt[k, j] += lr * (g - decay[j] * Vt[k, j])


@numba.njit(cache=True, nogil=True)
def _gd_epochs(A, M, U, Vt, lr, decay_u, decay_v, edges, grad, num_epochs):
    for epoch in range(num_epochs):
        for b in range(len(grad)):
            _gd_rows(A, M, U, Vt, lr, decay_u, edges[b], edges[b + 1], grad[b])
        _gd_columns(Vt, lr, decay_v, grad)
        if not (_finite(U) and _finite(Vt)):
            return epoch
    return num_epochs


@numba.njit(cache=True, nogil=True)
def _squared_error(A, M, U, Vt):
    rank, n = Vt.shape
    e = np.empty(n, A.dtype)
    total = 0.0
    for i in range(A.shape[0]):
        e[:] = A[i]
        for k in range(rank):
            for j in range(n):
                e[j] -= U[i, k] * Vt[k, j]
        for j in range(n):
            if M[i, j]:
                total += np.float64(e[j]) ** 2
    return total


@numba.njit(cache=True, nogil=True)
def _finite(X):
    for i in range(X.shape[0]):
        for k in range(X.shape[1]):
            if not math.isfinite(X[i, k]):
                return False
    return True


def _run(advance, stride, U, V, num_epochs, lr, callback):
    """Do the epochs, stride by stride: advance(epochs) does some, and returns how many ended with finite factors."""
    epoch = 0
    while epoch < num_epochs:
        epochs = 1 if callback else min(stride, num_epochs - epoch)
        finite = advance(epochs)
        if finite < epochs:
            raise FloatingPointError(
                f"the factors stopped being finite in epoch {epoch + finite + 1} of {num_epochs}: "
                f"lr = {lr:g} is too large here; try a smaller one, such as {lr / 10:.1g}"
            )
        epoch += epochs
        if callback and callback(epoch, _copy(U), _copy(V)):
            break
    return U, _copy(V)


def _copy(X):
    return X.clone(memory_format=torch.contiguous_format)


# --------------------------------------------------------------------------------------------------------- the arguments


def _matrix(A):
    if not isinstance(A, torch.Tensor):
        raise TypeError(f"A is a {type(A).__name__}; it needs to be a torch tensor: torch.as_tensor(A) makes one")
    if A.ndim != 2 or A.layout != torch.strided:
        raise ValueError(f"A has shape {tuple(A.shape)} and layout {A.layout}; it needs to be a dense m x n matrix")
    if A.device.type != "cpu":
        raise ValueError(f"A is on {A.device}; the factorisers run on the CPU: pass A.cpu()")
    if not (A.is_floating_point() or A.is_complex()):
        A = A.to(torch.get_default_dtype())
    if A.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"A has dtype {A.dtype}; it needs float32 or float64: pass A.float()")
    return A.detach().contiguous()


def _everywhere(A):
    return torch.ones(A.shape, dtype=torch.bool)


def _mask(M, A):
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
    if not M.any():
        what = "M observes no entry of A" if A.numel() else f"A is empty ({_shape(A)})"
        raise ValueError(f"{what}; at least one observed entry is needed")
    bad = torch.nonzero(M & ~torch.isfinite(A))
    if len(bad):
        i, j = bad[0].tolist()
        raise ValueError(
            f"A[{i}, {j}] is {A[i, j].item()} and counts as observed (with {len(bad) - 1} more such); observed entries "
            "need to be finite: mask it with M[i, j] = 0, in a function that takes M"
        )


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
