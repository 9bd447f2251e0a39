"""What a caller passes to mf_core and mf_train: checked, and turned into what the loops take.

Each check raises a TypeError or ValueError that names the argument, what it got and what it needs.
"""

import math
import numbers

import numpy as np
import torch

# A dense table does not tell a stored 0 from an entry that is not stored.
TO_DENSE = "to_dense(), and as M, where a function takes one, what was stored"


def check_tensor(name, X, sparse=False):
    """X, detached: a dense tensor of real numbers on the CPU, or a COO one if sparse is true."""
    if not isinstance(X, torch.Tensor):
        raise TypeError(f"{name} is a {type(X).__name__}: pass {as_tensor(name, X)}")
    layouts = [torch.strided, torch.sparse_coo] if sparse else [torch.strided]
    remedies = {
        "real": X.is_complex(),
        "dequantize()": X.is_quantized,
        "to_padded_tensor(float('nan'))": X.is_nested,  # a gap that 0 fills would be a rating
        "to_sparse_coo()" if sparse else TO_DENSE: X.layout not in layouts,
        "cpu()": X.device.type != "cpu",
    }
    for remedy, is_needed in remedies.items():
        if is_needed:
            kind = f"{X.dtype}, {X.layout}, {X.device}{', nested' if X.is_nested else ''}"
            raise ValueError(f"{name} is {kind}: pass {name}.{remedy}")
    return X.detach()


def as_tensor(name, X):
    """How to make a tensor of X, and of A the mask with it, so that gaps do not become ratings."""
    if hasattr(X, "toarray"):  # a sparse matrix of SciPy
        tensor, mask = f"torch.tensor({name}.toarray())", f"{name}.toarray() != 0"
    elif np.ma.isMaskedArray(X):
        tensor, mask = f"torch.tensor({name}.filled(0))", f"~np.ma.getmaskarray({name})"
    elif hasattr(X, "to_numpy"):  # a table of pandas
        tensor, mask = f"torch.tensor({name}.to_numpy(float))", f"{name}.notna().to_numpy()"
    else:
        return f"torch.as_tensor({name})"
    return f"{tensor}, and M=torch.tensor({mask})" if name == "A" else tensor


def check_matrix(A, sparse=False):
    """A in float32 or float64: dense and contiguous, or COO where a sparse A is allowed.

    Integers become float32, whatever torch's default dtype is.
    """
    A = check_tensor("A", A, sparse)
    if A.ndim != 2:
        raise ValueError(f"A has shape {tuple(A.shape)}; it needs to be a matrix (m, n)")
    if not A.is_floating_point():
        A = A.float()
    if A.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"A has dtype {A.dtype}; it needs float32 or float64: pass A.float()")
    return A if A.is_sparse else A.contiguous()


def check_mask(M, A):
    """M as booleans, all true for None; the entries of A that it observes exist and are finite."""
    M = torch.ones_like(A, dtype=torch.bool) if M is None else check_tensor("M", M)
    if M.shape != A.shape:
        raise ValueError(f"M has shape {tuple(M.shape)}; it needs A's shape, {tuple(A.shape)}")
    if M.dtype != torch.bool and not ((M == 0) | (M == 1)).all():
        raise ValueError("M has entries other than 0 and 1; it needs 1 for observed, 0 for missing")
    M = M.bool().contiguous()
    if not M.any():
        raise ValueError(f"M observes no entry of A {tuple(A.shape)}; at least one is needed")
    check_finite(A, M)
    return M


def check_finite(A, M=True):
    """No entry of A is NaN or infinite where M, of booleans, is true."""
    places = (M & ~A.isfinite()).nonzero()
    if len(places) > 0:
        i, j = places[0].tolist()
        remedy = "set M[i, j] to 0 there, in a function that takes M"
        raise ValueError(f"A[{i}, {j}] is {A[i, j]:g} and counts as observed: {remedy}")


