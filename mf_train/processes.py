"""The processes that torchrun starts, and all that they send to one another (by gloo)."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Team:
    """The number of this process, and how many there are; process 0 reads and writes all files."""

    number: int = 0
    size: int = 1

    @classmethod
    def of_torchrun(cls, timeout):
        """Meet the others. Then one that does not answer for so many seconds is lost."""
        team = cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
        if team.size == 1:
            return team
        if os.environ.get("LOCAL_WORLD_SIZE") == str(team.size) and sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing leaves this machine
        # In a thread that may be left behind, because gloo itself would wait five times as long.
        meet = partial(dist.init_process_group, "gloo", timeout=timedelta(seconds=timeout))
        try:
            ThreadPoolExecutor(1).submit(meet).result(timeout)
        except (RuntimeError, TimeoutError) as error:
            reason = str(error) or f"no answer for {timeout:g} seconds"
            remedy = "set GLOO_SOCKET_IFNAME on each machine to its network interface, as eth0"
            raise ConnectionError(f"the processes never met: {remedy} ({reason})") from error
        return team

    def bands(self, strata):
        """The row bands that belong to this process, and the column bands that begin here."""
        return range(strata * self.number // self.size, strata * (self.number + 1) // self.size)

    def scatter(self, pieces):
        """This process's piece of process 0's iterator of one piece for each process."""
        piece = [next(pieces) if self.number == 0 else None]
        if self.size > 1:
            # The others wait as long as process 0 reads, but not for a process that has died.
            dist.monitored_barrier(timeout=timedelta(days=1))
        if self.number > 0:
            dist.recv_object_list(piece, 0)
        else:
            for number in range(1, self.size):
                dist.send_object_list([next(pieces)], number)
        return piece[0]

    def gather(self, piece):
        """The pieces of all processes, in process 0."""
        pieces = [piece] * self.size
        if self.size > 1:
            dist.gather_object(piece, pieces if self.number == 0 else None, dst=0)
        return pieces

    def pass_on(self, leaving, arriving, job):
        """Send an array to the process before, when the job is done, and get one from the next."""
        # Awaited before our job is done, so that the next process need not wait for it.
        receiving = dist.irecv(torch.from_numpy(arriving), (self.number + 1) % self.size)
        job.result()
        sending = dist.isend(torch.from_numpy(leaving), (self.number - 1) % self.size)
        receiving.wait()
        sending.wait()
