"""The ledger of what the coursework's report states (data/claims.toml), and the check that a notebook makes of it.

In a notebook, claim("svd-loss").check(loss) shows one line - reported, recomputed, verdict - or raises ClaimError.
`python -m mf_claims` gathers these lines from the executed notebooks and prints the table of all claims.
"""

import html
import json
import math
import sys
import tomllib
from pathlib import Path

__all__ = ["Claim", "ClaimError", "claim", "ledger", "scoreboard"]

HERE = Path(__file__).resolve().parent
MIME = "application/vnd.mf-claim+json"  # in a notebook's outputs, for the table of all claims
VERDICTS = {"reproduced": "✓", "refuted": "✗", "qualified": "≈", "needs the course's data": "…"}
REQUIRED = {"section", "words", "what", "recomputed", "tolerance", "reason", "verdict", "why"}
OPTIONAL = {"reported", "relation"}


class ClaimError(AssertionError):
    """A computed value or a verdict is not the ledger's any more."""


def ledger(file=HERE / "data" / "claims.toml"):
    """All claims by name, in the order of the file. Raises ValueError that names the file and the claim."""
    with open(file, "rb") as stream:
        try:
            table = tomllib.load(stream)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file} is not valid TOML: {error}") from error
    claims = {}
    for name, entry in table.items():
        if missing := REQUIRED - entry.keys():
            raise ValueError(f"{file}: claim {name} lacks {', '.join(sorted(missing))}")
        if unknown := entry.keys() - REQUIRED - OPTIONAL:
            raise ValueError(f"{file}: claim {name} has unknown {', '.join(sorted(unknown))}")
        if entry.get("relation", "at most") not in ("at most", "at least"):
            raise ValueError(
                f"{file}: claim {name} has relation {entry['relation']!r}; it needs 'at most' or 'at least'"
            )
        if entry["verdict"] not in VERDICTS:
            raise ValueError(f"{file}: claim {name} has verdict {entry['verdict']!r}, none of {', '.join(VERDICTS)}")
        claims[name] = Claim(name, entry)
    return claims


def claim(name):
    """The claim of that name. Raises KeyError with the names there are."""
    claims = ledger()
    if name not in claims:
        raise KeyError(f"no claim {name!r} in data/claims.toml; there are {', '.join(claims)}")
    return claims[name]


class Claim:
    """One reported figure or sentence: the fields of data/claims.toml, as attributes."""

    def __init__(self, name, entry):
        self.name = name
        self.reported = self.relation = None
        self.__dict__.update(entry)

    def check(self, value=None):
        """Compare a value just computed with the ledger; show one line, or raise ClaimError.

        value is a number, or a tensor or nested list of the shape reported. It must lie within the tolerance of the
        ledger's recomputed value, and must still bear out the verdict: "reproduced" needs it to agree with the
        reported value, "refuted" to differ from it (with relation "at most" or "at least": to be a bound that it
        breaks). None stands for "not computed here", which only a claim that needs the course's data allows.
        """
        if value is None and self.verdict != "needs the course's data":
            raise ClaimError(f"claim {self.name}: no value; only a claim that needs the course's data allows None")
        if value is not None:
            value = value.tolist() if hasattr(value, "tolist") else value
            self._compare(value)
        from IPython.display import display  # here, so that the ledger can be read without IPython

        record = {"name": self.name, "recomputed": None if value is None else self.show(value)}
        display({"text/plain": self._line(value), "text/html": self._html(value), MIME: record}, raw=True)

    def _compare(self, value):
        off = _distance(self.name, value, self.recomputed)
        if not off <= self.tolerance:  # a NaN is not
            raise ClaimError(
                f"claim {self.name}: computed {self.show(value)}, {off:.3g} from the ledger's "
                f"{self.show(self.recomputed)}; the tolerance is {self.tolerance:g} ({self.reason})"
            )
        if self.reported is None or self.verdict not in ("reproduced", "refuted"):
            return
        if self.relation == "at most":
            agrees = self.reported <= value
        elif self.relation == "at least":
            agrees = self.reported >= value
        else:
            agrees = _distance(self.name, value, self.reported) <= self.tolerance
        if agrees != (self.verdict == "reproduced"):
            raise ClaimError(
                f"claim {self.name}: computed {self.show(value)} {'agrees with' if agrees else 'differs from'} the "
                f"reported {self.show_reported()}, so that the verdict can't be {self.verdict}"
            )

    def show(self, value):
        """A computed value as text, with the decimals that the tolerance warrants."""
        return _text(value, max(0, round(-math.log10(self.tolerance))) if self.tolerance else 0)

    def show_reported(self):
        """The reported value as text, with four decimals as in the report, or none; empty for a sentence."""
        return "" if self.reported is None else _text(self.reported, 4 if 0 < self.tolerance < 1 else 0)

    def _found(self, value):
        """What was reported, if it is a figure, and what was computed."""
        reported = f"reported {self.show_reported()}, " if self.reported is not None else ""
        if value is None:
            return f"{reported}not computed here"
        return f"{reported}recomputed {self.relation or ''} {self.show(value)}".replace("  ", " ")

    def _line(self, value):
        return f"{VERDICTS[self.verdict]} {self.what}: {self._found(value)}: {self.verdict}"

    def _html(self, value):
        words, what, verdict, found, why = (
            html.escape(text) for text in (self.words, self.what, self.verdict, self._found(value), self.why)
        )
        return (
            f'<div class="claim" id="claim-{self.name}"><q>{words}</q><br>'
            f"<strong>{VERDICTS[self.verdict]} {verdict}</strong>: {what}: {found}. <em>{why}</em></div>"
        )


