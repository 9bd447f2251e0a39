"""Marks submissions: `make mark SUBMISSIONS=folder`, with what a learning platform handed out.

The submission's functions run in a sandbox, on inputs drawn from the student's name; here their
values are compared with the solution's. An interrupted marking is continued where it was.
"""

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote

import torch
from answers import Edition, choose
from checks import changes, explain, judge
from gradebook import add_by_hand, fill_roster, letters, read_by_hand, replace, write_totals
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sandbox import Sandbox, end_all, without_paths
from similar import write_similar
from submissions import students_in
from tasks import HERE, ROOT, START, answered, cases, seed_of, tasks

TEMPLATES = FileSystemLoader(HERE / "pages")
PAGES = Environment(loader=TEMPLATES, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
PAGES.lstrip_blocks = True


# ---------------------------------------------------------------------------------- one student


def mark(student, sandbox, edition, key):
    """The marks of one student: rows for tasks and questions, answers in words, notes."""
    chosen, words, notes = choose(student, edition, key["questions"])
    outcomes, cell_errors = run(student, chosen, sandbox, edition, key["seed"])
    rows, charged, programs = [], {}, {}
    for name, book in chosen.items():
        row = row_of(tasks()[name], outcomes[name], charged, sandbox.megabytes)
        if book:
            programs[name] = "\n".join(edition.programs(book, name)[0])
            row["remark"] += cause(row["remark"], programs[name], cell_errors[book.name])
        rows.append(row | {"evidence": letters(programs.get(name, ""))})
    for name, question in key["questions"].items():
        remark = "to be read" if words[name] else "no answer found"
        row = new_row(question["section"], name, question["points"], remark)
        rows.append(row | {"evidence": letters(words[name])})
    notes += [f"{label}: {error}" for errors in cell_errors.values() for label, error, _ in errors]
    rows.sort(key=lambda row: row["section"])
    return {"rows": rows, "answers": words, "notes": notes, "programs": programs}


def new_row(section, task, maximum, remark):
    row = {"section": section, "task": task, "points": None, "maximum": maximum, "remark": remark}
    return row | {"details": [], "evidence": ""}


def run(student, chosen, sandbox, edition, seed):
    """Run all notebooks that count: {task: [(case, outcome)]}, {notebook: its cells' errors}."""
    missing = {"error": "Not written." if student.notebooks else "There is no notebook."}
    outcomes, errors, jobs = {}, {}, []
    for name, task in tasks().items():
        inputs = cases(task, seed_of(seed, student.key, name))
        outcomes[name] = [(case, missing) for case in inputs]
    books = [book for book in student.notebooks if book in chosen.values()]
    for book in books:
        names = [name for name in chosen if chosen[name] is book]
        calls = [(name, case) for name in names for case, _ in outcomes[name]]
        jobs.append((book, edition.steps(book, names), calls))
    steps = [
        [source for _, source in cells] + [{"function": name, **case} for name, case in calls]
        for _, cells, calls in jobs
    ]
    for (book, cells, calls), found in zip(jobs, sandbox.run(steps), strict=True):
        outcomes |= {name: [] for name, _ in calls}
        for (name, case), outcome in zip(calls, found[len(cells) :], strict=True):
            outcomes[name].append((case, outcome))
        errors[book.name] = [
            (label, without_paths(outcome["error"]), source)
            for (label, source), outcome in zip(cells, found, strict=False)
            if "NotImplementedError" not in outcome.get("error", "NotImplementedError")
        ]
    return outcomes, errors


def cause(remark, program, errors):
    """What stopped the cell that defines a function, where the function or a name is missing."""
    if not errors or not remark.startswith(("There is no function", "NameError")):
        return ""
    own = [error for error in errors if error[2] in program]
    label, error, _ = (own or errors)[0]
    missing = " It is not installed at marking." if "ModuleNotFoundError" in error else ""
    return f" Before that, {label} stopped: {error}{missing}"


def row_of(task, outcomes, charged, megabytes):
    """The points for one task, and what to say about each of its checks.

    A known mistake keeps half of a check's points. charged, {mistake: task}, has those that were
    charged in a task before: they are not charged again.
    """
    slips = {known["means"]: known.get("slip", known["means"]) for known in task.mistakes}
    details, start, slip = [], None, None
    for case, outcome in outcomes:
        text, first, mistake = "", case["name"] == START, None
        if "error" in outcome:
            meaning = text = meaning_of(outcome["error"], megabytes)
        else:
            pair = outcome["value"]  # which a submission may have forged
            value, changed = pair if isinstance(pair, list) and len(pair) == 2 else (pair, [])
            case = answered(task, case, start, mistakes=False)
            if meaning := judge(case, value):
                case = answered(task, case, start)
                meaning = judge(case, value)
                text = explain(task.name, case, value, meaning)
                mistake = slips.get(meaning)
                if not first:  # what follows from a mistake is not recognised, and is no other
                    mistake = slip = mistake or slip
            elif changed:
                meaning = text = changes(changed)
                mistake = "changes"
            if first and is_start(case["expected"], value):
                start = value
        points = case["points"] if not meaning or mistake in charged else 0
        if mistake and mistake not in charged:
            points = case["points"] / 2
        if mistake == "changes":  # which spoils none of these checks: once is enough
            charged.setdefault(mistake, task.name)
        details.append({"name": case["name"], "points": points, "maximum": case["points"],
                        "meaning": meaning, "text": text, "mistake": mistake})  # fmt: skip
    remark = next((detail["meaning"] for detail in details if detail["meaning"]), "")
    for mistake in {detail["mistake"] for detail in details} - {None}:
        if charged.setdefault(mistake, task.name) != task.name:
            remark += f" The same as in {charged[mistake]}: not charged again."
    points, maximum = (sum(detail[k] for detail in details) for k in ("points", "maximum"))
    row = new_row(task.section, task.name, maximum, remark)
    return row | {"points": points, "details": details}


def meaning_of(error, megabytes):
    if "NotImplementedError" in error:
        return "Not written."
    if "MemoryError" in error or "allocate memory" in error:
        return f"It needed more memory than {megabytes} MB."
    return without_paths(error)


def is_start(expected, value):
    """Whether the student's factors can take the place of ours to start from, however drawn.

    They must be spread over [0, 1): from factors near 0, say, no step leads anywhere.
    """
    try:
        pairs = [(torch.tensor(x), torch.tensor(y)) for x, y in zip(value, expected, strict=True)]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False
    return all(x.shape == y.shape and 0 <= x.min() and x.max() < 1 and 0.2 < x.float().mean() < 0.8
               for x, y in pairs)  # fmt: skip


# ------------------------------------------------------------------------------------ the class


def marked(student, folder, base, sandbox, edition, key):
    """The student's result: the one in the folder if it is of the same files or of newer ones."""
    digest = hashlib.sha256(base)
    for book in student.notebooks:
        digest.update(book.name.encode(errors="replace") + b"\0" + book.data)
    digest.update(json.dumps([student.online_text, student.late, student.notes]).encode())
    code = letters(student.key)
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
        result |= {"answers": dict.fromkeys(key["questions"], ""), "programs": {}}
        result |= {"rows": rows_by_hand(key), "notes": [f"It cannot be marked: {error!r:.200}"]}
        result["fingerprint"] = ""
    result["notes"] = student.notes + result["notes"]
    replace(stored, json.dumps(result))
    return result


def rows_by_hand(key):
    """The rows of a submission that no program can mark."""
    rows = [new_row(question["section"], name, question["points"], "by hand")
            for name, question in key["questions"].items()]  # fmt: skip
    for name, task in tasks().items():
        points = sum(case["points"] for case in cases(task, 0))
        rows.append(new_row(task.section, name, points, "by hand"))
    return sorted(rows, key=lambda row: row["section"])


def mark_all(submissions, build, marks=None, roster=None, column="", jobs=None, **limits):
    """Mark all that is new or changed, and write the tables and pages; all results so far.

    marks is the folder `marks` beside that of the submissions, unless another is named.
    """
    source = (build / "assignment").resolve()
    if not (build / "key.json").is_file() or not source.is_dir():
        raise SystemExit(f"{source} is not there: run `make assignment` first, as you set it")
    if not submissions.is_dir():
        raise SystemExit(f"SUBMISSIONS is {str(submissions)!r}, which is not a folder")
    folder = (marks or submissions.resolve().parent / "marks").resolve()
    if folder.is_relative_to(submissions.resolve()):
        raise SystemExit(f"MARKS is {folder}, inside SUBMISSIONS: name a folder beside it")
    students, notes = students_in(submissions, [path.name for path in source.iterdir()])
    if not students:
        raise SystemExit(f"{submissions} holds no submission: no folder, archive or notebook")
    key = json.loads((build / "key.json").read_text(encoding="utf-8"))
    (folder / "results").mkdir(parents=True, exist_ok=True)
    same = folder / "assignment.json"
    figures = json.dumps([key["seed"], key["figures"]])
    if same.is_file() and same.read_text() != figures:
        raise SystemExit(f"{folder} is of another assignment: name another folder by MARKS=folder")
    same.write_text(figures)
    files = (folder / "results").glob("*.json")
    stored = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    results = {result["code"]: result for result in stored}
    read_by_hand(folder / "by-hand.csv", stored)  # a line that will not do stops us here, at once
    sandbox = Sandbox(source, **limits)
    ours = [*sorted(HERE.glob("*.py")), *sorted(HERE.glob("*.toml")), *sorted(source.iterdir())]
    base = json.dumps([key, sandbox.seconds, sandbox.megabytes]).encode()
    base += b"".join(path.read_bytes() for path in ours)
    same_for_all = folder / "results", base, sandbox, Edition(source), key
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        waiting = [pool.submit(marked, student, *same_for_all) for student in students]
        try:
            for number, done in enumerate(as_completed(waiting), 1):
                result = done.result()
                results[result["code"]] = result
                points = sum(row["points"] or 0 for row in result["rows"])
                say(f"{number}/{len(waiting)} {result['name']}: {points:g} points by the checks. "
                    f"{result['late']} {' '.join(result['notes'][:3])}")  # fmt: skip
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    ordered = sorted(results.values(), key=lambda result: (result["name"], result["id"]))
    notes += add_by_hand(folder / "by-hand.csv", ordered)
    write_all(folder, ordered, key, sandbox, notes)
    if roster:
        notes += fill_roster(roster, ordered, column)
    say("\n".join([*notes, f"Marks are in {folder}: open summary.html and answers.html."]))
    return ordered


def say(text):
    print(text.encode(errors="replace").decode(), flush=True)  # names may be anything


def write_all(folder, results, key, sandbox, notes):
    """The totals, a feedback page for each student, and what is for the lecturer."""
    (folder / "feedback").mkdir(exist_ok=True)
    for result in results:
        result["total"] = sum(row["points"] or 0 for row in result["rows"])
        result["maximum"] = sum(row["maximum"] for row in result["rows"])
        result["open"] = sum(row["points"] is None for row in result["rows"])
        name = result["name"].replace("/", "-").encode(errors="replace").decode()[:50]
        page = folder / "feedback" / f"{name}-{result['code']}.html"
        result["page"] = quote(f"feedback/{page.name}")
        replace(page, PAGES.get_template("feedback.html").render(result=result))
    write_totals(folder / "totals.csv", results)
    write_similar(folder / "similar.csv", results)
    rows = [row for result in results for row in result["rows"] if row["details"]]
    wrong = Counter((row["task"], row["remark"]) for row in rows if row["points"] and row["remark"])
    given = {"results": results, "key": key, "sandbox": sandbox, "notes": notes}
    for name in ("summary.html", "answers.html"):
        page = PAGES.get_template(name).render(given, mistakes=wrong.most_common(12))
        replace(folder / name, page)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--marks", type=Path, help="beside the submissions, unless named")
    parser.add_argument("--roster", type=Path, help="a grade export of Moodle or Canvas")
    parser.add_argument("--column", default="", help="of the roster, for the points")
    parser.add_argument("--seconds", type=float, default=20, help="for a cell or a call")
    parser.add_argument("--megabytes", type=int, default=3000, help="for a notebook")
    parser.add_argument("--trust", action="store_true", help="limits only, without a sandbox")
    mark_all(**vars(parser.parse_args()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: what is marked is kept; the same command goes on from here")
