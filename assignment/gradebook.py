"""The tables of marks. What a person has entered is never dropped: by-hand.csv, a grade export."""

import ast
import hashlib
import os
import re
from collections import defaultdict
from itertools import combinations

import pandas as pd

COLUMNS = "code task points maximum remark checks state answer".split()  # of by-hand.csv
RARE = 0.2  # of the class: code that more students share is how one writes it


def code_of(*words):
    """A short code for the words, which a spreadsheet leaves as it is."""
    digest = hashlib.sha256("\n".join(words).encode(errors="backslashreplace"))
    return "s" + digest.hexdigest()[:8]


def replace(path, content):
    """Write the file in one step. The one that it replaces is kept as .bak if it is different."""
    data = content.encode("utf-8", errors="replace")
    if path.exists() and (before := path.read_bytes()) != data:
        path.with_name(path.name + ".bak").write_bytes(before)
    half = path.with_name(path.name + ".half")
    half.write_bytes(data)
    os.replace(half, path)


def read_table(path):
    """A CSV file with , ; or tab, as a table of texts, and its separator."""
    try:
        header = path.read_text("utf-8-sig").partition("\n")[0]
        separator = max(",;\t", key=header.count)
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
        if not isinstance(table.index, pd.RangeIndex):  # which pandas makes of cells too many
            raise ValueError("line 2 has too many cells")
    except ValueError as error:
        advice = 'save it as "CSV UTF-8"; 2,5 needs quotes, "2,5", or ; between the cells'
        raise SystemExit(f"{path}: {error}. If you have changed it, {advice}") from None
    return table, separator


def write_table(path, rows, columns=None, separator=","):
    """The mark at the beginning is the one by which Excel knows UTF-8."""
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    replace(path, "\ufeff" + table.to_csv(sep=separator, index=False))


def number(cell):
    return float(cell.replace(",", "."))


def read_by_hand(path):
    """by-hand.csv: its rows by (code, task), its columns and separator.

    SystemExit names the line that will not do.
    """
    if not path.exists():
        return {}, COLUMNS, ","
    table, separator = read_table(path)
    if missing := set(COLUMNS) - set(table.columns):
        raise SystemExit(f"{path}: its first line has no column {', '.join(sorted(missing))}")
    rows = {}
    for line, row in enumerate(table.to_dict("records"), 2):
        row = {column: cell.strip() for column, cell in row.items()}
        key = row["code"], row["task"]
        try:
            right = 0 <= number(row["points"] or "0") <= number(row["maximum"])
        except ValueError:
            right = False
        if not right:
            wrong = f"points is {row['points']}, not a number from 0 to {row['maximum']}"
            raise SystemExit(f"{path}, line {line}: {wrong}")
        if key in rows:
            raise SystemExit(f"{path}, line {line}: a line before has the same student and task")
        rows[key] = row
    return rows, list(table.columns), separator


def add_by_hand(path, results):
    """Put the points of by-hand.csv into the results, and write it with a row for every task.

    Points for an answer that has changed since go to the column "state", and wait for a person.
    Returns sentences on rows that fit no student and task: they are kept, and count nothing.
    """
    entered, columns, separator = read_by_hand(path)
    rows = []
    pairs = [(result["code"], row) for result in results for row in result["rows"]]
    pairs.sort(key=lambda pair: (pair[1]["points"] is not None, pair[1]["task"], pair[0]))
    for code, row in pairs:
        entry = entered.pop((code, row["task"]), dict.fromkeys(COLUMNS, ""))
        if entry["points"] and entry["answer"] not in ("", row["evidence"]):
            entry |= {"points": "", "state": f"changed since it got {entry['points']}"}
        elif entry["points"] or not entry["state"].startswith("changed"):
            entry["state"] = row["remark"] if row["points"] is None else ""
        entry |= {"code": code, "task": row["task"], "maximum": row["maximum"]}
        rows.append(entry | {"checks": row["points"], "answer": row["evidence"]})
        if entry["points"]:
            row |= {"points": number(entry["points"]), "remark": entry["remark"]}
        elif entry["state"].startswith("changed"):
            row["remark"] += f" ({entry['state']})"
    kept = list(entered.values())
    write_table(path, [*rows, *kept], columns, separator)
    return [f"{path.name}: {x['code']} {x['task']} fits nothing; kept, not counted." for x in kept]


def write_totals(path, results):
    """A row for each student: points by task and in all, what is open, late or not read."""
    rows = []
    for result in results:
        row = {column: result[column] for column in ("name", "id", "code")}
        row |= {task["task"]: task["points"] for task in result["rows"]}
        row |= {"points": result["total"], "maximum": result["maximum"]}
        row |= {"not yet marked": result["open"], "late": result["late"]}
        rows.append(row | {"notes": " ".join(result["notes"])[:2000]})
    write_table(path, rows)


def read_roster(path):
    """A grade export: the table, its separator, and (ID, name) of each row.

    It is Moodle's (Identifier, Full name), Canvas's (ID, Student), or has columns ID and Name.
    """
    table, separator = read_table(path)
    ids = next((column for column in ("Identifier", "ID") if column in table), None)
    names = next((column for column in ("Full name", "Student", "Name") if column in table), None)
    if not names:
        raise SystemExit(f"{path}: no column Full name, Student or Name in its first line")
    people = zip(table[ids] if ids else [""] * len(table), table[names], strict=True)
    return table, separator, [(id_.removeprefix("Participant "), name) for id_, name in people]


def fill_roster(path, results, column=""):
    """Write the points of all who are marked into a copy of the export; sentences on the others."""
    table, separator, people = read_roster(path)
    usual = [name for name in table if re.search(r"^Grade$|\((\d+|Real)\)$", name)]
    column = column or " or ".join(usual)
    if column not in table:
        raise SystemExit(f"{path}: which column gets the points? COLUMN=one of {list(table)}")
    sentences, filled = [], 0
    for result in results:
        lines = [line for line, (id_, _) in enumerate(people) if id_ and id_ == result["id"]]
        lines = lines or [line for line, (_, name) in enumerate(people) if name == result["name"]]
        if len(lines) == 1 and not result["open"]:
            table.loc[lines[0], column] = f"{result['total']:g}"
            filled += 1
        else:
            why = "not yet marked" if result["open"] else f"{len(lines)} rows fit"
            sentences.append(f"{path.name}: {result['name']}: {why}; nothing is filled in.")
    target = path.with_name(path.stem + "-marked.csv")
    write_table(target, table, separator=separator)
    return [*sentences, f"{target}: {filled} of {len(people)} rows are filled in."]


def shape(source):
    """A program without names, texts, comments and layout; "" if it is none."""
    try:
        return re.sub(r"'[^']*'", "", ast.dump(ast.parse(source)))
    except Exception:  # of a program that anybody may have written
        return ""


def write_similar(path, results):
    """A table of the pairs that share rare code in two tasks or more, the worst first."""
    students, shared = defaultdict(list), defaultdict(list)
    for result in results:
        for task, source in result["programs"].items():
            if program := shape(source):
                students[task, program].append(f"{result['name']} {result['code']}")
    for (task, _), names in students.items():
        if len(names) <= max(2, RARE * len(results)):
            for pair in combinations(sorted(names), 2):
                shared[pair].append(task)
    pairs = sorted((-len(tasks), pair, tasks) for pair, tasks in shared.items() if len(tasks) > 1)
    rows = [(one, other, ", ".join(tasks)) for _, (one, other), tasks in pairs]
    write_table(path, rows, ["one", "other", "tasks"])
