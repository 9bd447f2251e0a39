"""The baseline of ratings, mu + row[i] + col[j] (section 5.1)."""

import numpy as np
import torch

import mf_arguments as arguments

ROUNDS = 10


def fit_baseline(A, M, damping):
    """The baseline A[i, j] ~ mu + row[i] + col[j] of the entries where M is 1.

    mu is the mean of these entries. Ten times, each row[i] becomes the damped mean of what mu and
    col leave of its entries, and then each col[j] that of what mu and row leave; col begins at 0.
    The sum of a damped mean is divided by the number of entries + damping, and by 1 at least.

    A and M are those of `factorize`; damping is a number, at least 0. Computed in float64. Returns
    mu (no dimensions), row (m,) and col (n,) in A's dtype. Raises TypeError or ValueError that
    names a bad argument, and FloatingPointError where the baseline is beyond the dtype's range.
    """
    A = arguments.check_matrix(A, sparse=True)
    entries = arguments.observed_entries(A, M)
    damping = arguments.check_number("damping", damping)
    with np.errstate(over="ignore", invalid="ignore"):  # the error below says it
        levels = levels_of_entries(*entries, A.shape, damping)
    baseline = tuple(torch.as_tensor(x).to(A.dtype) for x in levels)
    if not all(x.isfinite().all() for x in baseline):
        raise FloatingPointError(f"a baseline beyond {A.dtype}'s range: pass smaller numbers")
    return baseline


def levels_of_entries(rows, cols, values, shape, damping):
    """`fit_baseline` of entries, as NumPy arrays: mu, row and col in float64."""
    m, n = shape
    row_weights = np.maximum(np.bincount(rows, minlength=m) + damping, 1)
    col_weights = np.maximum(np.bincount(cols, minlength=n) + damping, 1)
    mu = values.mean(dtype=np.float64)
    deviations = values - mu
    col = np.zeros(n)
    for _ in range(ROUNDS):
        row = np.bincount(rows, deviations - col[cols], m) / row_weights
        col = np.bincount(cols, deviations - row[rows], n) / col_weights
    return mu, row, col
