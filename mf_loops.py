"""The machinery under mf_core: how loops are compiled and run, and those that are no lesson.

Loops take NumPy arrays, and the observed entries as rows, cols and values: entry p is
A[rows[p], cols[p]]. Their arithmetic is strictly IEEE, in the order that is written: the same bits
on every processor. They check no bounds: mf_arguments has checked the indices.
"""

from contextlib import suppress

import numba
import numpy as np
from numba.core.caching import FunctionCache

WORK_PER_CALL = 20_000_000  # entries x rank in a compiled call, about a tenth of a second
STAGGER = 8  # rows that advance together in SGD


class OptionalCache(FunctionCache):
    """numba's cache on disk. Whatever fails in it, the function is compiled without it."""

    def load_overload(self, *arguments):
        try:
            return super().load_overload(*arguments)
        except Exception:  # a damaged file may raise nearly anything
            self.forget()

    def save_overload(self, *arguments):
        try:
            super().save_overload(*arguments)
        except Exception:  # a full disk, for example
            self.forget()

    def forget(self):
        """Replace the index by an empty one, if possible: later processes start anew."""
        with suppress(Exception):
            self.flush()


def compiled(function):
    """numba.njit, for threads in parallel, cached on disk where that is possible."""
    loop = numba.njit(nogil=True)(function)
    with suppress(RuntimeError):  # numba found no folder that can be written
        loop._cache = OptionalCache(function)  # njit(cache=True) puts its FunctionCache there
    return loop


def epochs_at_once(entries, U):
    """How many epochs a compiled call does: between two calls, Ctrl-C is noticed."""
    return max(1, WORK_PER_CALL // (len(entries[0]) * U.shape[1]))


def run_in_slices(run, epochs_per_call, U, V, num_epochs, lr, callback):
    """Call run(epochs), which changes U and V and returns how many of the epochs left them finite.

    One epoch a call if there is a callback, which comes after every epoch.
    """
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


def stagger(rows, cols, values):
    """Reorder entries that come row by row: SGD has the same bits, and is 1.5 times as fast.

    STAGGER rows advance together, each one column behind the row above. Every U[i] and every V[j]
    still sees its updates row by row and column by column. But nearly all neighbours in the new
    order share no row and no column, so the processor can overlap their updates. The 1.5 holds for
    a full table at rank 2 to 20; a table of 2 % gains 1.0 to 1.3, and rank 60 or 120 nothing.
    """
    group, row_in_group = np.divmod(rows.astype(np.int64), STAGGER)
    diagonals = int(cols.max(initial=0)) + STAGGER  # in a group
    order = np.argsort(group * diagonals + cols + row_in_group, kind="stable")
    return rows[order], cols[order], values[order]


@compiled
def gd_entries(rows, cols, values, U, V, lr, decay_u, decay_v, num_epochs):
    """mf_core.gd_epoch, num_epochs times, which visits the observed entries one by one.

    Return how many epochs ended with finite factors.
    """
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


@compiled
def squared_error(rows, cols, values, U, V):
    """The sum of the squared errors of these entries, in float64."""
    total = 0.0
    for p in range(len(values)):
        error = np.float64(values[p])
        for k in range(U.shape[1]):
            error -= np.float64(U[rows[p], k]) * np.float64(V[cols[p], k])
        total += error * error
    return total
