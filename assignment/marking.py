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

from checks import explain, judge, listed
from sandbox import Sandbox, without_paths
from submissions import NOT_WRITTEN, Edition, choose, entries, file_name
from tasks import ROOT, all_tasks, cases, seed_of, with_answers


@dataclass
class Check:
    """One check of a task; slip is a known mistake, and text explains what is not right."""

    name: str
    points: float
    maximum: int
    slip: str | None
    text: str


@dataclass
class Mark:
    """The marks for a task; state is "look" where a person has to look at it."""

    task: str
    section: str
    maximum: int
    remark: str
    state: str
    checks: list

    @property
    def points(self):
        return sum(check.points for check in self.checks)


def run(name, path, sandbox, edition, seed):
    """Run a student's notebooks, and call the functions on inputs drawn from the name.

    Returns {task: [(case, outcome), ...]}, {task: remark on what was found}, and sentences on
    files and cells that have errors.
    """
    notebooks, notes = edition.read_entry(path)
    chosen = {task: choose(task, notebooks, notes) for task in all_tasks()}
    outcomes, jobs = {task: [] for task in chosen}, []
    for book in notebooks:
        if found := [all_tasks()[task] for task in chosen if chosen[task][0] is book]:
            needed = sorted({task.section for task in found})
            cells = [("a given cell", edition.setups[section]) for section in needed] + book.cells
            drawn = [(task.name, cases(task, seed_of(seed, name, task.name))) for task in found]
            calls = [{"function": task, **case} for task, inputs in drawn for case in inputs]
            jobs.append((cells, calls))
    steps = [[source for _, source in cells] + calls for cells, calls in jobs]
    for (cells, calls), received in zip(jobs, sandbox.run(steps) if jobs else [], strict=True):
        for (label, _), outcome in zip(cells, received, strict=False):
            if "NotImplementedError" not in (error := outcome.get("error", "NotImplementedError")):
                notes.append(f"{label}: {without_paths(error)}")
        for case, outcome in zip(calls, received[len(cells) :], strict=True):
            outcomes[case["function"]].append((case, outcome))
    return outcomes, {task: remark for task, (_, remark) in chosen.items()}, notes


def mark_task(task, outcomes, remark, charged):
    """The marks for one task, from what its calls gave and a remark on what was found.

    A known mistake keeps half of a check's points. charged, {slip: task}, has those that were
    charged in a task before: they are not charged again.
    """
    slips = {known["means"]: known.get("slip", known["means"]) for known in task.mistakes}
    maximum = sum(case["points"] for case in task.cases)
    mark = Mark(
        task.name, task.section, maximum, "", "look" * (remark not in ("", NOT_WRITTEN)), []
    )
    slip = None
    for case, outcome in outcomes:
        meaning, text, before, slip = None, "", slip, None
        if "NotImplementedError" in outcome.get("error", ""):
            meaning = text = NOT_WRITTEN
        elif "error" in outcome:
            meaning = without_paths(outcome["error"])
            text = explain(with_answers(task, case, mistakes=False), meaning)
        elif judge(with_answers(task, case, mistakes=False), *outcome["value"]):
            case, (value, changed) = with_answers(task, case), outcome["value"]
            meaning = judge(case, value, changed)
            text = explain(case, listed(case, value), meaning)
            slip = "changes" if meaning.startswith("It changes") else slips.get(meaning)
            if len(mark.checks) > 1:  # what follows from a slip in a step is not always recognised
                slip = slip or before
        share = 1 if not meaning or slip in charged else 0.5 if slip else 0
        mark.checks.append(Check(case["name"], share * case["points"], case["points"], slip, text))
        mark.remark = mark.remark or meaning or ""
        if meaning and not slip and meaning != NOT_WRITTEN:
            mark.state = "look"
    for slip in {check.slip for check in mark.checks} - {None}:
        if charged.setdefault(slip, task.name) != task.name:
            mark.remark += f" The same as in {charged[slip]}: not charged again."
    mark.remark = f"{mark.remark} {remark}".strip()
    return mark


def feedback(name, marks, notes):
    """A student's page, in Markdown. What a student may have written is in blocks of code alone."""
    total, maximum = sum(mark.points for mark in marks), sum(mark.maximum for mark in marks)
    parts = [f"# Feedback for {file_name(name)}", f"**{total:g} of {maximum} points.**"]
    parts += ["Your functions were run on inputs of your own, drawn from the name above."]
    for mark in marks:
        parts.append(f"## {mark.section} {mark.task}: {mark.points:g} of {mark.maximum} points")
        if mark.state:
            parts.append("The checks do not know what happened here: a person will look at it.")
        if not mark.checks:
            parts.append(fenced(mark.remark))
        before = ""
        for check in mark.checks:
            sign = "✗" if check.text else "✓"
            parts.append(f"{sign} {check.name}: {check.points:g} of {check.maximum}")
            if check.text and check.text != before:
                parts.append(fenced(check.text))
            before = check.text
    if notes:
        parts += ["## What happened when your notebooks were run", fenced("\n".join(notes))]
        parts += ["A cell that stops costs no points by itself. The cells after it were run."]
    return "\n\n".join(parts) + "\n"


def fenced(text):
    """The text as a block of code, whose fence is longer than any in the text."""
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
    return f"{fence}text\n{text}\n{fence}"


def in_cell(text):
    """The text in a line, of which no spreadsheet makes a formula."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(tuple("=+-@")) else line


def write(folder, results):
    """A row for each student and task in points.csv, and a page for each student in feedback/."""
    (folder / "feedback").mkdir(parents=True)
    with open(
        folder / "points.csv", "x", encoding="utf-8-sig", errors="replace", newline=""
    ) as file:
        table = csv.writer(file)  # utf-8-sig: with the mark by which Excel knows UTF-8
        table.writerow("name task points maximum remark state".split())
        for name, marks, notes in results:
            for x in marks:
                row = [
                    in_cell(name),
                    x.task,
                    f"{x.points:g}",
                    x.maximum,
                    in_cell(x.remark),
                    x.state,
                ]
                table.writerow(row)
            page = feedback(name, marks, notes).encode(errors="replace")
            (folder / "feedback" / f"{file_name(name)}.md").write_bytes(page)


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
    waiting = {pool.submit(run, name, path, *same_for_all): name
               for name, path in entries(submissions).items()}  # fmt: skip
    for number, job in enumerate(as_completed(waiting), 1):
        name, charged = waiting[job], {}
        try:
            outcomes, remarks, notes = job.result()
            found = [
                mark_task(task, outcomes[n], remarks[n], charged) for n, task in all_tasks().items()
            ]
        except Exception as error:  # one student's must not stop the others' marking
            remark, notes = f"It cannot be marked: {error!r:.200}", []
            found = [mark_task(task, [], remark, {}) for task in all_tasks().values()]
        results.append((name, found, notes))
        points, look = sum(x.points for x in found), sum(x.state == "look" for x in found)
        print(
            f"{number}/{len(waiting)} {name}: {points:g} points, {look} to look at",
            *notes[:3],
            flush=True,
        )
    results.sort(key=lambda result: result[0])
    write(folder, results)
    print(f"See {folder}/points.csv; the rows whose state is look need a person.")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--marks", type=Path, help="a new folder for the results")
    parser.add_argument("--trust", action="store_true", help="limits only, without a sandbox")
    sys.stdout.reconfigure(errors="replace")  # names may be anything
    mark_all(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted: nothing is written; run the same command again", flush=True)
        os._exit(1)  # without waiting for what runs, which ends with us
