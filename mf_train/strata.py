"""SGD in strata: an order of the entries that threads and processes share (Gemulla et al. 2011).

S row bands and S column bands, each with about as many entries, cross in S x S blocks. The blocks
on one wrapped diagonal, a stratum, share no row and no column: they can be done at the same time.
S decides every bit of the result; the number of threads and processes decides none.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from mf_core import sgd_epochs, stagger


class Shard:
    """What one process of a team holds: its own row bands, and the column bands that are here now.

    strata : S, at least the number of processes
    U, V : whole matrices; the shard keeps its own bands of them, and changes these in place
    rows, cols, values : the whole table, sorted by row; the shard keeps its own bands
    """

    def __init__(self, team, strata, U, V, rows, cols, values, epoch=0):
        self.team = team
        self.strata = strata
        self.epoch = epoch  # the last one done
        self.size = len(values)
        self.own = team.bands(strata)
        row_edges = band_edges(rows, len(U), strata)
        self.col_edges = band_edges(cols, len(V), strata)
        self.U = {band: U[row_edges[band] : row_edges[band + 1]] for band in self.own}
        self.V = {band: V[self.col_edges[band] : self.col_edges[band + 1]] for band in self.own}
        self.blocks = {}  # indices begin at 0 in each
        for band in self.own:
            p, q = np.searchsorted(rows, row_edges[band : band + 2])
            col_bands = np.searchsorted(self.col_edges, cols[p:q], side="right") - 1
            for col_band, first_col in enumerate(self.col_edges[:-1]):
                k = p + np.flatnonzero(col_bands == col_band)
                entries = rows[k] - row_edges[band], cols[k] - first_col, values[k]
                self.blocks[band, col_band] = stagger(*entries)

    def descend(self, lr, weight_decay):
        """An epoch of SGD, stratum by stratum; FloatingPointError if factors do not stay finite.

        In stratum s, row band k meets column band k + s. Then V moves on in a ring: each column
        band to the row band before, which may belong to the process before.
        """
        threads = ThreadPoolExecutor(torch.get_num_threads())  # not `with`: Ctrl-C does not wait
        for s in range(self.strata):
            col_bands = [(band + s) % self.strata for band in self.own]
            jobs = []
            for band, col_band in zip(self.own, col_bands, strict=True):
                block = (*self.blocks[band, col_band], self.U[band], self.V[col_band])
                jobs.append(threads.submit(sgd_epochs, *block, lr, weight_decay, 1))
            if self.team.size > 1:  # a column band leaves and one arrives, during the other jobs
                leaving = self.V.pop(col_bands[0])
                arriving = (col_bands[-1] + 1) % self.strata
                size = self.col_edges[arriving + 1] - self.col_edges[arriving]
                self.V[arriving] = np.empty((size, leaving.shape[1]), leaving.dtype)
                self.team.pass_on(leaving, self.V[arriving], jobs[0])
            if not all([job.result() for job in jobs]):  # in a list, so that all of them have ended
                reason = f"factors stopped being finite in epoch {self.epoch + 1}: lr = {lr:g}"
                raise FloatingPointError(f"{reason} is too large here; try a smaller one")
        self.epoch += 1

    def factors(self):
        """U and V of the own bands; after an epoch, V is back where it began."""
        return [np.concatenate([X[band] for band in self.own]) for X in (self.U, self.V)]


def band_edges(index, size, strata):
    """The edges of so many bands of rows (columns), with about as many entries in each."""
    entries = np.cumsum(np.bincount(index, minlength=size))
    shares = entries[-1] * np.arange(1, strata) // strata
    return [0, *(np.searchsorted(entries, shares) + 1).tolist(), size]
