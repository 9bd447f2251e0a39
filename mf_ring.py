"""Damped means and stratified SGD in many processes: each holds a share, and V goes round.

Rows and columns are cut into S runs, as by `strata` of mf_core's `sgd_factorize_masked`. A process
keeps the ratings and the factors of its own runs of rows. The runs of V travel in a ring, each to
the run of rows that needs it next. S decides about every bit of the result; the number of processes
and threads does not (Gemulla et al. 2011).
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product, repeat

import numpy as np
import torch
import torch.distributed as dist

from mf_core import _blocks, _cuts, _sgd_epochs, _squared_error, strict

__all__ = ["Share", "Team"]


class Team:
    """The processes of this run: those that torchrun started, or this one alone.

    patience : seconds without an answer after which a process takes another one for lost
    """

    def __init__(self, patience):
        names = {
            "RANK": 0,
            "LOCAL_RANK": 0,
            "GROUP_RANK": 0,
            "WORLD_SIZE": 1,
            "LOCAL_WORLD_SIZE": 1,
        }
        numbers = [int(os.environ.get(name, alone)) for name, alone in names.items()]
        self.rank, self.local, self.machine, self.size, here = numbers
        if self.size > 1:
            if here == self.size and sys.platform == "linux":  # one machine: nothing leaves it
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            dist.init_process_group("gloo", timeout=timedelta(seconds=patience))

    def wait(self):
        """For the others, which may have something long to do; not for one that has ended."""
        if self.size > 1:
            dist.monitored_barrier(timeout=timedelta(days=1))

    def everyones(self, value):
        """The values of all processes."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def total(self, parts):
        """The sum of all runs' parts in float64, in the order of the runs, whoever has them."""
        parts = [torch.as_tensor(part, dtype=torch.float64) for part in parts]
        total = torch.zeros_like(parts[0])
        if self.rank > 0:
            dist.recv(total, self.rank - 1)
        for part in parts:
            total += part
        if self.rank + 1 < self.size:
            dist.send(total, self.rank + 1)
        if self.size > 1:
            dist.broadcast(total, self.size - 1)
        return total.numpy()


