"""Ratings that outgrow a notebook: the baseline mu + b_i + c_j, and SGD in strata on all cores.

In Python: `factorize` and `fit_baseline`. As a command, in one process or many, with checkpoints:
`python -m mf_train --help`.
"""

import numpy as np
import torch

import mf_arguments as checks
from mf_train.processes import Team
from mf_train.strata import Shard, least_squares

__all__ = ["factorize", "fit_baseline"]


def factorize(
    A,
    rank,
    num_epochs=20,
    lr=0.02,
    *,
    M=None,
    strata=8,
    weight_decay=0.1,
    init=None,
    generator=None,
    callback=None,
):
    """Factorise A by SGD in strata, on torch.get_num_threads() threads.

    strata : into how many bands rows and columns are cut, from 1 (row by row) to min(m, n). It
        decides the order of the entries, and so every bit of the result; threads decide none.
    M : as for `mf_core.sgd_factorize_masked`, and so is all else.
    """
    A = checks.check_matrix(A, sparse=True)
    entries = checks.observed_entries(A, M)
    num_epochs, lr, weight_decay = checks.check_settings(num_epochs, lr, weight_decay, callback, A)
    if checks.check_integer("strata", strata, at_least=1) > min(A.shape):
        raise ValueError(f"strata is {strata}; A of {tuple(A.shape)} allows {min(A.shape)} at most")
    U, V = checks.initial_factors(A, rank, init, generator)
    shard = Shard(Team(), strata, U.numpy(), V.numpy(), *entries)
    for epoch in range(1, num_epochs + 1):
        shard.descend(lr, weight_decay)  # which changes U and V in place
        if callback and callback(epoch, U.clone(), V.clone()):
            break
    return U, V


def fit_baseline(A, M, damping):
    """The baseline A[i, j] ~ mu + row[i] + col[j] of the entries where M is 1.

    It minimises the sum of squared errors + damping (|row|^2 + |col|^2), as if each row and column
    had `damping` more entries, all 0 (Koren 2010). A and M are those of `factorize`; damping is a
    number, at least 0. Returns mu (no dimensions), row (m,) and col (n,) in A's dtype.
    """
    A = checks.check_matrix(A, sparse=True)
    entries = checks.observed_entries(A, M)
    damping = checks.check_number("damping", damping)
    baseline = least_squares(*entries, A.shape, damping)
    baseline = tuple(torch.as_tensor(np.asarray(x), dtype=A.dtype) for x in baseline)
    if not all(x.isfinite().all() for x in baseline):
        raise FloatingPointError(f"a baseline beyond {A.dtype}'s range: pass smaller numbers")
    return baseline
