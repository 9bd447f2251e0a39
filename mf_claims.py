"""The ledger of what the coursework's report states (data/claims.toml), and the check of it.

In a notebook, claim("svd-loss").check(loss) shows one line - reported, recomputed, verdict - or
raises ClaimError. `python -m mf_claims` gathers these lines from the executed notebooks.
"""

import html
import json
import math
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["Claim", "ClaimError", "claim", "ledger", "scoreboard"]

HERE = Path(__file__).resolve().parent
MIME = "application/vnd.mf-claim+json"  # in a notebook's outputs, for the table of all claims
VERDICTS = {"reproduced": "✓", "refuted": "✗", "qualified": "≈", "needs the course's data": "…"}
RELATIONS = (None, "at most", "at least")


class ClaimError(AssertionError):
    """A computed value or a verdict is not the ledger's any more."""


@dataclass(frozen=True)
class Claim:
    """One reported figure or sentence, as data/claims.toml has it."""

    name: str
    section: str  # "1.1" to "4.1"
    words: str  # the report's
    what: str  # the quantity that is checked
    recomputed: float | list  # what this project computes: a number, or rows of numbers
    tolerance: float  # how far a computed value may lie from it
    reason: str  # for that tolerance
    verdict: str  # one of VERDICTS
    why: str  # the grounds of the verdict
    reported: float | list | None = None  # None where the words are a sentence
    relation: str | None = None  # of RELATIONS: recomputed is a bound on what is reported

    def check(self, value=None) -> None:
        """Compare a value just computed with the ledger; show one line, or raise ClaimError.

        value is a number, or a tensor or nested list of the shape reported. It must lie within the
        ledger's tolerance, and must still bear out the verdict: "reproduced" needs it to agree with
        the reported value, "refuted" to differ from it (with a relation: to be a bound that it
        breaks). None stands for "not computed here", for claims that need the course's data.
        """
        if value is None and self.verdict != "needs the course's data":
            raise ClaimError(f"claim {self.name}: no value, but it does not need the course's data")
        if value is not None:
            value = value.tolist() if hasattr(value, "tolist") else value
            self.compare(value)
        from IPython.display import display  # here, so that the ledger can be read without IPython

        record = {"name": self.name, "recomputed": None if value is None else self.show(value)}
        line = f"{VERDICTS[self.verdict]} {self.what}: {self._found(value)}: {self.verdict}"
        shown = {"text/plain": line, "text/html": self._html(value), MIME: record}
        display(shown, raw=True)

    def compare(self, value) -> None:
        """Raise ClaimError unless the value is the ledger's and bears out the verdict."""
        if not (off := self._distance(value, self.recomputed)) <= self.tolerance:  # nor is a NaN
            raise ClaimError(
                f"claim {self.name}: computed {self.show(value)}, {off:.3g} from the ledger's "
                f"{self.show(self.recomputed)}; the tolerance is {self.tolerance:g} ({self.reason})"
            )
        if self.reported is None or self.verdict not in ("reproduced", "refuted"):
            return
        if self.relation is None:
            agrees = self._distance(value, self.reported) <= self.tolerance
        else:
            agrees = (
                self.reported <= value if self.relation == "at most" else self.reported >= value
            )
        if agrees != (self.verdict == "reproduced"):
            raise ClaimError(
                f"claim {self.name}: computed {self.show(value)}, reported {self.show_reported()}: "
                f"the two {'agree' if agrees else 'differ'}, so the verdict can't be {self.verdict}"
            )

    def show(self, value) -> str:
        """A computed value as text, with the decimals that the tolerance warrants."""
        return _text(value, max(0, round(-math.log10(self.tolerance))) if self.tolerance else 0)

    def show_reported(self) -> str:
        """The reported value as text, four decimals as in the report or none; "" for a sentence."""
        decimals = 4 if 0 < self.tolerance < 1 else 0
        return "" if self.reported is None else _text(self.reported, decimals)

    def _distance(self, value, other):
        """The largest difference between two numbers or two nested lists; NaN if there is one."""
        if np.shape(value) != np.shape(other):
            what = f"{value!r:.80}, which has not the shape of {other!r:.80}"
            raise ClaimError(f"claim {self.name}: computed {what}")
        return np.abs(np.subtract(value, other)).max()

    def _found(self, value):
        """What was reported, if it is a figure, and what was computed."""
        reported = f"reported {self.show_reported()}, " if self.reported is not None else ""
        if value is None:
            return f"{reported}not computed here"
        bound = f"{self.relation} " if self.relation else ""
        return f"{reported}recomputed {bound}{self.show(value)}"

    def _html(self, value):
        text = (self.words, self.what, self.verdict, self._found(value), self.why)
        words, what, verdict, found, why = map(html.escape, text)
        return (
            f'<div class="claim" id="claim-{self.name}"><q>{words}</q><br><strong>'
            f"{VERDICTS[self.verdict]} {verdict}</strong>: {what}: {found}. <em>{why}</em></div>"
        )