class Share:
    """What one process of a team holds of ratings (m, n) and of their factors.

    counts : the numbers of ratings in each row (m,) and in each column (n,), of all processes
    strata : S, at least the number of processes and at most min(m, n)
    U : the factors of the own runs of rows; V : {run: its factors}, of the runs that are here now
    levels : the levels of rows (m,) and of columns (n,), float32, with mu; all are in all processes
    sent : the bytes of V that were sent
    """

    def __init__(self, team, counts, strata, rank):
        self.team, self.counts, self.S, self.rank, self.sent = team, counts, strata, rank, 0
        self.edges = [_cuts(x, len(x), strata) for x in counts]
        self.own = self.runs(team.rank)
        self.row_edges = self.edges[0][self.own.start : self.own.stop + 1]
        self.pool = ThreadPoolExecutor(torch.get_num_threads())

    def runs(self, process):
        """The runs of rows that belong to a process, and of columns that rest with it."""
        return range(*(self.S * k // self.team.size for k in (process, process + 1)))

    def size(self, side, run):
        return self.edges[side][run + 1] - self.edges[side][run]

    def part(self, side, run):
        return slice(*self.edges[side][run : run + 2])

    def blocks(self, k, rows, cols, values):
        """The entries of the k-th own run of rows, row by row, as the functions below take them."""
        return next(_blocks(rows, cols, values, self.row_edges[k : k + 2], self.edges[1]))

    def ring(self, work):
        """The sum of work(k, b) over all blocks: k-th own run of rows, run b of columns.

        Stratum by stratum; after each, every run of V moves to the run of rows before. So the first
        own run of rows comes first: its run of V travels while the others are at work.
        """
        results, process = np.zeros(len(self.own)), self.team.rank
        for s in range(self.S):
            columns = [(a + s) % self.S for a in self.own]
            jobs = [self.pool.submit(work, k, b) for k, b in enumerate(columns)]
            if self.team.size > 1:
                coming = (columns[-1] + 1) % self.S
                arriving = torch.empty(self.size(1, coming), self.rank)
                receiving = dist.irecv(arriving, (process + 1) % self.team.size)
                jobs[0].result()
                sending = dist.isend(self.V[columns[0]], (process - 1) % self.team.size)
            results += [job.result() for job in jobs]
            if self.team.size > 1:
                receiving.wait()
                sending.wait()
                self.sent += self.V.pop(columns[0]).nbytes
                self.V[coming] = arriving
        return self.team.total(results)

    def epoch(self, blocks, lr, weight_decay):
        """Pass all entries once; False if factors have become infinite."""
        lr, w = np.float32(lr), np.float32(weight_decay)

        def update(k, b):
            return _sgd_epochs(*blocks[k][b], self.U[k].numpy(), self.V[b].numpy(), lr, w, 1)

        return self.ring(update) == self.S**2

    def squared_error(self, blocks):
        """Of U V^T, summed over all entries, in float64."""

        def error(k, b):
            return _squared_error(*blocks[k][b], self.U[k].numpy(), self.V[b].numpy())

        return self.ring(error)

    def fit_means(self, blocks, damping):
        """mu and the levels of `damped_means` in mf_core: the same fit, from all shares."""
        mu, levels, change = 0.0, [np.zeros(len(x)) for x in self.counts], 1.0

        def left(k, side):
            """What mu and the other side's levels leave, added up for each row or column."""
            total = np.zeros(len(self.counts[side]))
            for b, (*index, values) in enumerate(blocks[k]):
                span = self.part(0, self.own[k]), self.part(1, b)
                other = levels[1 - side][span[1 - side]]
                _add_up(index[side], index[1 - side], values, mu, other, total[span[side]])
            return total

        while change > 5e-8:  # stars
            change = 0.0
            for side, count in enumerate(self.counts):
                total = self.team.total(self.pool.map(left, range(len(self.own)), repeat(side)))
                weight = np.maximum(count + damping, 1)  # of an empty row or column without damping
                step = (total / weight).sum() / (count / weight).sum()
                new = (total - step * count) / weight
                mu, change = mu + step, max(change, np.abs(new - levels[side]).max())
                levels[side] = new
        self.mu, *self.levels = (torch.tensor(x, dtype=torch.float32) for x in (mu, *levels))

    def draw(self, seed):
        """Factors from U(0, 0.1), U first: the same for any number of processes."""
        generator, drawn = torch.Generator().manual_seed(seed), ({}, {})
        for side, run in product((0, 1), range(self.S)):
            some = 0.1 * torch.rand(self.size(side, run), self.rank, generator=generator)
            if run in self.own:
                drawn[side][run] = some
        self.U, self.V = list(drawn[0].values()), drawn[1]

    def subtract_levels(self, blocks):
        for k, b in product(range(len(self.own)), range(self.S)):
            rows, cols, values = blocks[k][b]
            row, col = (
                x[self.part(*place)]
                for x, place in zip(self.levels, ((0, self.own[k]), (1, b)), strict=True)
            )
            values -= (self.mu + row[rows] + col[cols]).numpy()

    def gathered(self, side):
        """In process 0: all runs of U, or of V, one after the other. The others send theirs."""
        own = self.V if side else dict(zip(self.own, self.U, strict=True))
        for process in range(self.team.size):
            for run in self.runs(process):
                if process == self.team.rank:
                    part = own[run]
                    if process > 0:
                        dist.send(part, 0)
                elif self.team.rank == 0:
                    part = torch.empty(self.size(side, run), self.rank)
                    dist.recv(part, process)
                if self.team.rank == 0:
                    yield part


@strict
def _add_up(this, other, values, mu, levels, total):
    for p in range(len(values)):
        total[this[p]] += values[p] - mu - levels[other[p]]
