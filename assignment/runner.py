"""Runs one submission inside the sandbox; sandbox.py starts it with a job (JSON) as its input.

Each notebook runs in a process of its own, which begins again without a step that took too long or
ended it. What the functions return is judged elsewhere, in a process that the submission cannot
reach; the right answers never come here.
"""

import json
import os
import resource
import sys
from multiprocessing import get_context

sys.path.insert(0, os.getcwd())  # where the files for students are
import checks
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell

MEGABYTE = 2**20
LARGEST = 20 * MEGABYTE  # bytes of what a step gives


def outcomes_of(steps, seconds):
    """The outcome of each step of a notebook: {"value": ...} or {"error": "..."}.

    A step is the source of a cell or a call of a function. With a call that had to be stopped, the
    other calls of its function are left out.
    """
    cells = {n for n, step in enumerate(steps) if isinstance(step, str)}
    functions = [n if n in cells else step["function"] for n, step in enumerate(steps)]
    outcomes = {}
    while len(outcomes) < len(steps):
        todo = [n for n in range(len(steps)) if n in cells or n not in outcomes]
        received, reason = attempt([steps[n] for n in todo], seconds)
        outcomes |= dict(zip(todo, received, strict=False))
        if rest := todo[len(received) :]:
            cells.discard(rest[0])
            same = [n for n in rest if functions[n] == functions[rest[0]]]
            outcomes |= dict.fromkeys(same, {"error": f"Stopped: {reason}"})
    return [outcomes[n] for n in range(len(steps))]


def attempt(steps, seconds):
    """Run the steps in a new process: the outcomes until one must be stopped, and why it was."""
    fork = get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=run, args=(steps, theirs))
    process.start()
    theirs.close()
    outcomes, reason = [], ""
    try:
        while len(outcomes) < len(steps) and not reason:
            if ours.poll(seconds):
                outcomes.append(json.loads(ours.recv_bytes(LARGEST)))
            else:
                reason = f"it ran for over {seconds} s."
    except (OSError, EOFError, ValueError):
        reason = "the process ended by itself (exit, or out of memory), or returned too much."
    process.kill()
    process.join()
    return outcomes, reason


def run(steps, pipe):
    """Run the steps, whatever the others do; send the outcome of each."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    shell = InteractiveShell.instance()
    for step in steps:
        try:
            if isinstance(step, str):
                shell.run_cell(step, store_history=False, silent=True).raise_error()
                outcome = {"value": None}
            else:
                outcome = call(shell, step)
        except BaseException as error:
            outcome = checks.failed(error)
        pipe.send_bytes(json.dumps(outcome).encode())


def call(shell, step):
    """The outcome of a function, whose imports and functions run alone if its cell has failed."""
    is_rescued = step["function"] not in shell.user_ns
    for source in step["rescue"] if is_rescued else []:
        shell.run_cell(source, store_history=False, silent=True)
    if step["function"] not in shell.user_ns:
        raise NameError(f"There is no function {step['function']}.")
    return checks.call(shell.user_ns[step["function"]], step) | {"rescued": is_rescued}


if __name__ == "__main__":
    job = json.load(sys.stdin)
    limits = {"AS": job["megabytes"] * MEGABYTE, "FSIZE": 64 * MEGABYTE, "NPROC": 64}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    HistoryManager.enabled = False
    InteractiveShell.enable_gui = lambda *_: None  # there is no screen
    json.dump([outcomes_of(steps, job["seconds"]) for steps in job["notebooks"]], sys.stdout)