def _text(value, decimals):
    if isinstance(value, list):
        return "[" + ", ".join(_text(v, decimals) for v in value) + "]"
    return f"{value:,.{decimals}f}"


def ledger(file=HERE / "data" / "claims.toml") -> dict[str, Claim]:
    """All claims by name, in the file's order. Raises ValueError with the file and the claim."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not valid TOML: {error}") from error
    known = {field.name: field.default for field in fields(Claim) if field.name != "name"}
    required = {name for name, default in known.items() if default is MISSING}
    claims = {}
    for name, entry in table.items():
        wrong = [f"lacks {key}" for key in sorted(required - entry.keys())]
        wrong += [f"has unknown {key}" for key in sorted(entry.keys() - known.keys())]
        for key, allowed in (("relation", RELATIONS), ("verdict", (*VERDICTS, None))):
            if (value := entry.get(key)) not in allowed:
                wrong.append(f"has {key} {value!r}, none of {', '.join(filter(None, allowed))}")
        if wrong:
            raise ValueError(f"{file}: claim {name} {'; '.join(wrong)}")
        claims[name] = Claim(name, **entry)
    return claims


def claim(name: str) -> Claim:
    """The claim of that name. Raises KeyError with the names there are."""
    claims = ledger()
    if name not in claims:
        raise KeyError(f"no claim {name!r} in data/claims.toml; there are {', '.join(claims)}")
    return claims[name]


def scoreboard(notebooks=HERE / "notebooks") -> list[dict]:
    """The checked claims, from the outputs of the executed notebooks, in the ledger's order.

    Raises ClaimError for a claim that no notebook records, or more than one place, or that the
    ledger does not have.
    """
    claims, places = ledger(), {}
    for path in sorted(Path(notebooks).glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if record := output.get("data", {}).get(MIME):
                    place = (path.name, cell["id"], record["recomputed"])
                    places.setdefault(record["name"], []).append(place)
    for name in claims.keys() | places.keys():
        if name not in claims or len(places.get(name, [])) != 1:
            where = ", ".join(notebook for notebook, _, _ in places.get(name, [])) or "no notebook"
            unknown = "" if name in claims else "not in the ledger but "
            raise ClaimError(f"claim {name} is {unknown}recorded by {where}")
    rows = []
    for name, entry in claims.items():
        notebook, cell, recomputed = places[name][0]
        found = " ".join(filter(None, [entry.relation, recomputed or "not computed"]))
        row = {"section": entry.section, "statement": entry.what, "reported": entry.show_reported()}
        row |= {"recomputed": found, "verdict": entry.verdict, "words": entry.words}
        rows.append(row | {"name": name, "notebook": notebook, "cell": cell})
    return rows


def main() -> None:
    """Print the table, a line a claim."""
    columns = ["section", "statement", "reported", "recomputed", "verdict"]
    table = pd.DataFrame(scoreboard())[columns]
    table = table.map(lambda text: f"{text:.37}..." if len(text) > 40 else text)
    table = table.apply(lambda column: column.str.ljust(column.str.len().max()))
    print(table.to_string(index=False, justify="left"))


if __name__ == "__main__":
    try:
        main()
    except (ClaimError, ValueError, OSError) as error:
        sys.exit(f"mf_claims: {error}")
