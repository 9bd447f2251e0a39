"""The ledger of what the coursework's report states (data/claims.toml), and the check of it.

In a notebook, claim("svd-loss").check(loss) shows what the report says, what was found and the
verdict, or raises ClaimError. `python -m mf_claims` gathers all that from the executed notebooks.
"""

import html
import json
import math
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np

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
    found: str  # a sentence for the table; {recomputed} stands for the computed value
    recomputed: float | list  # what this project computes: a number, or rows of numbers
    tolerance: float  # how far a computed value may lie from it
    reason: str  # for that tolerance
    verdict: str  # one of VERDICTS
    why: str  # the grounds of the verdict
    reported: float | list | None = None  # None where the words are a sentence
    relation: str | None = None  # of RELATIONS: recomputed is a bound on what is reported
    says: str | None = None  # the report's statement with its {reported} figure; None: its words
    row: str | None = None  # the claim in whose row of the table this one stands too

    def check(self, value=None) -> None:
        """Compare a value just computed with the ledger; show the outcome, or raise ClaimError.

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

        shown = None if value is None else self.show(value)
        said, found = self.sentences(shown, as_html=True)
        box = f'<div class="claim" id="claim-{self.name}">The report: {said}<br>Here: {found}<br>'
        box += f"<strong>{self.sign()}</strong>: <em>{html.escape(self.why)}</em></div>"
        record = {"name": self.name, "recomputed": shown}
        display({"text/plain": self.line(shown), "text/html": box, MIME: record}, raw=True)

    def compare(self, value) -> None:
        """Raise ClaimError unless the value is the ledger's and bears out the verdict."""
        if not (off := self._distance(value, self.recomputed)) <= self.tolerance:  # nor is a NaN
            raise ClaimError(
                f"claim {self.name}: computed {_flat(self.show(value))}, {off:.3g} from the "
                f"ledger's {_flat(self.show(self.recomputed))}; the tolerance is "
                f"{self.tolerance:g} ({self.reason})"
            )
        if self.reported is None or self.verdict not in ("reproduced", "refuted"):
            return
        if self.relation is None:
            agrees = self._distance(value, self.reported) <= self.tolerance
        else:
            above = self.reported >= value
            agrees = above if self.relation == "at least" else self.reported <= value
        if agrees != (self.verdict == "reproduced"):
            raise ClaimError(
                f"claim {self.name}: computed {_flat(self.show(value))}, reported "
                f"{_flat(self.show_reported())}: the two {'agree' if agrees else 'differ'}, "
                f"so the verdict can't be {self.verdict}"
            )

    def show(self, value) -> str | list:
        """A value as text, or rows of texts, with the decimals that the tolerance warrants."""
        return _shown(value, max(0, round(-math.log10(self.tolerance))) if self.tolerance else 0)

    def show_reported(self) -> str | list:
        """The reported value as text, four decimals as in the report or none; "" for a sentence."""
        if self.reported is None:
            return ""
        return _shown(self.reported, 4 if 0 < self.tolerance < 1 else 0)

    def sentences(self, shown, as_html=False) -> tuple[str, str]:
        """What the report says and what was found; shown is what `show` gave, or None."""
        escape, matrix = (html.escape, _mathml) if as_html else (str, _flat)
        quote = "<q>{}</q>" if as_html else "“{}”"
        said = escape(self.says) if self.says else quote.format(escape(self.words.strip()))
        found = escape(self.found) if shown is not None else "The figure is not computed here."
        figures = {"reported": self.show_reported(), "recomputed": shown}
        figures = {k: matrix(x) if np.ndim(x) == 2 else x for k, x in figures.items()}
        said = said.format(**figures) if self.says else said
        stop = "</math>.", "<mo>.</mo></math>"  # so that no line begins with a full stop
        return said.replace(*stop), found.format(**figures).replace(*stop)

    def sign(self) -> str:
        return f"{VERDICTS[self.verdict]} {self.verdict}"

    def line(self, shown) -> str:
        """All in one line of text."""
        said, found = self.sentences(shown)
        return f"{self.sign()}. The report: {said} Here: {found}"

    def _distance(self, value, other):
        """The largest difference between two numbers or two nested lists; NaN if there is one."""
        if np.shape(value) != np.shape(other):
            what = f"{value!r:.80}, which does not have the shape of {other!r:.80}"
            raise ClaimError(f"claim {self.name}: computed {what}")
        return np.abs(np.subtract(value, other)).max()


def _shown(value, decimals):
    if isinstance(value, list):
        return [_shown(v, decimals) for v in value]
    return f"{value:,.{decimals}f}"


def _flat(shown):
    return "[" + ", ".join(map(_flat, shown)) + "]" if isinstance(shown, list) else shown


def _mathml(rows):
    """A matrix, which browsers show without a script."""
    cells = ["".join(f"<mtd><mn>{x}</mn></mtd>" for x in row) for row in rows]
    table = "".join(f"<mtr>{row}</mtr>" for row in cells)
    return f"<math><mrow><mo>(</mo><mtable>{table}</mtable><mo>)</mo></mrow></math>"


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
        allowed = {"relation": RELATIONS, "verdict": (*VERDICTS, None), "row": (*claims, None)}
        for key, values in allowed.items():
            if (value := entry.get(key)) not in values:
                wrong.append(f"has {key} {value!r}, none of {', '.join(filter(None, values))}")
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


def scoreboard(notebooks=HERE / "notebooks") -> list[tuple[Claim, str | list | None, str]]:
    """Each claim with the value computed (as shown) and the notebook, in the ledger's order.

    Gathered from the outputs of the executed notebooks. Raises ClaimError for a claim that no
    notebook records, or more than one place, or that the ledger does not have.
    """
    claims, places = ledger(), {}
    for path in sorted(Path(notebooks).glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if record := output.get("data", {}).get(MIME):
                    places.setdefault(record["name"], []).append((record["recomputed"], path.name))
    for name in claims.keys() | places.keys():
        if name not in claims or len(places.get(name, [])) != 1:
            where = ", ".join(notebook for _, notebook in places.get(name, [])) or "no notebook"
            unknown = "" if name in claims else "not in the ledger but "
            raise ClaimError(f"claim {name} is {unknown}recorded by {where}")
    return [(entry, *places[name][0]) for name, entry in claims.items()]


def main() -> None:
    """Print a line for each claim."""
    for entry, shown, _ in scoreboard():
        print(entry.section, entry.line(shown))


if __name__ == "__main__":
    try:
        main()
    except (ClaimError, ValueError, OSError) as error:
        sys.exit(f"mf_claims: {error}")
