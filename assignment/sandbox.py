"""Runs a submission in bubblewrap: no network, nothing to be seen but what is bound, limits.

runner.py is the program inside, which runs the steps one by one.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tasks import HERE

SYSTEM = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache"]
RUNNER = str(HERE / "runner.py")
ENVIRONMENT = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
ENVIRONMENT |= {"HOME": "/submission"}
WRITABLE = 2**28  # bytes, in memory
PATIENCE = 20  # times the seconds of a step: the most for a whole submission
USERS = itertools.count()
NOT_HERE = """\
Submissions are run in bubblewrap, which does not work here: {}
Install it: sudo apt install bubblewrap (or dnf, pacman). Ubuntu from 24.04 on also asks for an
AppArmor profile, and macOS and Windows for assignment/Containerfile: see report/course.md."""


class Sandbox:
    """How submissions are run on this machine, and with which limits.

    source is the folder for students, whose files a submission finds beside it. SystemExit says
    what to install where bubblewrap is missing.
    """

    def __init__(self, source, seconds=20, megabytes=3000):
        self.files = [path for path in sorted(source.iterdir()) if path.suffix != ".ipynb"]
        self.seconds, self.megabytes = seconds, megabytes
        self.root = os.geteuid() == 0
        if not (shutil.which("bwrap") and shutil.which("setpriv")):
            raise SystemExit(NOT_HERE.format("there is no bwrap, or no setpriv of util-linux"))
        if "error" in self.run([["import torch"]])[0][0]:
            tried = subprocess.run(self.command(), input="", capture_output=True, text=True)
            raise SystemExit(NOT_HERE.format(tried.stderr[-300:]))

    def command(self):
        """The command that takes a job; inside, only /submission can be written."""
        separate = ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        command = ["bwrap", *(separate if self.root else ["--unshare-all"]), "--die-with-parent"]
        command += ["--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev"]
        for folder in ("/tmp", "/submission"):
            command += ["--size", str(WRITABLE), "--perms", "1777", "--tmpfs", folder]
        for path in filter(os.path.exists, SYSTEM):
            command += ["--ro-bind", path, path]
        for path in dict.fromkeys([sys.base_prefix, sys.prefix, RUNNER]):
            for parent in reversed(list(Path(path).parents)[:-1]):
                command += ["--perms", "0755", "--dir", str(parent)]  # bwrap's own are root's alone
            command += ["--ro-bind", path, path] if path != "/usr" else []
        for path in self.files:
            command += ["--ro-bind", str(path), f"/submission/{path.name}"]
        command += ["--chdir", "/submission"]
        for name, value in ENVIRONMENT.items():
            command += ["--setenv", name, value]
        if self.root:
            user = 64000 + next(USERS) % 1000  # of its own, because its processes are counted
            command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "setpriv"]
            command += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*command, sys.executable, "-I", RUNNER]

    def run(self, notebooks):
        """The outcome of each step of each notebook: {"value": ...} or {"error": "..."}.

        A step is the source of a cell, or a call: {"function": ..., "args": ..., "seed": ...}.
        """
        job = {"notebooks": notebooks, "seconds": self.seconds, "megabytes": self.megabytes}
        with tempfile.TemporaryFile() as results:
            streams = {"stdin": subprocess.PIPE, "stdout": results, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(self.command(), **streams, start_new_session=True)
            reason = "Stopped: the submission ended what runs it."
            try:
                process.communicate(json.dumps(job).encode(), timeout=PATIENCE * self.seconds)
            except subprocess.TimeoutExpired:
                reason = f"Stopped: the submission ran for over {PATIENCE * self.seconds} s."
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            results.seek(0)
            try:
                return json.load(results)
            except ValueError:
                return [[{"error": reason}] * len(steps) for steps in notebooks]
