"""Marks submissions: `make mark SUBMISSIONS=folder`, with what a learning platform handed out.

The submission's functions run in a sandbox, on inputs drawn from the student's name; here their
values are compared with the solution's. An interrupted marking is continued where it was.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import gradebook
from checks import explain, judge
from gradebook import code_of, replace
from jinja2 import Environment, FileSystemLoader
from sandbox import Sandbox, without_paths
from submissions import Edition, choose, students_in
from tasks import HERE, ROOT, answered, cases, seed_of, tasks

PAGES = Environment(loader=FileSystemLoader(HERE / "pages"), autoescape=True, trim_blocks=True)
JUDGING = threading.Lock()  # the solutions draw from the process's own generator


def mark(student, sandbox, edition, key):
    """The marks of one student: rows for tasks and questions, answers in words, notes."""
    chosen, words, notes = choose(student, edition, key["questions"])
    outcomes, errors = run(student, chosen, sandbox, edition, key["seed"])
    rows, charged, programs = [], {}, {}
    for name, book in chosen.items():
        programs[name] = "\n".join(edition.programs(book, name)) if book else ""
        with JUDGING:
            row = row_of(tasks()[name], outcomes[name], charged)
        rows.append(row | {"evidence": code_of(programs[name])})
    for name, question in key["questions"].items():
        row = {"section": question["section"], "task": name, "maximum": question["points"]}
        row |= {"points": None, "remark": "to be read" if words[name] else "no answer found"}
        rows.append(row | {"details": [], "evidence": code_of(words[name])})
    rows.sort(key=lambda row: row["section"])
    return {"rows": rows, "answers": words, "notes": notes + errors, "programs": programs}


def run(student, chosen, sandbox, edition, seed):
    """Run all notebooks that count: {task: [(case, outcome)]}, and the errors of their cells."""
    missing = "Not written, or by another name." if student.notebooks else "There is no notebook."
    outcomes, errors, jobs = {}, [], []
    for name, task in tasks().items():
        inputs = cases(task, seed_of(seed, student.key, name))
        outcomes[name] = [(case, {"error": missing}) for case in inputs]
    for book in student.notebooks:
        if names := [name for name in chosen if chosen[name] is book]:
            calls = [{"function": name, **case} for name in names for case, _ in outcomes[name]]
            outcomes |= {name: [] for name in names}
            jobs.append((edition.steps(book, names), calls))
    steps = [[source for _, source in cells] + calls for cells, calls in jobs]
    for (cells, calls), received in zip(jobs, sandbox.run(steps) if jobs else [], strict=True):
        for (label, _), outcome in zip(cells, received, strict=False):
            if "NotImplementedError" not in (error := outcome.get("error", "NotImplementedError")):
                errors.append(f"{label}: {without_paths(error)}")
        for case, outcome in zip(calls, received[len(cells) :], strict=True):
            outcomes[case["function"]].append((case, outcome))
    return outcomes, errors


def row_of(task, outcomes, charged):
    """The points for one task, and what to say about each of its checks.

    A known mistake keeps half of a check's points. charged, {mistake: task}, has those that were
    charged in a task before: they are not charged again.
    """
    slips = {known["means"]: known.get("slip", known["means"]) for known in task.mistakes}
    row = {"section": task.section, "task": task.name, "points": 0, "maximum": 0, "remark": ""}
    details, mistake = [], None
    for case, outcome in outcomes:
        meaning, text, before, mistake = None, "", mistake, None
        if "error" in outcome:
            error = without_paths(outcome["error"])
            meaning = text = "Not written." if "NotImplementedError" in error else error
        elif judge(answered(task, case, mistakes=False), *outcome["value"]):
            case = answered(task, case)
            value, changed = outcome["value"]
            meaning = judge(case, value, changed)
            text = explain(case, value, meaning)
            mistake = "changes" if meaning.startswith("It changes") else slips.get(meaning)
            if len(details) > 1:  # what follows from a mistake in a step is not always recognised
                mistake = mistake or before
        share = 1 if not meaning or mistake in charged else 0.5 if mistake else 0
        row["points"] += share * case["points"]
        row["maximum"] += case["points"]
        row["remark"] = row["remark"] or meaning or ""
        details.append({"name": case["name"], "points": share * case["points"],
                        "maximum": case["points"], "text": text, "mistake": mistake})  # fmt: skip
    for mistake in {detail["mistake"] for detail in details} - {None}:
        if charged.setdefault(mistake, task.name) != task.name:
            row["remark"] += f" The same as in {charged[mistake]}: not charged again."
    return row | {"details": details}


def marked(student, folder, sandbox, edition, key):
    """The student's result: the one in the folder if it is of the same files or of newer ones."""
    digest = hashlib.sha256(json.dumps([student.online_text, student.late, student.notes]).encode())
    for book in student.notebooks:
        digest.update(book.name.encode(errors="replace") + b"\0" + book.data)
    code = code_of(student.key)
    newness = list(max((book.newness for book in student.notebooks), default=(0, 0)))
    stored = folder / f"{code}.json"
    if stored.is_file():
        before = json.loads(stored.read_text(encoding="utf-8"))
        if before["fingerprint"] == digest.hexdigest():
            return before
        if before["newness"] > newness:
            note = f"An older submission came too and does not count: {stored.name} is newer."
            return before | {"notes": [*before["notes"], note]}
    result = {"name": student.name, "id": student.id, "late": student.late, "code": code}
    result |= {"newness": newness, "fingerprint": digest.hexdigest()}
    try:
        result |= mark(student, sandbox, edition, key)
    except Exception as error:  # one student's must not stop the others' marking
        student.notes.append(f"By hand, since it cannot be marked: {error!r:.200}")
        student.notebooks = []
        result |= mark(student, sandbox, edition, key)
        for row in result["rows"]:
            row |= {"points": None, "remark": "by hand"}
    result["notes"] = student.notes + result["notes"]
    replace(stored, json.dumps(result))
    return result


