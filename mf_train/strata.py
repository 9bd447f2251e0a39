"""SGD in strata: an order of the entries that threads and processes share (Gemulla et al. 2011).

Rows and columns are cut into S runs each, with about as many entries in every run. Of the S x S
blocks, those on one wrapped diagonal, a stratum, share no row and no column: so they can be done at
the same time. S decides every bit of the result; the number of threads and processes decides none.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from mf_core import sgd_epochs, stagger


class Shard:
    """What one process of a team holds: its own runs of rows, and the runs of columns here now.

    strata : S, at least the number of processes
    U, V : whole matrices, of which it takes its own runs, and changes them in place
    rows, cols, values : all entries, row by row, of which it takes those of its own runs
    """

    def __init__(self, team, strata, U, V, rows, cols, values, epoch=0):
        self.team = team
        self.strata = strata
        self.epoch = epoch  # the last one done
        self.size = len(values)
        self.own = team.runs(strata)
        self.row_edges = cuts(rows, len(U), strata)
        self.col_edges = cuts(cols, len(V), strata)
        self.U = {run: U[self.row_edges[run] : self.row_edges[run + 1]] for run in self.own}
        self.V = {run: V[self.col_edges[run] : self.col_edges[run + 1]] for run in self.own}
        self.blocks = {}  # indices begin at 0 in each
        for run in self.own:
            p, q = np.searchsorted(rows, self.row_edges[run : run + 2])
            col_runs = np.searchsorted(self.col_edges, cols[p:q], side="right") - 1
            for col_run, first_col in enumerate(self.col_edges[:-1]):
                k = p + np.flatnonzero(col_runs == col_run)
                entries = rows[k] - self.row_edges[run], cols[k] - first_col, values[k]
                self.blocks[run, col_run] = stagger(*entries)

    def descend(self, lr, weight_decay):
        """An epoch of SGD, stratum by stratum; FloatingPointError if factors do not stay finite.

        In stratum s, run k of rows meets run k + s of columns. Then V moves on in a ring: each run
        of columns to the run of rows before, which may belong to the process before.
        """
        threads = ThreadPoolExecutor(torch.get_num_threads())  # not `with`: Ctrl-C does not wait
        for s in range(self.strata):
            pairs = [(run, (run + s) % self.strata) for run in self.own]
            jobs = []
            for run, col_run in pairs:
                block = (*self.blocks[run, col_run], self.U[run], self.V[col_run])
                jobs.append(threads.submit(sgd_epochs, *block, lr, weight_decay, 1))
            if self.team.size > 1:  # one run of columns leaves and one comes, during the other jobs
                leaving = self.V.pop(pairs[0][1])
                coming = (pairs[-1][1] + 1) % self.strata
                size = self.col_edges[coming + 1] - self.col_edges[coming]
                self.V[coming] = np.empty((size, leaving.shape[1]), leaving.dtype)
                self.team.pass_on(leaving, self.V[coming], jobs[0])
            if not all([job.result() for job in jobs]):  # in a list, so that all of them have ended
                reason = f"factors stopped being finite in epoch {self.epoch + 1}: lr = {lr:g}"
                raise FloatingPointError(f"{reason} is too large here; try a smaller one")
        self.epoch += 1

    def factors(self):
        """U and V of the own runs; after an epoch, V is back where it began."""
        return [np.concatenate([X[run] for run in self.own]) for X in (self.U, self.V)]


def cuts(index, size, strata):
    """The edges of so many runs of rows (columns), with about as many entries in each."""
    entries = np.cumsum(np.bincount(index, minlength=size))
    shares = entries[-1] * np.arange(1, strata) // strata
    return [0, *(np.searchsorted(entries, shares) + 1).tolist(), size]
