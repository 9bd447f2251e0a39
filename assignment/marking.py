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
from typing import NamedTuple

from checks import explain, judge, listed
from sandbox import Sandbox, without_paths
from submissions import NOT_WRITTEN, Edition, choose, entries, file_name
from tasks import ROOT, all_tasks, cases, seed_of, with_answers


class Check(NamedTuple):
    """One check of a task; slip is a known mistake, and text explains what is not right."""

    name: str
    points: float
    maximum: int
    slip: str | None
    text: str


@dataclass
class Mark:
    """The marks for a task; state is "look" where a person has to look at it."""

    task: object
    remark: str
    state: str
    checks: list[Check]

    @property
    def points(self):
        return sum(check.points for check in self.checks)


def run(name, path, sandbox, edition, seed):
    """Run a student's notebooks, and call the functions on inputs drawn from the name.

    Returns {task: [(case, outcome), ...]}, {task: remark on where it was found}, and sentences on
    files and cells that have errors.
    """
    notebooks, notes = edition.read_entry(path)
    chosen = {task: choose(task, notebooks, notes) for task in all_tasks()}
    outcomes, jobs = {task: [] for task in chosen}, []
    for book in notebooks:
        if found := [all_tasks()[task] for task in chosen if chosen[task][0] is book]:
            drawn = [(task.name, cases(task, seed_of(seed, name, task.name))) for task in found]
            calls = [{"function": task, **case} for task, inputs in drawn for case in inputs]
            jobs.append((edition.set_up(found) + book.cells, calls))
    steps = [[source for _, source in cells] + calls for cells, calls in jobs]
    for (cells, calls), received in zip(jobs, sandbox.run(steps) if jobs else [], strict=True):
        for (label, _), outcome in zip(cells, received, strict=False):
            if "error" in outcome and "NotImplementedError" not in outcome["error"]:
                notes.append(f"{label}: {without_paths(outcome['error'])}")
        for case, outcome in zip(calls, received[len(cells) :], strict=True):
            outcomes[case["function"]].append((case, outcome))
    return outcomes, {task: remark for task, (_, remark) in chosen.items()}, notes


def mark_task(task, outcomes, remark, charged):
    """The marks for a task, from the outcomes of its calls and a remark on where it was found.

    A known mistake keeps half of a check's points. charged, {slip: task}, has those that were
    charged in a task before: they are not charged again.
    """
    mark = Mark(task, "", "" if remark in ("", NOT_WRITTEN) else "look", [])
    for case, outcome in outcomes:
        meaning, slip, text = diagnose(task, case, outcome)
        if meaning and "value" in outcome and len(mark.checks) > 1:
            slip = slip or mark.checks[-1].slip  # what follows from a slip is not always recognised
        share = 1 if not meaning or slip in charged else 0.5 if slip else 0
        mark.checks.append(Check(case["name"], share * case["points"], case["points"], slip, text))
        mark.remark = mark.remark or meaning
        if meaning not in ("", NOT_WRITTEN) and not slip:
            mark.state = "look"
    for slip in {check.slip for check in mark.checks if check.slip}:
        if charged.setdefault(slip, task.name) != task.name:
            mark.remark += f" The same as in {charged[slip]}: not charged again."
    mark.remark = f"{mark.remark} {remark}".strip()
    return mark


def diagnose(task, case, outcome):
    """What is wrong with a call, "" if nothing; which known slip it is; and all that helps."""
    if "NotImplementedError" in outcome.get("error", ""):
        return NOT_WRITTEN, None, NOT_WRITTEN
    asked = with_answers(task, case, mistakes=False)
    if "error" in outcome:
        meaning = without_paths(outcome["error"])
        return meaning, None, explain(asked, meaning)
    value, changed = outcome["value"]
    if not judge(asked, value, changed):
        return "", None, ""
    asked = with_answers(task, case)
    meaning = judge(asked, value, changed)
    slips = {known["means"]: known.get("slip", known["means"]) for known in task.mistakes}
    slip = "changes" if meaning.startswith("It changes") else slips.get(meaning)
    return meaning, slip, explain(asked, listed(asked, value), meaning)


def feedback(name, marks, notes):
    """A student's page, in Markdown. What a student may have written is in blocks of code alone."""
    points, most = sum(mark.points for mark in marks), sum(mark.task.points for mark in marks)
    page = f"# Feedback for {file_name(name)}\n\n**{points:g} of {most} points.** Your functions "
    page += "were run on inputs of your own, drawn from this name.\n"
    for mark in marks:
        title = f"{mark.task.section} {mark.task.name}"
        page += f"\n## {title}: {mark.points:g} of {mark.task.points} points\n\n"
        if mark.state:
            page += "The checks do not recognise what happened: a person looks at it.\n\n"
        blocks = {} if mark.checks else {"": mark.remark}
        for name, points, most, slip, text in mark.checks:
            before = " (charged before)" if text and points == most else ""
            page += f"- {'✗' if text else '✓'} {name}: {points:g} of {most}{before}\n"
            blocks.setdefault(slip or text, text)  # each mistake once
        page += "".join(map(fenced, filter(None, blocks.values())))
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
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(tuple("=+-@")) else line


def write(folder, results):
    """A row for each student and task in points.csv, and a page for each student in feedback/."""
    (folder / "feedback").mkdir(parents=True)
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


def mark_all(submissions, build, marks=None, jobs=None, **limits):
    """Mark all entries of the folder submissions; return [(name, marks, notes), ...].

    The folder marks gets the results, and must be new or empty; by default it is a new one with
    date and time in its name.
    """
    source = (build / "assignment").resolve()
    if not source.is_dir() or not (build / "seed.txt").is_file():
        raise SystemExit(f"{source} is not there: run `make assignment` first, as you set it")
    if not submissions.is_dir():
        raise SystemExit(f"SUBMISSIONS is {str(submissions)!r}, which is not a folder")
    folder = marks or build / "marks" / f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} has files in it, which stay: name a new folder by MARKS=folder")
    same_for_all = Sandbox(source, **limits), Edition(source), (build / "seed.txt").read_text()
    pool, results = ThreadPoolExecutor(jobs or os.cpu_count()), []
    waiting = {pool.submit(run, *x, *same_for_all): x[0] for x in entries(submissions).items()}
    for number, job in enumerate(as_completed(waiting), 1):
        outcomes, remarks, notes = {}, {}, []
        try:
            outcomes, remarks, notes = job.result()
            charged = {}
            found = [mark_task(x, outcomes[n], remarks[n], charged) for n, x in all_tasks().items()]
        except Exception as error:  # one student's must not stop the others' marking
            remark = f"It cannot be marked: {error!r:.200}"
            found = [mark_task(task, [], remark, {}) for task in all_tasks().values()]
        results.append((waiting[job], found, notes))
        points, look = sum(x.points for x in found), sum(x.state == "look" for x in found)
        done = f"{number}/{len(waiting)} {waiting[job]}: {points:g} points, {look} to look at."
        print(done, *notes[:3], flush=True)
    results.sort(key=lambda result: result[0])
    write(folder, results)
    print(f"See {folder}/points.csv, where the state is look, and {folder}/feedback.")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--marks", type=Path, help="a new folder for the results")
    sys.stdout.reconfigure(errors="replace")  # names may be anything
    mark_all(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted: nothing is written; run the same command again", flush=True)
        os._exit(1)  # without waiting for what runs, which ends with us
