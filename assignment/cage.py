"""The cage: a submission's code is run shut in (runner.py), and stopped when it takes too long."""

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tasks import HERE, ROOT

UNSHARE = "unshare --net --mount --pid --ipc --fork --kill-child --mount-proc".split()
SCRATCH = "/tmp", "/var/tmp", "/dev/shm"
MOST = 20 * 2**20  # bytes that a submission may send
RESTARTS = 4  # of a submission that had to be stopped
STARTS = itertools.count()
RUNNING, LOCK = set(), threading.Lock()
PROVEN = set()  # ways of shutting in that have worked


class Cage:
    """How submissions are shut in on this machine, at what limits: the strongest way that works."""

    WAYS = {  # by name: the command in front, whether another user, what holds
        "namespaces and another user": (UNSHARE, True, "No network. Only its own copy can be "
            "written. Home, project and submissions cannot be seen."),
        "namespaces": (UNSHARE, False, "No network. Only its own copy can be written. Home, "
            "project and submissions cannot be seen. The number of processes is not limited."),
        "another user": ([], True, "Another user's rights: what everybody may write or read on "
            "this machine, a submission may too. Sockets are blocked in Python only."),
        "limits only": ([], False, "Time and memory are limited, but a submission could write "
            "wherever you can, and read the solutions. Sockets are blocked in Python only."),
    }  # fmt: skip

    def __init__(self, source, submissions, seconds=20, megabytes=3000, trust=False):
        self.source, self.seconds, self.megabytes = source, seconds, megabytes
        self.hidden = [
            path for path in (Path.home(), *SCRATCH, ROOT, submissions, source.parent)
            if path != Path("/")
        ]  # fmt: skip
        failures = []
        for way, settings in self.WAYS.items():
            self.way, (self.front, self.other_user, self.holds) = way, settings
            root = os.geteuid() == 0
            if self.other_user and not root or self.front and not shutil.which("unshare"):
                continue
            if way == "limits only" and (root or not trust):
                break
            if self.front and not root:
                self.front = [*self.front, "--map-root-user"]
            outcome = {} if way in PROVEN else self.run([["import torch"]])[0][0]
            if "error" not in outcome:
                PROVEN.add(way)
                return
            failures.append(f"{way}: {outcome['error']}")
        raise SystemExit(
            "submissions cannot be shut in here: that needs Linux and util-linux's `unshare`, or "
            "root and a Python that other users can read. "
            "Who trusts the students can mark as an ordinary user by `make mark TRUST=1 ...`, "
            f"which limits time and memory only. {'; '.join(failures)}"
        )

    def run(self, notebooks):
        """The outcome of each step of each notebook: {"value": ...} or {"error": "..."}."""
        steps = {(b, k): step for b, book in enumerate(notebooks) for k, step in enumerate(book)}
        names, left, outcomes = list(steps), dict(steps), {}
        for _ in range(1 + RESTARTS):
            new, stopped = self.attempt(left, names) if left else ({}, None)
            outcomes = new | outcomes
            if stopped is None:
                break
            at, why = stopped
            same = [at, *(k for k in left if is_call(steps[at]) and is_call(left[k])
                          and steps[at]["function"] == left[k]["function"])]  # fmt: skip
            outcomes = dict.fromkeys(same, {"error": why}) | new | outcomes
            again = {k for k, step in left.items() if k[0] >= at[0] and k not in same}
            left = {k: left[k] for k in left  # a notebook's cells are run once more
                    if k in again and not (is_call(left[k]) and k in outcomes)}  # fmt: skip
        gone = {"error": f"Not reached: the submission was stopped {1 + RESTARTS} times."}
        return [
            [outcomes.get((b, k), gone) for k in range(len(x))] for b, x in enumerate(notebooks)
        ]

    def attempt(self, steps, names):
        """One process over the steps; their outcomes, and (step, why) if it was stopped there."""
        copy = Path(tempfile.mkdtemp(prefix="marking-"))
        uid = 64000 + next(STARTS) % 1000 if self.other_user else 0
        books = {}
        for k, step in steps.items():
            books.setdefault(k[0], []).append((names.index(k), step))
        try:
            for path in self.source.iterdir():
                if path.suffix != ".ipynb":
                    shutil.copy(path, copy)
            for path in [copy, *copy.iterdir()] if uid else []:
                os.chown(path, uid, uid)
            inside = [p for p in (sys.prefix, sys.base_prefix) if Path(p) != Path("/usr")]
            job = {"notebooks": list(books.values()), "copy": str(copy), "uid": uid,
                   "namespaces": bool(self.front), "hidden": [str(p) for p in self.hidden],
                   "kept": inside, "limits": {"RLIMIT_AS": self.megabytes * 2**20}}  # fmt: skip
            outcomes, stopped = self.follow(json.dumps(job).encode(), copy)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        outcomes = {names[k]: x for k, x in outcomes.items() if names[k] in steps}
        return outcomes, stopped and (
            names[stopped[0]] if stopped[0] >= 0 else next(iter(steps)),
            stopped[1],
        )

    def follow(self, job, copy):
        """Start the process, listen to it, and end it when a step takes too long."""
        environment = {"HOME": copy, "TMPDIR": copy, "IPYTHONDIR": copy, "MPLBACKEND": "Agg",
                       "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}  # fmt: skip
        command = [*self.front, sys.executable, "-I", str(HERE / "runner.py")]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # fmt: skip
        with LOCK:
            RUNNING.add(process)
        outcomes, at, received, rest = {}, -1, 0, b""
        deadline = time.monotonic() + 60  # to start
        try:
            process.stdin.write(job)
            process.stdin.close()
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                    return outcomes, (at, f"Stopped: it ran for over {self.seconds} s.")
                chunk = os.read(process.stdout.fileno(), 2**16)
                received += len(chunk)
                if not chunk or received > MOST:
                    why = "sent too much" if chunk else "ended by itself (exit, or out of memory)"
                    return outcomes, (at, f"Stopped: the process {why}.")
                *lines, rest = (rest + chunk).split(b"\n")
                for step, kind, value in map(json.loads, lines):
                    if kind == "end":
                        return outcomes, None
                    if kind == "begin" and at < step:
                        at, deadline = step, time.monotonic() + self.seconds
                    elif kind in ("value", "error") and step == at:
                        outcomes.setdefault(at, {kind: value})
        except (OSError, ValueError, TypeError, RecursionError):
            return outcomes, (at, "Stopped: the process broke off.")
        finally:
            end(process)


def is_call(step):
    return isinstance(step, dict)


def end(process):
    """Kill the process and all that it started."""
    with LOCK:
        RUNNING.discard(process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def end_all():
    with LOCK:
        for process in RUNNING:
            os.killpg(process.pid, signal.SIGKILL)
