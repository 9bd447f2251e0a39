"""Runs one submission, shut in; marking.py starts it, and here each notebook has its own process.

It reads a job (JSON) from its input, and writes a line of JSON before and after each step: a
notebook's cells, then calls of its functions. What the functions return is judged elsewhere, in a
process that the submission cannot reach; the right answers never come here.
"""

import ctypes
import json
import os
import resource
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.meta_path[:] = [x for x in sys.meta_path if "editable" not in repr(x)]  # no mf_core here
import checks  # noqa: E402
from IPython.core.history import HistoryManager  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

sys.path.pop(0)
LIBC = ctypes.CDLL(None, use_errno=True)
BIND, RECURSIVE, READ_ONLY = 4096, 16384, 1
MEGABYTE = 2**20
FINISHED = 77  # exit code of a notebook's process that reached its end


def succeed(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source, target, kind=None, flags=0, data=None):
    words = [None if x is None else os.fsencode(x) for x in (source, target, kind, data)]
    succeed(LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]))


def change_mount(path, recursive, on=0, off=0):
    """mount_setattr(2): flags on and off, for all mounts below the path if recursive."""
    what = (ctypes.c_uint64 * 4)(on, off, 0, 0)
    flags = 0x8000 if recursive else 0
    succeed(LIBC.syscall(442, -100, os.fsencode(path), flags, ctypes.byref(what), 32))


def hide_and_lock(hidden, kept, copy):
    """In this process's own namespace: empty the hidden folders, make all but copy read-only."""
    kept = [(os.open(path, os.O_PATH), path) for path in [*kept, copy]]
    for path in hidden:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", 0, "mode=755,size=1m")
    for number, path in kept:
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{number}", path, None, BIND | RECURSIVE)
        os.close(number)
    change_mount("/", True, on=READ_ONLY)
    change_mount(copy, False, off=READ_ONLY)


def give_up_rights(uid, limits):
    """Set the limits; become another user, or drop root's capabilities; regain none ever."""
    limits = limits | {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 64 * MEGABYTE}
    limits |= {"RLIMIT_NPROC": 64} if uid else {}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if uid:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    elif sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        succeed(LIBC.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())))
    if sys.platform == "linux":
        succeed(LIBC.prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS


class Shell(InteractiveShell):
    """IPython without a screen and without a prompt to leave."""

    def enable_gui(self, gui=None):
        pass

    def ask_exit(self):
        pass


def without_network(*_, **__):
    raise OSError("there is no network at marking")


def run_cell(shell, source):
    result = shell.run_cell(source, store_history=False, silent=True)
    if trouble := result.error_before_exec or result.error_in_exec:
        raise trouble


def main():
    out = os.fdopen(os.dup(1), "w")
    job = json.load(sys.stdin)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.chdir(job["copy"])
    if job["namespaces"]:
        hide_and_lock(job["hidden"], job["kept"], job["copy"])
        os.chdir(job["copy"])
    give_up_rights(job["uid"], job["limits"])
    socket.socket.connect = socket.getaddrinfo = (
        without_network  # a courtesy where there is no wall
    )
    HistoryManager.enabled = False
    sys.path.insert(0, job["copy"])

    def say(*message):
        out.write(json.dumps(message) + "\n")
        out.flush()

    for steps in job["notebooks"]:
        if child := os.fork():
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != FINISHED:
                os._exit(1)  # which tells marking.py
        else:
            run_notebook(Shell.instance(), steps, say)
            os._exit(FINISHED)
    say(None, "end", None)
    os._exit(0)


def run_notebook(shell, steps, say):
    """The steps, (number, source of a cell or call of a function), each whatever the others do."""
    for number, step in steps:
        say(number, "begin", None)
        try:
            if isinstance(step, str):
                run_cell(shell, step)
                say(number, "value", None)
            elif not callable(function := shell.user_ns.get(step["function"])):
                say(number, "error", f"There is no function {step['function']}.")
            else:
                say(number, "value", checks.plain(checks.call(function, step)))
        except BaseException as error:
            say(number, "error", f"{type(error).__name__}: {error}"[:400])


if __name__ == "__main__":
    main()
