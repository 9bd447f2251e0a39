"""Ratings that outgrow a notebook: the baseline mu + b_i + c_j, and SGD in strata on all cores.

In Python: `factorize` and `fit_baseline`. As a command, in one process or many, with checkpoints:
`python -m mf_train --help`.
"""

import mf_arguments as checks
from mf_train.baseline import fit_baseline
from mf_train.processes import Team
from mf_train.strata import Shard

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