def mark_all(submissions, build, marks=None, roster=None, column="", jobs=None, **limits):
    """Mark all that is new or changed, and write the tables and pages; all results so far.

    marks is the folder `marks` beside that of the submissions, unless another is named.
    """
    source = (build / "assignment").resolve()
    if not (build / "key.json").is_file() or not source.is_dir():
        raise SystemExit(f"{source} is not there: run `make assignment` first, as you set it")
    if not submissions.is_dir():
        raise SystemExit(f"SUBMISSIONS is {str(submissions)!r}, which is not a folder")
    students, notes = students_in(submissions, [path.name for path in source.iterdir()])
    if not students:
        raise SystemExit(f"{submissions} holds no submission: no folder, archive or notebook")
    folder = (marks or submissions.resolve().parent / "marks").resolve()
    gradebook.read_by_hand(folder / "by-hand.csv")  # a line that will not do stops us at once
    (folder / "results").mkdir(parents=True, exist_ok=True)
    key = json.loads((build / "key.json").read_text(encoding="utf-8"))
    same = folder / "assignment.json"
    figures = json.dumps([key["seed"], key["figures"]])
    if same.is_file() and same.read_text() != figures:
        raise SystemExit(f"{folder} is of another assignment: name another folder by MARKS=folder")
    same.write_text(figures)
    files = sorted((folder / "results").glob("*.json"))
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    same_for_all = folder / "results", Sandbox(source, **limits), Edition(source), key
    pool = ThreadPoolExecutor(jobs or os.cpu_count())
    waiting = [pool.submit(marked, student, *same_for_all) for student in students]
    for number, job in enumerate(as_completed(waiting), 1):
        result = job.result()
        results[result["code"]] = result
        points = sum(row["points"] or 0 for row in result["rows"])
        done = f"{number}/{len(waiting)} {result['name']}: {points:g} points by the checks."
        print(done, result["late"], *result["notes"][:3], flush=True)
    ordered = sorted(results.values(), key=lambda result: (result["name"], result["id"]))
    notes += gradebook.add_by_hand(folder / "by-hand.csv", ordered)
    write_all(folder, ordered, key)
    if roster:
        notes += gradebook.fill_roster(roster, ordered, column)
    print(*notes, f"Marks are in {folder}: see totals.csv and answers.html.", sep="\n")
    return ordered


def write_all(folder, results, key):
    """The totals, a feedback page for each student, and what is for the lecturer."""
    (folder / "feedback").mkdir(exist_ok=True)
    for result in results:
        result["total"] = sum(row["points"] or 0 for row in result["rows"])
        result["maximum"] = sum(row["maximum"] for row in result["rows"])
        result["open"] = sum(row["points"] is None for row in result["rows"])
        name = re.sub(r"[^\w .-]", "-", result["name"])[:50]
        page = folder / "feedback" / f"{name}-{result['code']}.html"
        replace(page, PAGES.get_template("feedback.html").render(result=result))
    gradebook.write_totals(folder / "totals.csv", results)
    gradebook.write_similar(folder / "similar.csv", results)
    page = PAGES.get_template("answers.html").render(results=results, key=key)
    replace(folder / "answers.html", page)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--marks", type=Path, help="beside the submissions, unless named")
    parser.add_argument("--roster", type=Path, help="a grade export of Moodle or Canvas")
    parser.add_argument("--column", default="", help="of the roster, for the points")
    parser.add_argument("--trust", action="store_true", help="limits only, without a sandbox")
    sys.stdout.reconfigure(errors="replace")  # names may be anything
    mark_all(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted: what is marked is kept; the same command goes on from here", flush=True)
        os._exit(1)  # without waiting for what runs, which ends with us
