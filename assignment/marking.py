"""Marks submissions: `make mark SUBMISSIONS=folder`, which has one entry for each student.

The submission's functions run in a sandbox, on inputs drawn from the student's name; here their
values are compared with the solution's. What nobody recognises is left for a person to look at.
"""

import argparse
import csv
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sandbox import Sandbox
from submissions import NOT_WRITTEN, Edition, entries, file_name, find
from tasks import ROOT, all_tasks, cases, seed_of

from mf_check import A_LIST, CHANGES, differing, explain, recognise
from mf_exercise import with_answers

ALONE = "Its imports and functions were run alone."  # the rest of its cell fails, or is no code


@dataclass
class Mark:
    """What a task gets, and what its student reads; state is "look" where a person has to look."""

    task: object
    remark: str = ""
    state: str = ""
    points: float = 0
    page: str = ""


def run(path, drawn, sandbox, edition):
    """Run a student's notebooks, and call the functions on the cases drawn for them.

    Returns (task, [(case, outcome), ...], where it was found) for all tasks, and sentences on files
    and cells with errors.
    """
    notebooks, notes = edition.read_entry(path)
    found = {name: find(name, notebooks) for name in all_tasks()}
    outcomes, jobs = {name: [] for name in found}, []
    for book in notebooks:
        if names := [name for name in found if found[name].book is book]:
            where = {
                x: {"task": x, "function": found[x].name, "rescue": found[x].rescue} for x in names
            }
            calls = [where[name] | case for name in names for case in drawn[name]]
            setups = dict.fromkeys(all_tasks()[name].section for name in names)
            jobs.append(([edition.setups[section] for section in setups] + book.cells, calls))
    steps = [[source for _, source in cells] + calls for cells, calls in jobs]
    for (cells, calls), received in zip(jobs, sandbox.run(steps) if jobs else [], strict=True):
        for (label, _), outcome in zip(cells, received, strict=False):
            if "error" in outcome and "NotImplementedError" not in outcome["error"]:
                notes.append(f"{label}: {outcome['error']}")
        for case, outcome in zip(calls, received[len(cells) :], strict=True):
            outcomes[case["task"]].append((case, outcome))
    return [(task, outcomes[name], found[name]) for name, task in all_tasks().items()], notes


def mark_task(task, outcomes, found, charged):
    """The marks for a task, from the outcomes of its calls and from where it was found.

    Each known mistake halves a check's points; a changed input, those of the first check alone.
    charged, {slip: task}, has the mistakes of tasks before: they are not charged again, unless the
    run gets worse with every step.
    """
    mark, remarks, slips, texts = Mark(task, state=found.state), [found.remark], {}, {}
    known = {mistake["means"]: mistake for mistake in task.mistakes}
    for case, outcome in outcomes:
        asked = with_answers(task, case, most=2)
        points, meanings = case["points"], recognise(asked, outcome)
        if meanings is None:
            is_written = "NotImplementedError" not in outcome.get("error", "")
            mark.state = "look" if is_written else mark.state
            points, meanings = 0, [differing(asked, outcome) if is_written else NOT_WRITTEN]
        meanings = [meaning for meaning in meanings if meaning != A_LIST]
        for meaning in meanings if points else []:
            mistake, is_charged = known.get(meaning, {}), meaning == CHANGES and meaning in slips
            slip = slips[meaning] = mistake.get("slip", meaning)
            if slip not in charged or mistake.get("always"):
                points /= 1 if is_charged else 2
            else:
                remarks += [meaning, f"The same as in {charged[slip]}: not charged again."]
        sign = "✗" if meanings else "✓"
        mark.page += f"- {sign} {case['name']}: {points:g} of {case['points']}\n"
        mark.points += points
        remarks += meanings + [ALONE] * bool(outcome.get("rescued"))
        if meanings and meanings != [NOT_WRITTEN]:
            texts.setdefault(tuple(meanings), fenced(explain(asked, outcome, meanings)))
    for slip in slips.values():
        charged.setdefault(slip, task.name)
    mark.remark = " ".join(filter(None, dict.fromkeys(remarks)))
    mark.page += "".join(texts.values()) or (fenced(mark.remark) if mark.remark else "")
    return mark