def _text(value, decimals):
    if isinstance(value, list):
        return "[" + ", ".join(_text(v, decimals) for v in value) + "]"
    return f"{value:,.{decimals}f}"


def _distance(name, value, other):
    """The largest difference between two numbers or two nested lists."""
    if isinstance(value, list) != isinstance(other, list) or (isinstance(value, list) and len(value) != len(other)):
        raise ClaimError(f"claim {name}: computed {value!r:.80}, which has not the shape of {other!r:.80}")
    if isinstance(value, list):
        return max((_distance(name, v, o) for v, o in zip(value, other, strict=True)), key=lambda d: (d != d, d))
    return abs(value - other)


def scoreboard(notebooks=HERE / "notebooks"):
    """The checked claims, gathered from the outputs of the executed notebooks: a list of dicts, in the ledger's order.

    Raises ClaimError for a claim that no notebook records, or more than one place, or that the ledger does not have.
    """
    claims, places = ledger(), {}
    for path in sorted(Path(notebooks).glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if record := output.get("data", {}).get(MIME):
                    places.setdefault(record["name"], []).append((path.name, cell["id"], record["recomputed"]))
    for name in claims.keys() | places.keys():
        if name not in claims or len(places.get(name, [])) != 1:
            where = ", ".join(notebook for notebook, _, _ in places.get(name, [])) or "no notebook"
            raise ClaimError(f"claim {name} is {'not in the ledger but ' * (name not in claims)}recorded by {where}")
    rows = []
    for name, entry in claims.items():
        notebook, cell, recomputed = places[name][0]
        recomputed = f"{entry.relation or ''} {recomputed or 'not computed'}".strip()
        rows.append(
            {"section": entry.section, "statement": entry.what, "reported": entry.show_reported(), "recomputed": recomputed,
             "verdict": entry.verdict, "words": entry.words, "name": name, "notebook": notebook, "cell": cell}
        )  # fmt: skip
    return rows


def markdown_table(rows):
    """The scoreboard as a Markdown table; the statement links to its notebook."""
    lines = ["| section | statement | reported | recomputed | verdict |", "|---|---|---|---|---|"]
    for row in rows:
        link = f"[{row['statement']}](notebooks/{row['notebook']})"
        shown = [
            row["section"],
            link,
            (row["reported"] or f"“{row['words']}”").replace("], [", "],<br>["),
            row["recomputed"].replace("], [", "],<br>["),
            f"{VERDICTS[row['verdict']]} {row['verdict']}",
        ]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def main():
    rows = scoreboard()
    columns = ["section", "statement", "reported", "recomputed", "verdict"]
    table = [columns, *([row[column] for column in columns] for row in rows)]
    table = [[cell if len(cell) <= 40 else cell[:37] + "..." for cell in row] for row in table]
    widths = [max(len(row[c]) for row in table) for c in range(len(columns))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    try:
        main()
    except (ClaimError, ValueError, OSError) as error:
        sys.exit(f"mf_claims: {error}")
