"""The processes that torchrun starts, and all that they send to one another (by gloo)."""

import os
import sys
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Team:
    """The number of this process, and how many there are; process 0 reads and writes all files."""

    process: int = 0
    size: int = 1

    @classmethod
    def of_torchrun(cls, timeout):
        """Meet the others. Then one that does not answer for so many seconds is lost."""
        try:
            process, size = (int(os.environ.get(k, v)) for k, v in (("RANK", 0), ("WORLD_SIZE", 1)))
        except ValueError as error:
            raise ValueError(f"RANK and WORLD_SIZE are whole numbers: {error}") from error
        if size > 1:
            if os.environ.get("LOCAL_WORLD_SIZE") == str(size) and sys.platform == "linux":
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing leaves this machine
            dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
        return cls(process, size)

    def runs(self, strata):
        """The runs of rows that belong to this process, and the runs of columns that begin here."""
        return range(strata * self.process // self.size, strata * (self.process + 1) // self.size)

    def scatter(self, pieces):
        """This process's piece of process 0's iterator of one piece for each process."""
        piece = [next(pieces) if self.process == 0 else None]
        if self.size > 1:
            # The others wait as long as process 0 reads, but not for a process that has died.
            dist.monitored_barrier(timeout=timedelta(days=1))
        if self.process > 0:
            dist.recv_object_list(piece, 0)
        else:
            for process in range(1, self.size):
                dist.send_object_list([next(pieces)], process)
        return piece[0]

    def gather(self, piece):
        """The pieces of all processes, in process 0."""
        pieces = [piece] * self.size
        if self.size > 1:
            dist.gather_object(piece, pieces if self.process == 0 else None, dst=0)
        return pieces

    def pass_on(self, leaving, arriving, job):
        """Send an array to the process before, when the job is done, and get one from the next."""
        # Awaited before our job is done, so that the next process need not wait for it.
        receiving = dist.irecv(torch.from_numpy(arriving), (self.process + 1) % self.size)
        job.result()
        sending = dist.isend(torch.from_numpy(leaving), (self.process - 1) % self.size)
        receiving.wait()
        sending.wait()
