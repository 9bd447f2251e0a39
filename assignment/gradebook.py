"""The tables of marks. What a person has entered is never dropped: by-hand.csv, a grade export."""

import csv
import hashlib
import io
import math
import os
import re
from types import SimpleNamespace

COLUMNS = "code task points maximum remark checks state before answer".split()  # of by-hand.csv
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
FORMULA = tuple("=+-@\t\r")


def letters(*words):
    """Seven letters that stand for the words; a spreadsheet leaves them as they are."""
    digest = hashlib.sha256("\n".join(words).encode(errors="backslashreplace")).digest()
    number = int.from_bytes(digest[:8], "big")
    return "".join(LETTERS[number // 20**k % 20] for k in range(7))


def replace(path, content):
    """Write the file in one step. The one that it replaces is kept as .bak if it is different."""
    data = content.encode("utf-8", errors="replace")
    if path.exists() and (before := path.read_bytes()) != data:
        path.with_name(path.name + ".bak").write_bytes(before)
    half = path.with_name(path.name + ".half")
    half.write_bytes(data)
    os.replace(half, path)


def read_table(path):
    """A CSV file with , ; or tab: its rows as {line: {column: cell}}, its columns and separator."""
    data = path.read_bytes()
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        content = data.decode("cp1252", errors="replace")  # an older Excel's CSV
    separator = max(",;\t", key=content.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(content), delimiter=separator, restval="")
    rows = {}
    for row in reader:
        line = reader.line_num
        if None in row:
            raise SystemExit(f'{path}, line {line}: too many cells. Write 2.5 or "2,5" for 2,5')
        guarded = [c for c, cell in row.items() if cell[:1] == "'" and cell[1:2] in FORMULA]
        rows[line] = row | {column: row[column][1:] for column in guarded}
    return SimpleNamespace(rows=rows, columns=reader.fieldnames or [], separator=separator)


def write_table(path, columns, rows, separator=",", guard="'"):
    """Rows are dictionaries; the guard stands before what a spreadsheet takes for a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerow(columns)
    for row in rows:
        cells = [row.get(column) for column in columns]
        writer.writerow(guard + x if isinstance(x, str) and x[:1] in FORMULA else x for x in cells)
    replace(path, "\ufeff" + buffer.getvalue())  # the mark by which Excel knows UTF-8


def number(cell):
    """2.5 and 2,5 as a number; ValueError if it is none, negative, or not finite."""
    value = float(cell.strip().replace(",", "."))
    if not 0 <= value < math.inf:
        raise ValueError(cell)
    return value


def read_by_hand(path, results):
    """by-hand.csv, its rows by (code, task). SystemExit names the line that will not do."""
    if not path.exists():
        return SimpleNamespace(rows={}, columns=COLUMNS, separator=",")
    table, rows = read_table(path), {}
    if missing := set(COLUMNS[:5]) - set(table.columns):
        raise SystemExit(f"{path}: its first line has no column {', '.join(sorted(missing))}")
    codes = {result["id"]: result["code"] for result in results if result["id"]}
    known = {(r["code"], row["task"]): row for r in results for row in r["rows"]}
    for line, row in table.rows.items():
        where, student, task = f"{path}, line {line}", row["code"].strip(), row["task"].strip()
        key = codes.get(student, student), task  # an ID will do as well
        if key in rows:
            raise SystemExit(f"{where}: a line before has the same student and task")
        rows[key] = row
        if not row["points"].strip():
            continue
        try:
            points = number(row["points"])
        except ValueError:
            raise SystemExit(
                f"{where}: points is {row['points']!r}, not a number from 0 on"
            ) from None
        if key not in known:
            continue
        if points > known[key]["maximum"]:
            raise SystemExit(f"{where}: {points:g} of {known[key]['maximum']} points")
        if known[key]["points"] is not None and not row["remark"].strip():
            raise SystemExit(f"{where}: to change the checks' points, say in remark why")
    table.columns = COLUMNS + [column for column in table.columns if column not in COLUMNS]
    return SimpleNamespace(rows=rows, columns=table.columns, separator=table.separator)


def add_by_hand(path, results):
    """Put the points of by-hand.csv into the results, and write it with a row for every task.

    Points for an answer that has changed since go to the column "before", and wait for a person.
    Returns sentences on rows that fit no student and task: they are kept, and count nothing.
    """
    table, rows = read_by_hand(path, results), []
    for result in results:
        for row in result["rows"]:
            entry = table.rows.pop((result["code"], row["task"]), {"points": "", "remark": ""})
            entry |= {"code": result["code"], "task": row["task"], "maximum": row["maximum"]}
            entry |= {"checks": row["points"], "state": ""}
            order = row["points"] is not None, row["section"], row["task"], result["code"]
            if entry["points"].strip():
                if entry.get("answer") in (None, "", row["evidence"]):
                    row |= {"points": number(entry["points"]), "remark": entry["remark"]}
                    entry["before"] = ""
                else:
                    entry |= {"before": entry["points"], "points": ""}
            if entry.get("before"):
                entry["state"] = "changed since"
                row["remark"] += f" It has changed since it got {entry['before']} points."
            elif row["points"] is None:
                entry["state"] = row["remark"]
            entry["answer"] = row["evidence"]
            rows.append((order, entry))
    kept = list(table.rows.values())
    rows = [entry for _, entry in sorted(rows, key=lambda pair: pair[0])]
    write_table(path, table.columns, [*rows, *kept], table.separator)
    return [f"{path.name}: {x['code']} {x['task']} fits nothing; kept, not counted." for x in kept]


def write_totals(path, results):
    """A row for each student: points by task and in all, what is open, late or not read."""
    columns, rows = ["name", "id", "code"], []
    for result in results:
        row = {column: result[column] for column in columns}
        row |= {task["task"]: task["points"] for task in result["rows"]}
        row |= {"points": result["total"], "maximum": result["maximum"], "late": result["late"]}
        rows.append(
            row | {"not yet marked": result["open"], "notes": " ".join(result["notes"])[:2000]}
        )
    tasks = [row["task"] for row in results[0]["rows"]]
    columns += [*tasks, "points", "maximum", "not yet marked", "late", "notes"]
    write_table(path, columns, rows)


# -------------------------------------------------------------------------------- a grade export


def squeezed(name):
    """The letters and digits of a name, as Canvas spells it in file names."""
    return re.sub(r"[\W_]", "", name).casefold()


def keys_of(row):
    """What a row of Moodle's or Canvas's export may be known by: IDs, and forms of the name."""
    cell = {column: row.get(column, "").strip() for column in row}
    family = cell.get("Last name", cell.get("Surname", ""))
    names = [cell.get("First name", "") + family, *cell.get("Student", "").split(",")[::-1]]
    names = [names[0], "".join(names[1:]), cell.get("Student", ""), cell.get("Full name", "")]
    names += [cell.get("Username", ""), cell.get("SIS Login ID", "")]
    ids = [re.sub(r"\D", "", cell.get("Identifier", "")), cell.get("ID", "")]
    return {key for key in [*ids, *map(squeezed, names)] if key}


def fill_roster(path, results, column=""):
    """Write the points of all who are marked into a copy of the export; sentences on the others."""
    table, sentences, filled = read_table(path), [], 0
    usual = [c for c in table.columns if re.search(r"^Grade$|\((\d+|Real)\)$", c)]
    column = column or " or ".join(usual)
    if column not in table.columns:
        raise SystemExit(f"{path}: which column gets the points? COLUMN=one of {table.columns}")
    keys = {line: keys_of(row) for line, row in table.rows.items()}
    for result in results:
        mine = {result["id"]} if result["id"] else {squeezed(result["name"])}
        lines = [line for line in keys if mine & keys[line]]
        lines = lines or [line for line in keys if squeezed(result["name"]) in keys[line]]
        if len(lines) != 1 or result["open"]:
            why = "not yet marked" if result["open"] else f"{len(lines)} rows fit"
            sentences.append(f"{path.name}: {result['name']}: {why}; nothing is filled in.")
            continue
        row = table.rows[lines[0]]
        row[column] = f"{result['total']:g}"
        filled += 1
        if row.get("Maximum Grade") and number(row["Maximum Grade"]) != result["maximum"]:
            sentences.append(
                f"{path.name}: maximum {row['Maximum Grade']}, not {result['maximum']}!"
            )
    target = path.with_name(path.stem + "-marked.csv")
    write_table(target, table.columns, table.rows.values(), table.separator, guard="")
    return [*dict.fromkeys(sentences), f"{target}: {filled} of {len(keys)} rows are filled in."]