def feedback(name, marks, notes):
    """A student's page, in Markdown. What a student may have written is in blocks of code alone."""
    points, most = sum(mark.points for mark in marks), sum(mark.task.points for mark in marks)
    page = f"# Feedback for {file_name(name)}\n\n**{points:g} of {most} points.** Your functions "
    page += "were run on inputs of your own, drawn from this name.\n"
    for mark in marks:
        title = f"{mark.task.section} {mark.task.name}"
        page += f"\n## {title}: {mark.points:g} of {mark.task.points} points\n\n"
        if mark.state:
            page += "The checks do not recognise all that happened: a person looks at it.\n\n"
        page += mark.page
    if notes:
        page += "\n## When your notebooks were read and run\n" + fenced("\n".join(notes))
        page += "\nA cell that stops costs no points by itself. The cells after it were run.\n"
    return page


def fenced(text):
    """The text as a block of code, whose fence is longer than any in the text."""
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
    return f"\n{fence}text\n{text}\n{fence}\n"


def in_cell(text):
    """The text in a line, of which no spreadsheet makes a formula."""
    return re.sub("^(?=[=+@-])", "'", " ".join(text.split()))


def write(folder, results):
    """A row for each student and task in points.csv, and a page for each student in feedback/."""
    (folder / "feedback").mkdir()
    rows = [["name", "task", "points", "maximum", "remark", "state"]]
    for name, marks, notes in results:
        for mark in marks:
            figures = f"{mark.points:g}", mark.task.points
            rows.append([in_cell(name), mark.task.name, *figures, in_cell(mark.remark), mark.state])
        page = feedback(name, marks, notes).encode(errors="replace")
        (folder / "feedback" / f"{file_name(name)}.md").write_bytes(page)
    table = folder / "points.csv"  # utf-8-sig has the mark by which Excel knows UTF-8
    with table.open("x", encoding="utf-8-sig", errors="replace", newline="") as file:
        csv.writer(file).writerows(rows)


def mark_all(submissions, build, folder=None, jobs=None, **limits):
    """Mark all entries of the folder submissions; return [(name, marks, notes), ...].

    The folder for the results must be new or empty; by default it is a new one with date and time
    in its name.
    """
    source = (build / "assignment").resolve()
    if not source.is_dir() or not (build / "seed.txt").is_file():
        raise SystemExit(f"{source} is not there: run `make assignment` first, as you set it")
    if not submissions.is_dir() or not entries(submissions):
        raise SystemExit(f"SUBMISSIONS={submissions} is not a folder, or has no submission in it")
    folder = folder or build / "marks" / f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} has files in it, which stay: name a new folder by MARKS=folder")
    same, seed = (Sandbox(source, **limits), Edition(source)), (build / "seed.txt").read_text()
    pool, results = ThreadPoolExecutor(jobs or os.cpu_count()), []
    waiting = {}
    for name, path in entries(submissions).items():  # what draws the cases is not for threads
        drawn = {x: cases(task, seed_of(seed, name, x)) for x, task in all_tasks().items()}
        waiting[pool.submit(run, path, drawn, *same)] = name
    for number, job in enumerate(as_completed(waiting), 1):
        try:
            (found, notes), charged = job.result(), {}
            marks = [mark_task(*x, charged) for x in found]
        except Exception as error:  # one student's must not stop the others' marking
            notes = [f"It cannot be marked: {error!r:.200}"]
            marks = [Mark(task, notes[0], "look") for task in all_tasks().values()]
        results.append((waiting[job], marks, notes))
        points, look = sum(x.points for x in marks), sum(x.state == "look" for x in marks)
        done = f"{number}/{len(waiting)} {waiting[job]}: {points:g} points, {look} to look at."
        print(done, *notes[:3], flush=True)
    results.sort(key=lambda result: result[0])
    write(folder, results)
    print(f"See {folder}/points.csv, where the state is look, and {folder}/feedback.")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--marks", type=Path, dest="folder", help="a new one")
    sys.stdout.reconfigure(errors="replace")  # names may be anything
    try:
        mark_all(**vars(parser.parse_args()))
    except KeyboardInterrupt:
        print("interrupted: nothing is written; run the same command again", flush=True)
        os._exit(1)  # without waiting for what runs, which ends with us
