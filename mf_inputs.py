"""What a caller passes to mf_core: checked, and turned into what the compiled loops take.

All raise a TypeError or ValueError that names the argument, what it got and what it needs.
"""

import math
import numbers

import numpy as np
import torch

__all__ = ["factors", "integer", "mask", "matrix", "number", "observed_entries", "settings",
           "start"]  # fmt: skip

CHUNK = 32  # rows of A looked at together


def matrix(A, sparse: bool = False) -> torch.Tensor:
    """A in float32 or float64: contiguous, or coalesced COO where a sparse A is allowed."""
    A = _tensor("A", A, sparse)
    if A.ndim != 2:
        raise ValueError(f"A has shape {tuple(A.shape)}; it needs to be a matrix (m, n)")
    if not A.is_floating_point():
        A = A.to(torch.get_default_dtype())
    if A.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"A has dtype {A.dtype}; it needs float32 or float64: pass A.float()")
    return A.contiguous() if A.layout == torch.strided else _coalesced(A)


def mask(M, A: torch.Tensor) -> torch.Tensor | None:
    """M as booleans that observe at least one entry, and only finite ones; None if A is sparse."""
    if A.is_sparse:
        if M is not None:
            raise ValueError("M is given with a sparse A, whose stored entries count: pass M=None")
        return None
    M = _tensor("M", M)
    if M.shape != A.shape:
        raise ValueError(f"M has shape {tuple(M.shape)}; it needs A's shape, {tuple(A.shape)}")
    if M.dtype != torch.bool and not ((M == 0) | (M == 1)).all():
        raise ValueError("M has entries other than 0 and 1; it needs 1 for observed, 0 for missing")
    M = M.bool().contiguous()
    if not M.any():
        what = "M observes no entry of A" if A.numel() else f"A is empty, {tuple(A.shape)}"
        raise ValueError(f"{what}; at least one observed entry is needed")
    parts = zip(A.split(CHUNK), M.split(CHUNK), strict=True)  # for little memory besides A
    if not all(a.isfinite().logical_or_(~m).all() for a, m in parts):
        bad = torch.nonzero(M & ~A.isfinite())
        i, j = bad[0].tolist()
        raise ValueError(
            f"A[{i}, {j}] is {A[i, j].item()} and counts as observed (and {len(bad) - 1} more); "
            "observed entries need to be finite: set M[i, j] = 0, in a function that takes M"
        )
    return M


def observed_entries(A, M) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of the entries where M is 1, or of a sparse A's own; row by row."""
    if A.is_sparse:
        (rows, cols), values = A.indices().numpy(), A.values().numpy()
    else:
        place = np.flatnonzero(M.numpy())
        (rows, cols), values = np.divmod(place, A.shape[1]), A.numpy().ravel()[place]
    return rows.astype(np.int32), cols.astype(np.int32), values


def settings(num_epochs, lr, weight_decay, callback, A) -> tuple:
    """num_epochs, and lr and weight_decay as scalars of A's dtype: the loops compute in it."""
    if not (callback is None or callable(callback)):
        raise TypeError(f"callback is {callback!r:.60}; it needs a function of epoch, U and V")
    num_epochs = integer("num_epochs", num_epochs, at_least=0)
    lr = number("lr", lr, A.dtype, above=0)
    return num_epochs, lr, number("weight_decay", weight_decay, A.dtype)


