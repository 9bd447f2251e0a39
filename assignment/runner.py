"""Runs one submission inside the sandbox; sandbox.py starts it. Each notebook has its own process.

It reads a job (JSON) from its input, and writes a line of JSON before and after each step: a
notebook's cells, then calls of its functions. What the functions return is judged elsewhere, in a
process that the submission cannot reach; the right answers never come here.
"""

import json
import os
import resource
import socket
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.meta_path[:] = [x for x in sys.meta_path if "editable" not in repr(x)]  # no mf_core here
import checks  # noqa: E402
from IPython.core.history import HistoryManager  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

sys.path.pop(0)
MEGABYTE = 2**20


class Shell(InteractiveShell):
    """IPython without a screen and without a prompt to leave."""

    def enable_gui(self, gui=None):
        pass

    def ask_exit(self):
        pass


def without_network(*_, **__):
    raise OSError("there is no network at marking")


def set_limits(megabytes):
    limits = {"AS": megabytes * MEGABYTE, "CORE": 0, "FSIZE": 64 * MEGABYTE, "NPROC": 64}
    for name, most in limits.items():
        if name != "NPROC" or os.getcwd() == "/submission":  # else it counts all of the user's
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def main():
    messages = os.fdopen(os.dup(1), "w")
    job = json.load(sys.stdin)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    set_limits(job["megabytes"])
    socket.socket.connect = socket.getaddrinfo = without_network  # a courtesy; bwrap is the wall
    HistoryManager.enabled = False
    sys.path.insert(0, os.getcwd())

    def say(*message):
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    steps = enumerate(job["steps"])
    for _, notebook in groupby(steps, key=lambda step: step[1][0]):
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            run_notebook(Shell.instance(), notebook, say)
            os._exit(0)
    say(None, "end", None)
    os._exit(0)


def run_notebook(shell, steps, say):
    """The steps, each a cell's source or a call of a function, whatever the others do."""
    for number, (_, step) in steps:
        say(number, "begin", None)
        try:
            if isinstance(step, str):
                result = shell.run_cell(step, store_history=False, silent=True)
                if error := result.error_before_exec or result.error_in_exec:
                    raise error
                say(number, "value", None)
            elif not callable(function := shell.user_ns.get(step["function"])):
                say(number, "error", f"There is no function {step['function']}.")
            else:
                value, changed = checks.call(function, step)
                say(number, "value", [checks.plain(value), changed])
        except BaseException as error:
            say(number, "error", f"{type(error).__name__}: {error}"[:400])


if __name__ == "__main__":
    main()
