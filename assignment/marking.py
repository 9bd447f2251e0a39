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
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from checks import explain, judge, listed
from sandbox import Sandbox, without_paths
from submissions import NOT_WRITTEN, Edition, choose, entries, file_name
from tasks import ROOT, all_tasks, cases, seed_of, with_answers


@dataclass
class Mark:
    """What a task gets; state is "look" where a person has to look at it.

    checks has a line for each check, texts what is to be said of each mistake, once.
    """

    task: object
    remark: str = ""
    state: str = ""
    points: float = 0
    checks: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)


def run(name, path, sandbox, edition, seed):
    """Run a student's notebooks, and call the functions on inputs drawn from the name.

    Returns (task, [(case, outcome), ...], remark on where it was found) for all tasks, and
    sentences on files and cells with errors.
    """
    notebooks, notes = edition.read_entry(path)
    chosen = {task: choose(task, notebooks) for task in all_tasks()}
    outcomes, jobs = {task: [] for task in chosen}, []
    for book in notebooks:
        if found := [all_tasks()[task] for task in chosen if chosen[task][0] is book]:
            drawn = [(task.name, cases(task, seed_of(seed, name, task.name))) for task in found]
            calls = [{"function": task, **case} for task, inputs in drawn for case in inputs]
            setups = [edition.setups[section] for section in sorted({x.section for x in found})]
            jobs.append((setups + book.cells, calls))
    steps = [[source for _, source in cells] + calls for cells, calls in jobs]
    for (cells, calls), received in zip(jobs, sandbox.run(steps) if jobs else [], strict=True):
        for (label, _), outcome in zip(cells, received, strict=False):
            if "error" in outcome and "NotImplementedError" not in outcome["error"]:
                notes.append(f"{label}: {without_paths(outcome['error'])}")
        for case, outcome in zip(calls, received[len(cells) :], strict=True):
            outcomes[case["function"]].append((case, outcome))
    return [(x, outcomes[x.name], chosen[x.name][1]) for x in all_tasks().values()], notes


def mark_task(task, outcomes, found, charged):
    """The marks for a task, from the outcomes of its calls and a remark on where it was found.

    A known mistake keeps half of a check's points. charged, {slip: task}, has those that were
    charged in tasks before: they are not charged again.
    """
    mark, slips = Mark(task, state="" if found in ("", NOT_WRITTEN) else "look"), []
    for case, outcome in outcomes:
        meaning, slip, text = diagnose(task, case, outcome)
        if meaning and "value" in outcome and len(slips) > 1:
            slip = slip or slips[-1]  # what follows from a slip in a step is not always recognised
        points = (1 if not meaning or slip in charged else 0.5 if slip else 0) * case["points"]
        line = f"- {'✗' if meaning else '✓'} {case['name']}: {points:g} of {case['points']}"
        mark.checks.append(line + (f" (charged in {charged[slip]})" if slip in charged else ""))
        mark.texts.setdefault(slip or text, text)
        mark.points += points
        mark.remark = mark.remark or meaning
        if meaning not in ("", NOT_WRITTEN) and not slip:
            mark.state = "look"
        slips.append(slip)
    for again in sorted({charged[slip] for slip in slips if slip in charged}):
        mark.remark += f" The same as in {again}: not charged again."
    charged |= {slip: task.name for slip in slips if slip and slip not in charged}
    mark.remark = f"{mark.remark} {found}".strip()
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
            page += "The checks do not recognise all that happened: a person looks at it.\n\n"
        page += "\n".join(mark.checks) + "\n"
        texts = mark.texts.values() if mark.checks else [mark.remark]
        page += "".join(fenced(text) for text in texts if text)
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
    same_for_all = Sandbox(source, **limits), Edition(source), (build / "seed.txt").read_text()
    pool, results = ThreadPoolExecutor(jobs or os.cpu_count()), []
    waiting = {pool.submit(run, *x, *same_for_all): x[0] for x in entries(submissions).items()}
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--marks", type=Path, dest="folder", help="a new one")
    sys.stdout.reconfigure(errors="replace")  # names may be anything
    mark_all(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted: nothing is written; run the same command again", flush=True)
        os._exit(1)  # without waiting for what runs, which ends with us