def start(A, rank, init, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors to start from: copies of init, or drawn from U(0, 1), U (m, rank) first."""
    rank = integer("rank", rank, at_least=1)
    if init is not None:
        if not (isinstance(init, tuple | list) and len(init) == 2):
            raise TypeError(f"init is a {type(init).__name__}; it needs to be a pair (U0, V0)")
        return tuple(X.clone() for X in factors(*init, A, rank, ("init[0]", "init[1]")))
    if not (generator is None or isinstance(generator, torch.Generator)):
        raise TypeError(f"generator is a {type(generator).__name__}; it needs a torch.Generator")
    try:
        return tuple(torch.rand(k, rank, generator=generator, dtype=A.dtype) for k in A.shape)
    except (RuntimeError, TypeError) as error:  # more than torch can allocate, or count
        raise ValueError(f"rank is {rank}; such factors do not fit into memory") from error


def factors(U, V, A, rank=None, names=("U", "V")) -> tuple[torch.Tensor, torch.Tensor]:
    """U (m, rank) and V (n, rank) in A's dtype, contiguous; of U's own rank if none is given."""
    found = []
    for name, X, size in zip(names, (U, V), A.shape, strict=True):
        X = _tensor(name, X)
        if rank is None and X.ndim == 2 and X.shape[1] > 0:
            rank = X.shape[1]
        if X.shape != (size, rank):
            needs = f"with A of {tuple(A.shape)} it needs ({size}, {rank or 'rank'})"
            raise ValueError(f"{name} has shape {tuple(X.shape)}; {needs}")
        X = X.to(A.dtype).contiguous()
        if not torch.isfinite(X).all():
            raise ValueError(f"{name} has NaN or infinity in {A.dtype}; it needs finite entries")
        found.append(X)
    return tuple(found)


def integer(name: str, value, at_least: int) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}; it needs to be an integer")
    if value < at_least:
        raise ValueError(f"{name} is {value}; it needs to be at least {at_least}")
    return int(value)


def number(name: str, value, dtype=torch.float64, above=None) -> np.floating:
    """The value as a NumPy scalar of this dtype: finite, and above a bound or else at least 0."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}; it needs to be a number")
    try:
        found = torch.tensor(float(value), dtype=dtype).numpy()[()]  # may become 0 or infinite
    except OverflowError:  # an integer beyond all floats
        found = math.inf
    if not math.isfinite(found) or (found < 0 if above is None else found <= above):
        bound = "at least 0" if above is None else f"above {above}"
        raise ValueError(f"{name} is {value!s:.20} ({dtype}); it needs to be finite and {bound}")
    return found


def _tensor(name, X, sparse=False):
    """X, detached, if it is an ordinary tensor of real numbers on the CPU, or a sparse one."""
    if not isinstance(X, torch.Tensor):
        remedy = f"torch.as_tensor({name}) makes one"
        raise TypeError(f"{name} is a {type(X).__name__}; it needs to be a torch tensor: {remedy}")
    if X.device.type != "cpu":
        raise ValueError(f"{name} is on {X.device}; all runs on the CPU: pass {name}.cpu()")
    if X.is_nested or X.is_quantized or X.is_complex():
        raise TypeError(f"{name} is nested, quantised or complex ({X.dtype}); it needs real ones")
    if X.layout not in (torch.strided, *([torch.sparse_coo, torch.sparse_csr] if sparse else [])):
        needs = "dense, sparse COO or sparse CSR" if sparse else f"dense: pass {name}.to_dense()"
        raise ValueError(f"{name} has layout {X.layout}; it needs to be {needs}")
    return X.detach().resolve_neg()  # NumPy knows no view that only notes a change of sign


def _coalesced(A):
    """A sparse A as coalesced COO with valid indices: the compiled loops do not look."""
    if A.dense_dim():
        raise ValueError("A is sparse in one dimension alone; it needs to be in both, or dense")
    try:
        if A.layout == torch.sparse_csr:
            parts = A.crow_indices(), A.col_indices(), A.values()
            if (parts[0].diff() < 0).any():  # which torch's checker may crash on
                raise RuntimeError("the row pointers fall")
            A = torch.sparse_csr_tensor(*parts, A.shape, check_invariants=True).to_sparse_coo()
        elif not A.is_coalesced():
            parts = A._indices(), A._values()
            A = torch.sparse_coo_tensor(*parts, A.shape, check_invariants=True)
    except RuntimeError as error:
        raise ValueError(f"A is a malformed sparse tensor: {error}") from error
    stored, A = A._nnz(), A.coalesce()
    if A._nnz() < stored:
        raise ValueError("A stores an entry twice; A.coalesce() would add the two up: drop one")
    (rows, cols), values = A.indices().numpy(), A.values().numpy()
    if not stored or not np.isfinite(values).all():
        what = "NaN or infinity: drop them" if stored else "no entry: at least one is needed"
        raise ValueError(f"A stores {what}")
    # Torch's checker would take ten times as long for a tensor that says that it is coalesced.
    inside = cols.min() >= 0 and cols.max() < A.shape[1] and rows[0] >= 0 and rows[-1] < A.shape[0]
    if not inside or not (np.diff(rows * A.shape[1] + cols) > 0).all():
        raise ValueError("A is a malformed sparse tensor: make it with check_invariants=True")
    return A
