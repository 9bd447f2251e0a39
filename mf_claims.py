"""The ledger of what the hand-in states, data/claims.toml, and the check of each statement."""

import json
import sys
import tomllib
from collections import defaultdict, namedtuple
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
from IPython.display import display

from mf_paths import DATA, HERE

MIME = "application/vnd.mf-claim+json"  # in a notebook's outputs, for the table of all claims
OPEN = "needs the course's data"  # until check is given the range that decides
VERDICTS = {"reproduced": "✓", "refuted": "✗", "qualified": "≈", OPEN: "…", "undecided": "…"}
REQUIRED = ["section", "words", "found", "tolerance", "reason", "verdict", "why"]
OPTIONAL = ["recomputed", "reported", "relation", "says", "row", "otherwise"]


class ClaimError(AssertionError):
    """A computed value or a verdict is no longer the ledger's."""


class Claim(namedtuple("Claim", ["name", *REQUIRED, *OPTIONAL], defaults=[None] * len(OPTIONAL))):
    """One figure or sentence of the hand-in; the head of data/claims.toml explains the fields."""

    def check(self, value=None) -> None:
        """Show a value just computed, or raise ClaimError. None leaves an open claim open."""
        entry, shown = self, None
        if value is not None or self.verdict != OPEN:
            value = value.tolist() if hasattr(value, "tolist") else value
            entry = self._replace(verdict=self.compare(value))
            shown = self.show(value)
        stated, found = entry.sentences(shown, as_html=True)
        sign = f"{VERDICTS[entry.verdict]} {entry.verdict}"
        box = f'<div class="claim" id="claim-{self.name}">The hand-in: {stated}<br>Here: {found}'
        box += f"<br><strong>{sign}</strong>: <em>{escape(self.why)}</em></div>"
        record = {"name": self.name, "recomputed": shown, "verdict": entry.verdict}
        display({"text/plain": entry.line(shown), "text/html": box, MIME: record}, raw=True)

    def compare(self, value) -> str:
        """The verdict, which of an open claim the range decides; ClaimError if value is wrong."""
        computed = f"claim {self.name}: computed {value}"
        near = partial(np.allclose, rtol=0, atol=self.tolerance)
        expected = [self.reported] * 2 if self.verdict == OPEN else self.recomputed
        has_shape = _shape(value) == _shape(expected)
        if self.verdict == OPEN and has_shape:
            lowest, highest = value
            is_within = lowest - self.tolerance <= self.reported <= highest + self.tolerance
            return "reproduced" if is_within else self.otherwise
        if not (has_shape and near(value, expected)):
            raise ClaimError(f"{computed}, not {expected} within {self.tolerance:g}: {self.reason}")
        if self.reported is not None:
            agrees = self.reported <= value if self.relation else near(self.reported, value)
            if self.verdict == ("refuted" if agrees else "reproduced"):
                raise ClaimError(f"{computed}, reported {self.reported}: not {self.verdict}")
        return self.verdict

    def show(self, value, decimals=None) -> str | list:
        """A value as text, or rows of texts, with the decimals that the tolerance warrants."""
        is_fine = 0 < self.tolerance < 1
        decimals = (decimals or max(2, round(-np.log10(self.tolerance)))) if is_fine else 0
        return np.vectorize(f"{{:,.{decimals}f}}".format)(value).tolist()

    def show_reported(self) -> str | list:
        """The reported value likewise, with four decimals or none; "" for a sentence."""
        return "" if self.reported is None else self.show(self.reported, decimals=4)

    def sentences(self, shown, as_html=False) -> tuple[str, str]:
        """What the hand-in states and what was found; shown is what `show` gave, or None."""
        as_text = escape if as_html else str
        figures = {"reported": self.show_reported(), "recomputed": shown}
        for name, figure in figures.items():
            if np.ndim(figure) == 2:
                figures[name] = _mathml(figure) if as_html else str(figure).replace("'", "")
        stated = self.says or f"“{self.words.strip()}”"
        found = "It is not computed here." if shown is None else self.found
        stop = ("</math>.", "<mo>.</mo></math>")  # so that no line begins with a full stop
        return tuple(as_text(x).format(**figures).replace(*stop) for x in (stated, found))

    def line(self, shown) -> str:
        stated, found = self.sentences(shown)
        return f"{VERDICTS[self.verdict]} {self.verdict}. The hand-in: {stated} Here: {found}"


def _shape(value):
    """() for a finite number, (2, 3) for two rows of three, None for anything else."""
    numbers = np.array(value, dtype=object)
    finite = [type(x) in (int, float) and np.isfinite(x) for x in numbers.flat]
    return numbers.shape if finite and all(finite) else None


def _mathml(rows):  # which browsers show without a script
    cells = ["".join(f"<mtd><mn>{x}</mn></mtd>" for x in row) for row in rows]
    table = "".join(f"<mtr>{row}</mtr>" for row in cells)
    return f"<math><mrow><mo>(</mo><mtable>{table}</mtable><mo>)</mo></mrow></math>"


def ledger(file=DATA / "claims.toml") -> dict[str, Claim]:
    """All claims by name, in the file's order. Raises ValueError with the file and the claim."""
    claims = {}
    for name, fields in tomllib.loads(file.read_text(encoding="utf-8")).items():
        try:
            entry = Claim(name, **fields)
        except TypeError as error:
            raise ValueError(f"{file}: claim {name}: {error}") from error
        is_open = entry.verdict == OPEN
        shape = _shape(entry.reported if is_open else entry.recomputed)
        reported = shape if entry.reported is None else _shape(entry.reported)
        is_valid = {
            "recomputed": entry.recomputed is None if is_open else shape is not None,
            "reported": shape is not None and reported == shape,
            "tolerance": _shape(entry.tolerance) == () and entry.tolerance >= 0,
            "verdict": entry.verdict in list(VERDICTS),
            "relation": entry.relation in [None, "at most"],
            "otherwise": entry.otherwise in (["refuted", "undecided"] if is_open else [None]),
        }
        if wrong := {field: fields.get(field) for field, valid in is_valid.items() if not valid}:
            raise ValueError(f"{file}: claim {name}: {wrong} cannot be: see the file's head")
        claims[name] = entry
    return claims


def claim(name: str) -> Claim:
    """The claim of that name; in a notebook, claim("svd-loss").check(loss) shows it."""
    return ledger()[name]


def scoreboard(folder=HERE / "notebooks") -> list[tuple[Claim, str | list | None, str]]:
    """Each claim, the value shown for it, and where: in the first notebook, or if open the last."""
    shown = defaultdict(list)
    for path in sorted(Path(folder).glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if record := output.get("data", {}).get(MIME):
                    shown[record["name"]].append((record, path.name))
    claims = ledger()
    if differing := claims.keys() ^ shown.keys():
        raise ClaimError(f"not both in the ledger and in a notebook: {', '.join(differing)}")
    table = []
    for name, entry in claims.items():
        record, notebook = shown[name][-1 if entry.verdict == OPEN else 0]
        table.append((entry._replace(verdict=record["verdict"]), record["recomputed"], notebook))
    return table


if __name__ == "__main__":  # python -m mf_claims [FOLDER]
    sys.stdout.reconfigure(errors="replace")  # a terminal may not have the verdicts' signs
    for entry, shown, _ in scoreboard(*sys.argv[1:]):
        print(entry.section, entry.line(shown))