def observed_entries(A, M):
    """Rows, columns and values, by rows: of the entries where M is 1, or that a sparse A stores."""
    if not A.is_sparse:
        places = np.flatnonzero(check_mask(M, A).numpy())
        rows, cols = np.divmod(places, A.shape[1])
        return rows.astype(np.int32), cols.astype(np.int32), A.numpy().ravel()[places]
    if M is not None:
        raise ValueError("M is given with a sparse A, whose stored entries count: pass M=None")
    if A.dense_dim() or not A._nnz():
        raise ValueError("A stores no entry, or has a dense dimension: pass A.to_dense() and M")
    rows, cols = A._indices().numpy()  # torch does not validate these, and loops check no bounds
    values = A._values().numpy()
    if min(rows.min(), cols.min()) < 0 or rows.max() >= A.shape[0] or cols.max() >= A.shape[1]:
        raise ValueError("A is a malformed sparse tensor: make it with check_invariants=True")
    if not np.isfinite(values).all():
        raise ValueError("A stores NaN or infinity: drop those entries")
    places = rows * A.shape[1] + cols
    order = np.argsort(places, kind="stable")  # a stable sort is quick where it has nothing to do
    if (np.diff(places[order]) == 0).any():
        raise ValueError("A stores an entry twice; A.coalesce() would add them up: drop one")
    return rows[order].astype(np.int32), cols[order].astype(np.int32), values[order]


def check_settings(num_epochs, lr, weight_decay, callback, A):
    """num_epochs, and lr and weight_decay as scalars of A's dtype: the loops compute in it."""
    if not (callback is None or callable(callback)):
        raise TypeError(f"callback is {callback!r:.60}; it needs a function of epoch, U and V")
    num_epochs = check_integer("num_epochs", num_epochs, at_least=0)
    lr = check_number("lr", lr, A.dtype, above=0)
    return num_epochs, lr, check_number("weight_decay", weight_decay, A.dtype)


def initial_factors(A, rank, init, generator):
    """Copies of init, or factors drawn from U(0, 1), U (m, rank) before V (n, rank)."""
    rank = check_integer("rank", rank, at_least=1)
    if init is not None:
        if not (isinstance(init, tuple | list) and len(init) == 2):
            raise TypeError(f"init is a {type(init).__name__}; it needs to be a pair (U0, V0)")
        return tuple(X.clone() for X in check_factors(*init, A, rank, ("init[0]", "init[1]")))
    if not (generator is None or isinstance(generator, torch.Generator)):
        raise TypeError(f"generator is a {type(generator).__name__}; it needs a torch.Generator")
    try:
        options = {"generator": generator, "dtype": A.dtype, "device": "cpu"}
        return tuple(torch.rand(k, rank, **options) for k in A.shape)
    except (RuntimeError, TypeError) as error:  # more than torch can allocate, or count
        raise ValueError(f"rank is {rank}; such factors do not fit into memory") from error


def check_factors(U, V, A, rank=None, names=("U", "V")):
    """U (m, rank) and V (n, rank) in A's dtype, contiguous; without a rank, U's own, at least 1."""
    U, V = (check_tensor(name, X).to(A.dtype) for name, X in zip(names, (U, V), strict=True))
    if rank is None:
        rank = max(1, U.shape[1]) if U.ndim == 2 else 1  # other shapes are refused below
    for name, X, size in zip(names, (U, V), A.shape, strict=True):
        if X.shape != (size, rank):
            raise ValueError(f"{name} has shape {tuple(X.shape)}; it needs to be ({size}, {rank})")
        if not X.isfinite().all():
            raise ValueError(f"{name} has NaN or infinity in {A.dtype}; it needs finite entries")
    return U.contiguous(), V.contiguous()


def check_integer(name, value, at_least):
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}; it needs to be an integer")
    if value < at_least:
        raise ValueError(f"{name} is {value}; it needs to be at least {at_least}")
    return int(value)


def check_number(name, value, dtype=torch.float64, above=None):
    """The value as a NumPy scalar of this dtype: finite, and above a bound or else at least 0."""
    if getattr(value, "ndim", None) == 0:  # of NumPy or torch
        value = value.item()
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}; it needs to be a number")
    number = float(value) if abs(value) < 1e308 else math.inf
    scalar = torch.tensor(number, dtype=dtype, device="cpu").numpy()[()]  # may be 0 or infinite now
    if not math.isfinite(scalar) or (scalar < 0 if above is None else scalar <= above):
        bound = "at least 0" if above is None else f"above {above}"
        raise ValueError(f"{name} is {value!s:.20} ({dtype}); it needs to be finite and {bound}")
    return scalar
