"""Runs a submission in bubblewrap: no network, nothing to be seen but what is bound, limits.

runner.py is the program inside. Here it is fed, listened to, and ended when a step takes too long.
"""

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

SYSTEM = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache"]
PROGRAMS = [str(HERE / "runner.py"), str(HERE / "checks.py")]
ENVIRONMENT = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
WRITABLE = 2**28  # bytes, in memory
LARGEST = 20 * 2**20  # bytes that a submission may send
RESTARTS = 6  # of a submission that had to be stopped
USERS = itertools.count()
RUNNING, LOCK = set(), threading.Lock()
NOT_HERE = """\
Submissions are run in bubblewrap, which does not work here: {}
Install it: sudo apt install bubblewrap (or dnf, pacman). Ubuntu from 24.04 on also asks for an
AppArmor profile, and macOS and Windows for assignment/Containerfile: see report/course.md.
If you trust the students: TRUST=1 limits time and memory, and protects from nothing else."""


class Sandbox:
    """How submissions are run on this machine, and with which limits.

    source is the folder for students, whose files a submission finds beside it. SystemExit says
    what to install where bubblewrap is missing. trust runs without it, never as root.
    """

    def __init__(self, source, seconds=20, megabytes=3000, trust=False):
        self.files = [path for path in sorted(source.iterdir()) if path.suffix != ".ipynb"]
        self.seconds, self.megabytes, self.trust = seconds, megabytes, trust
        self.root = os.geteuid() == 0
        if trust and self.root:
            raise SystemExit("TRUST=1 is not for root: a submission could delete everything")
        if not trust and not (shutil.which("bwrap") and shutil.which("setpriv")):
            raise SystemExit(NOT_HERE.format("there is no bwrap, or no setpriv of util-linux"))
        outcome = self.run([["import torch"]])[0][0]
        if "error" in outcome:
            tried = subprocess.run(self.command(), input="", capture_output=True, text=True)
            raise SystemExit(NOT_HERE.format(f"{outcome['error']} {tried.stderr[-300:]}"))

    def command(self):
        """The command that takes a job; inside, only /submission can be written."""
        python = [sys.executable, "-I", PROGRAMS[0]]
        if self.trust:
            return python
        separate = ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        command = ["bwrap", *(separate if self.root else ["--unshare-all"]), "--die-with-parent"]
        command += ["--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev"]
        for folder in ("/tmp", "/submission"):
            command += ["--size", str(WRITABLE), "--perms", "1777", "--tmpfs", folder]
        for path in filter(os.path.exists, SYSTEM):
            command += ["--ro-bind", path, path]
        for path in dict.fromkeys([sys.base_prefix, sys.prefix, *PROGRAMS]):
            for parent in reversed(list(Path(path).parents)[:-1]):
                command += ["--perms", "0755", "--dir", str(parent)]  # bwrap's own are root's alone
            command += ["--ro-bind", path, path] if path != "/usr" else []
        for path in self.files:
            command += ["--ro-bind", str(path), f"/submission/{path.name}"]
        command += ["--chdir", "/submission"]
        for name, value in (ENVIRONMENT | {"HOME": "/submission"}).items():
            command += ["--setenv", name, value]
        if self.root:
            user = 64000 + next(USERS) % 1000  # of its own, because its processes are counted
            command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "setpriv"]
            command += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*command, *python]

    def run(self, notebooks):
        """The outcome of each step of each notebook: {"value": ...} or {"error": "..."}.

        A step is the source of a cell, or a call: {"function": ..., "args": ..., "seed": ...}.
        After a step that had to be stopped, the notebook is run again without it.
        """
        steps = {(b, n): step for b, book in enumerate(notebooks) for n, step in enumerate(book)}
        outcomes, stopped = {}, set()
        for _ in range(1 + RESTARTS):
            unfinished = {book for book, number in steps if (book, number) not in outcomes}
            again = [place for place in steps if place[0] in unfinished and place not in stopped]
            again = [p for p in again if p not in outcomes or isinstance(steps[p], str)]
            if not again:
                break
            received, at, reason = self.attempt([(p[0], steps[p]) for p in again])
            outcomes = {again[number]: found for number, found in received.items()} | outcomes
            missing = [place for place in again if place not in outcomes]
            if at >= 0 and again[at] in missing:
                missing.insert(0, again[at])
            for place in missing[:1]:
                stopped.add(place)
                function = called(steps[place])  # whose other calls would do the same
                same = (p for p in missing if p[0] == place[0] and called(steps[p]) == function)
                stopped |= set(same) if function else set()
            outcomes |= {place: {"error": reason} for place in stopped if place not in outcomes}
        never = {"error": f"Not reached: the submission was stopped {1 + RESTARTS} times."}
        return [
            [outcomes.get((b, n), never) for n in range(len(book))]
            for b, book in enumerate(notebooks)
        ]

    def attempt(self, steps):
        """Run (notebook, step) pairs in one sandbox: what listen() returns."""
        job = json.dumps({"steps": steps, "megabytes": self.megabytes}).encode()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for path in self.files if self.trust else []:
                shutil.copy(path, folder)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            pipes["stderr"] = subprocess.DEVNULL
            environment = os.environ | ENVIRONMENT
            process = subprocess.Popen(
                self.command(), cwd=folder, env=environment, start_new_session=True, **pipes
            )
            with LOCK:
                RUNNING.add(process)
            try:
                process.stdin.write(job)
                process.stdin.close()
                return self.listen(process.stdout, len(steps))
            except OSError:
                return {}, -1, "Stopped: the process could not be started."
            finally:
                end(process)

    def listen(self, stream, count):
        """{number of a step: outcome}, the number of the step where it was stopped or -1, why."""
        outcomes, at, total, rest = {}, -1, 0, b""
        deadline = time.monotonic() + 60  # to start
        while total < LARGEST:
            wait = max(0, deadline - time.monotonic())
            if not select.select([stream], [], [], wait)[0]:
                return outcomes, at, f"Stopped: it ran for over {self.seconds} s."
            chunk = os.read(stream.fileno(), 2**16)
            total += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                try:
                    number, kind, value = json.loads(line)
                except (ValueError, TypeError, RecursionError):
                    return outcomes, at, "Stopped: the process broke off."
                if kind == "begin" and type(number) is int and at < number < count:
                    at, deadline = number, time.monotonic() + self.seconds
                elif kind in ("value", "error") and number == at:
                    outcomes.setdefault(at, {kind: value})
                elif kind == "end":
                    at, chunk = -1, b""
            if not chunk:
                return (
                    outcomes,
                    at,
                    "Stopped: the process ended by itself (exit, or out of memory).",
                )
        return outcomes, at, "Stopped: it returned too much."


def called(step):
    """The function that a step calls; None if it is a cell."""
    return None if isinstance(step, str) else step["function"]


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


def without_paths(sentence):
    """An error's text for students: without this machine's folders."""
    for folder in (sys.prefix, str(ROOT), sys.base_prefix):
        sentence = sentence.replace(folder, "…")
    return sentence
