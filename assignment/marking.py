"""Marks submissions: `make mark SUBMISSIONS=folder`, with a folder or a zip file for each student.

The submission's functions run shut in (runner.py), on inputs drawn from the student's name; here
their values are compared with the solution's. An interrupted marking is continued where it was.
"""

import argparse
import csv
import hashlib
import json
import os
import sys
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import nbformat
import torch
from cage import Cage, end_all, is_call
from checks import explain, judge
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from make_assignment import EMPTY
from tasks import HERE, ROOT, START, answered, cases, notebook, sections, seed_of, tasks

MOST = 20 * 2**20  # bytes of a notebook
FILES = 20  # of a submission
UNTRIED = ("Not written", "There is no notebook")
PAGES = Environment(
    loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


# ---------------------------------------------------------------------------------------- reading


def files_of(path):
    """A submission's notebooks, (name, bytes), from a folder or a zip file; links are ignored."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(path).parts
            if file.is_file() and file.resolve() == path.resolve().joinpath(*inside):
                if not any(part.startswith((".", "__MACOSX")) for part in inside):
                    yield from files_of(file)
    elif path.suffix == ".ipynb":
        with open(path, "rb") as file:
            yield path.name, file.read(MOST + 1)
    elif path.suffix == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".ipynb") and "__MACOSX" not in name and "/." not in name:
                        with archive.open(name) as file:
                            yield Path(name).name, file.read(MOST + 1)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError):
            return  # a broken zip file has no notebooks


def cells_of(files, section):
    """The cells of a section's notebook, and None; or no cells, and why."""
    name = notebook(section).name
    found = dict(sorted((file, data) for file, data in files if file.startswith(section)))
    if not found:
        return [], f"There is no notebook {name}."
    file = name if name in found else next(iter(found))
    try:
        if len(found[file]) > MOST:
            raise ValueError("too large")
        cells = nbformat.reads(found[file].decode("utf-8"), as_version=4).cells
        return [(c.cell_type, str(c.source), _id(c)) for c in cells], None
    except Exception as error:  # whatever is wrong with a file that anybody may have made
        return [], f"{file} is not a notebook: {type(error).__name__}."


def _id(cell):
    marks = cell.metadata.get("nbgrader")
    return marks.get("grade_id") if isinstance(marks, dict) else None


# ---------------------------------------------------------------------------------------- marking


def mark(student, files, cage, key):
    """The marks of one student: rows for tasks and questions, answers in words, notes."""
    result = {"student": student, "rows": [], "answers": {}, "notes": []}
    parts = [read_section(student, files, section, cage, key) for section in sections()]
    outcomes = iter(cage.run([part.steps for part in parts if not part.trouble]))
    for part in parts:
        found = [{"error": part.trouble}] * len(part.steps) if part.trouble else next(outcomes)
        if part.trouble:
            result["notes"].append(part.trouble)
        for number, (step, outcome) in enumerate(zip(part.steps, found, strict=True)):
            error = outcome.get("error", "NotImplementedError")
            if not (is_call(step) or part.trouble or "NotImplementedError" in error):
                result["notes"].append(f"{part.section}, cell of code {number}: {error}")
        for task, cases_ in part.todo.items():
            mine = found[len(found) - part.calls :][: len(cases_)]
            part.calls -= len(cases_)
            result["rows"].append(row_of(tasks()[task], zip(cases_, mine, strict=True), cage))
        for name, question in key["questions"].items():
            if question["section"] == part.section:
                text = answer_to(name, question, part.words)
                result["answers"][name] = text
                remark = "to be marked by hand" if text else "no answer"
                row = {"section": part.section, "task": name, "points": None if text else 0}
                row |= {"maximum": question["points"], "remark": remark, "details": []}
                result["rows"].append(row)
    return result


def read_section(student, files, section, cage, key):
    """What is run of a section's notebook: the given set-up, the student's cells, our calls."""
    given = nbformat.read(cage.source / notebook(section).name, as_version=4).cells
    locked = {_id(c) for c in given if c.metadata["nbgrader"]["locked"]}
    setup = [c.source for c in given if _id(c).startswith("code-")]
    cells, trouble = cells_of(files, section)
    code = [source for kind, source, i in cells if kind == "code" and i not in locked]
    todo = {task.name: cases(task, seed_of(key["seed"], student, task.name))
            for task in tasks().values() if task.section == section}  # fmt: skip
    calls = [{"function": name, **case} for name, found in todo.items() for case in found]
    words = [(source.strip(), i) for kind, source, i in cells if kind == "markdown"]
    return SimpleNamespace(section=section, trouble=trouble, steps=[*setup, *code, *calls],
                           calls=len(calls), todo=todo, words=words)  # fmt: skip


def answer_to(name, question, words):
    """The answer in words: the cell of that name or, without names, the one after the question."""
    after = [text for (before, _), (text, _) in pairwise(words) if before == question["asks"]]
    found = [text for text, i in words if i == f"answer-{name}"] or after
    return found[0].replace(EMPTY, "").strip() if found else ""


def row_of(task, mine, cage):
    """The points for one task, and what to say about each of its checks."""
    details, start = [], None
    for case, outcome in mine:
        if "error" in outcome:
            meaning = text = outcome["error"]
            if "NotImplementedError" in text:
                meaning = text = "Not written."
            elif "MemoryError" in text or "allocate memory" in text:
                meaning = text = f"It needed more memory than {cage.megabytes} MB."
        else:
            value, text = outcome["value"], ""
            case = answered(task, case, start, mistakes=False)
            if judge(case, value):
                case = answered(task, case, start)
            if meaning := judge(case, value):
                text = explain(task.name, case, value, meaning)
            if case["name"] == START and is_start(case["expected"], value):
                start = value
        points = 0 if meaning else case["points"]
        details.append({"name": case["name"], "points": points, "maximum": case["points"],
                        "meaning": meaning, "text": text})  # fmt: skip
    points, most = (sum(d[k] for d in details) for k in ("points", "maximum"))
    remark = next((d["meaning"] for d in details if d["meaning"]), "")
    return {"section": task.section, "task": task.name, "points": points, "maximum": most,
            "remark": remark, "details": details}  # fmt: skip


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


# ---------------------------------------------------------------------------------------- writing


def write(path, text):
    """Replace the file at once, so that it is never half-written."""
    half = path.with_name(path.name + ".half")
    half.write_text(text, encoding="utf-8", errors="replace")
    os.replace(half, path)


def write_table(path, head, rows):
    """A CSV file; a text that a spreadsheet would take for a formula gets an apostrophe."""
    half = path.with_name(path.name + ".half")
    with open(half, "w", newline="", encoding="utf-8", errors="replace") as file:
        for row in [head, *rows]:
            csv.writer(file).writerow(
                "'" + x if isinstance(x, str) and x[:1] in tuple("=+-@\t\r") else x for x in row
            )
    os.replace(half, path)


def read_by_hand(path):
    """The points that the marker has put into by-hand.csv, by (student, question)."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for line, row in enumerate(rows, 2):
        try:
            if points := row["points"].strip():
                found[row["student"].removeprefix("'"), row["task"]] = (
                    float(points),
                    row["remark"],
                )
        except (KeyError, AttributeError, ValueError):
            raise SystemExit(f"{path}, line {line}: it needs student, task, points, maximum and"
                             " remark, and points must be a number or empty") from None  # fmt: skip
    return found


def write_all(folder, results, key, cage, notes):
    """The tables, a feedback page for each student, and two pages for the instructor."""
    by_hand, waiting = read_by_hand(folder / "by-hand.csv"), []
    (folder / "feedback").mkdir(exist_ok=True)
    for result in results:
        for row in result["rows"]:
            name = (result["student"], row["task"])
            if row["task"] in key["questions"] and row["points"] is None:
                points, remark = by_hand.get(name, (None, ""))
                if points is not None:
                    row |= {"points": min(points, row["maximum"]), "remark": remark}
                waiting.append(
                    [*name, points if points is not None else "", row["maximum"], remark]
                )
        result["total"] = sum(row["points"] or 0 for row in result["rows"])
        result["maximum"] = sum(row["maximum"] for row in result["rows"])
        result["open"] = sum(row["points"] is None for row in result["rows"])
        result["page"] = quote(os.fsencode(f"feedback/{result['student']}.html"))
        page = PAGES.get_template("feedback.html").render(result=result)
        write(folder / "feedback" / f"{result['student']}.html", page)
    head = ["student", "task", "points", "maximum", "remark"]
    rows = [[r["student"], row["task"], "" if row["points"] is None else row["points"],
             row["maximum"], row["remark"]] for r in results for row in r["rows"]]  # fmt: skip
    write_table(folder / "marks.csv", head, rows)
    write_table(folder / "by-hand.csv", head, waiting)
    totals = [[r["student"], r["total"], r["maximum"], r["open"]] for r in results]
    write_table(folder / "totals.csv", ["student", "points", "maximum", "not yet marked"], totals)
    said = [(row["task"], row["remark"]) for r in results for row in r["rows"] if row["details"]]
    count = Counter(x for x in said if x[1] and not x[1].startswith(UNTRIED))
    tenths = Counter(min(9, int(10 * r["total"] / r["maximum"])) for r in results)
    by_task = {}
    for row in (row for r in results for row in r["rows"]):
        by_task.setdefault((row["section"], row["task"], row["maximum"]), []).append(row["points"])
    write(folder / "summary.html", PAGES.get_template("summary.html").render(
        results=results, mistakes=count.most_common(12), tenths=tenths, cage=cage, notes=notes,
        by_task=by_task))  # fmt: skip
    write(folder / "answers.html",
          PAGES.get_template("answers.html").render(results=results, key=key))  # fmt: skip


# ------------------------------------------------------------------------------------------- main


def fingerprint(files, key, cage):
    """What a result depends on: the submission, the assignment, and this program."""
    digest = hashlib.sha256(json.dumps([key, cage.seconds, cage.megabytes]).encode())
    ours = [*HERE.glob("*.py"), *HERE.glob("*.toml"), *sorted(cage.source.iterdir())]
    for name, data in [*files, *((p.name, p.read_bytes()) for p in sorted(ours))]:
        digest.update(name.encode(errors="replace") + b"\0" + data)
    return digest.hexdigest()


def mark_all(submissions, build, jobs=None, **limits):
    """Mark all that is new or changed, and write the tables and pages; the results."""
    source, folder = build / "assignment", build / "marks"
    if not (build / "key.json").is_file() or not source.is_dir():
        raise SystemExit(f"{source} is not there: run `make assignment` first, as you set it")
    if not submissions.is_dir():
        raise SystemExit(f"SUBMISSIONS is {str(submissions)!r}, which is not a folder")
    entries = sorted(p for p in submissions.iterdir() if not p.name.startswith("."))
    entries_in = [p for p in entries if p.is_dir() or p.suffix == ".zip"]
    students = {p.stem if p.suffix == ".zip" else p.name: p
                for p in entries_in if not p.is_symlink()}  # fmt: skip
    notes = [f"{p.name} is not a student's folder or zip file: skipped." for p in entries
             if p not in students.values()]  # fmt: skip
    if not students:
        raise SystemExit(f"{submissions} holds no folder and no zip file, one for each student")
    key = json.loads((build / "key.json").read_text(encoding="utf-8"))
    cage = Cage(source.resolve(), submissions.resolve(), **limits)
    print(f"Shut in by {cage.way}. {cage.holds}", flush=True)
    (folder / "results").mkdir(parents=True, exist_ok=True)

    def one(student, path):
        files = list(islice(files_of(path), FILES))
        stored, digest = folder / "results" / f"{student}.json", fingerprint(files, key, cage)
        if stored.is_file():
            result = json.loads(stored.read_text(encoding="utf-8"))
            if result["fingerprint"] == digest:
                return result
        result = mark(student, files, cage, key) | {"fingerprint": digest}
        write(stored, json.dumps(result))
        return result

    results = []
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        waiting = {pool.submit(one, *item): item[0] for item in students.items()}
        try:
            for number, done in enumerate(as_completed(waiting), 1):
                try:
                    results.append(done.result())
                    said = f"{sum(row['points'] or 0 for row in results[-1]['rows']):g} points"
                except Exception as error:  # one student's must not stop the others' marking
                    said = f"cannot be marked: {error!r:.200}"
                    notes.append(f"{waiting[done]} {said}")
                line = f"{number}/{len(waiting)} {waiting[done]}: {said}"
                print(line.encode(errors="replace").decode(), flush=True)  # names may be anything
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    results.sort(key=lambda result: result["student"])
    write_all(folder, results, key, cage, notes)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--seconds", type=float, default=20, help="for a cell or a call")
    parser.add_argument("--megabytes", type=int, default=3000, help="for a notebook")
    parser.add_argument("--trust", action="store_true", help="mark even if they can't be shut in")
    arguments = parser.parse_args()
    limits = {name: getattr(arguments, name) for name in ("seconds", "megabytes", "trust")}
    mark_all(arguments.submissions, arguments.build, **limits)
    for name in ("summary.html", "answers.html", "by-hand.csv", "marks.csv", "totals.csv"):
        print(arguments.build / "marks" / name)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: what is marked is kept; the same command goes on from here")
