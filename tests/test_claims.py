"""The ledger: true to the hand-in, broken ones refused; and the check of a claim can fail."""

import json
import re

import pytest
import torch
from conftest import HANDIN, with_handin

import mf_claims
from mf_claims import MIME, OPEN, Claim, ClaimError, ledger, scoreboard

REPRODUCED = Claim("a", "2.1", "w", "It is {recomputed}.", 0.01, "r", "reproduced", "y", 0.5, 0.5)
REFUTED = REPRODUCED._replace(reported=0.9, verdict="refuted")
UPPER = REFUTED._replace(reported=66.0, recomputed=40.0, tolerance=0, relation="at most")
COURSE = REPRODUCED._replace(verdict=OPEN, recomputed=None, otherwise="undecided")
MATRIX = REPRODUCED._replace(reported=[[1.0, 2.0]], recomputed=[[1.0, 2.0]])
NAN = float("nan")


@pytest.fixture
def displays(monkeypatch):
    """What the checks of a test show."""
    shown = []
    monkeypatch.setattr(mf_claims, "display", lambda data, raw: raw and shown.append(data))
    return shown


@pytest.mark.parametrize(("entry", "near", "off"), [
    (REPRODUCED, [0.5, 0.505], [0.52, NAN, None, [0.5]]),
    (REFUTED, [torch.tensor(0.5)], [0, True]),
    (COURSE, [None], [0.5, [0.5], [NAN, 0.5]]),
    (UPPER, [40.0], [40.01]),
    (MATRIX, [torch.tensor([[1.0, 2.005]])], [[[1.0, 2.02]], [[1.0, NAN]], [1.0, 2.0], 1.0]),
])  # fmt: skip
def test_only_a_value_within_the_tolerance_passes_and_is_shown(entry, near, off, displays):
    for value in near:
        entry.check(value)
        assert entry.verdict in displays.pop()["text/plain"]
    for value in off:
        with pytest.raises(ClaimError, match="claim a: computed .*, not "):
            entry.check(value)
    assert not displays


@pytest.mark.parametrize(("entry", "agreeing", "differing"), [
    (REPRODUCED, [0.5, 0.505], [0.52, 0.9, 0.4]),
    (UPPER, [40.0, 39.0], [40.5, 66.0]),
])  # fmt: skip
def test_a_verdict_has_to_follow_from_the_reported_value(entry, agreeing, differing):
    cases = [("reproduced", "refuted", agreeing), ("refuted", "reproduced", differing)]
    for right, wrong, values in cases:
        for reported in values:
            for verdict in (right, "qualified"):
                claimed = entry._replace(reported=reported, verdict=verdict)
                assert claimed.compare(entry.recomputed) == verdict
            with pytest.raises(ClaimError, match=f"reported {reported}: not {wrong}"):
                claimed._replace(verdict=wrong).compare(entry.recomputed)


def test_an_open_claim_is_decided_by_the_range_of_several_seeds(displays):
    entry = COURSE._replace(found="From {recomputed[0]}.")
    decisions = {(0.3, 0.7): "reproduced", (0.509, 0.7): "reproduced"}
    decisions |= {(0.511, 0.7): "undecided", (0.3, 0.489): "undecided"}
    for (lowest, highest), verdict in decisions.items():
        entry.check([lowest, highest])
        data = displays.pop()
        assert data[MIME]["verdict"] == verdict and f"{verdict}</strong>" in data["text/html"]
        assert f"From {lowest:.2f}." in data["text/plain"] and verdict in data["text/plain"]


def test_a_claim_is_shown_as_text_as_html_and_for_the_table(displays):
    MATRIX._replace(words="<b>&", why="1 < 2").check([[1.0, 2.0]])
    MATRIX._replace(says="A < {reported}.").check([[1.0, 2.0]])
    quoted, told = displays
    assert quoted[MIME]["recomputed"] == [["1.00", "2.00"]]
    line = "✓ reproduced. The hand-in: “<b>&” Here: It is [[1.00, 2.00]]."
    assert quoted["text/plain"] == line and "A < [[1.0000, 2.0000]]." in told["text/plain"]
    matrix = "<mtr><mtd><mn>1.00</mn></mtd><mtd><mn>2.00</mn></mtd></mtr>"
    for shown in ("“&lt;b&gt;&amp;”", "1 &lt; 2", matrix, "✓ reproduced", 'id="claim-a"'):
        assert shown in quoted["text/html"]


FIELDS = {"section": "'2.1'", "words": "'w'", "found": "'x'", "recomputed": "1", "tolerance": "1"}
FIELDS |= {"reason": "'r'", "verdict": "'refuted'", "why": "'y'", "reported": "3"}
IS_OPEN = {"verdict": f'"{OPEN}"', "recomputed": "", "otherwise": "'refuted'"}


@pytest.mark.parametrize(("field", "values", "changes"), [
    ("tolerance", ["nan", "-1", "inf", "'x'", "true", "[1]"], {}),
    ("recomputed", ["", "nan", "'x'", "true", "[]", "[1, 'x']", "[[1, 2], [3]]"], {}),
    ("reported", ["nan", "-inf", "'x'", "true", "[1]", "[[1, 2], [3]]"], {}),
    ("verdict", ["'proved'", "1", "['refuted']"], {}),
    ("relation", ["'above'", "1"], {}),
    ("why", [""], {}),
    ("surprise", ["1"], {}),
    ("recomputed", ["3"], IS_OPEN),
    ("otherwise", ["'reproduced'", ""], IS_OPEN),
    ("reported", [""], IS_OPEN),
])  # fmt: skip
def test_a_broken_ledger_is_refused_by_file_claim_and_field(tmp_path, field, values, changes):
    file = tmp_path / "claims.toml"

    def load(**changes):
        fields = {field: value for field, value in (FIELDS | changes).items() if value}
        file.write_text("[a]\n" + "\n".join(map(" = ".join, fields.items())))
        return ledger(file)

    assert list(load(**changes)) == ["a"]
    for value in values:
        with pytest.raises(ValueError, match=f"claims.toml: claim a: .*{field}"):
            load(**changes | {field: value})


def test_the_table_has_each_claim_and_the_last_notebook_decides_what_is_open(tmp_path):
    def write(notebook, names, verdict):
        record = {"recomputed": notebook, "verdict": verdict}
        outputs = [{"data": {MIME: {"name": name} | record}} for name in names]
        notebook = tmp_path / f"{notebook}.ipynb"
        notebook.write_text(json.dumps({"cells": [{}, {"outputs": [{}, *outputs]}]}))

    names = list(ledger())
    for recorded, differing in ((names[1:], names[0]), ([*names, "strange"], "strange")):
        write("1", recorded, "refuted")
        with pytest.raises(ClaimError, match=f"in a notebook: {differing}$"):
            scoreboard(tmp_path)
    write("1", names, "refuted")
    write("2", names, "reproduced")
    for entry, *row in scoreboard(tmp_path):
        is_open = ledger()[entry.name].verdict == OPEN
        decided = ("reproduced", "2", "2.ipynb") if is_open else ("refuted", "1", "1.ipynb")
        assert (entry.verdict, *row) == decided


NUMERAL = r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?"
GIVEN = "1.1 1.2 2.1 3.1 4.1 1000 0.01"  # the sections, and the exercise's defaults
GIVEN += " 0.3374 0.6005 0.1735 3.3359 0.0492 1.8374 2.9407 0.5301 2.2620"  # and its matrix


def numbers(text):
    return {float(numeral) for numeral in re.findall(NUMERAL, text)}


@with_handin
def test_the_ledger_has_every_number_of_the_handin_and_quotes_its_words():
    """But for the slips of its transcription: of words, letters and digits alone are compared."""
    text = HANDIN.read_text(encoding="utf-8")
    stated = numbers(text)
    figures = [entry.reported for entry in ledger().values() if entry.reported is not None]
    quoted = numbers(" ".join(entry.words for entry in ledger().values()))
    assert len(stated) > 40 and numbers(f"{figures}") <= stated
    assert stated <= numbers(f"{figures} {GIVEN}") | quoted
    plain = re.sub(r"[\W_]", "", text).lower().replace("sdg", "sgd")
    for entry in ledger().values():
        for phrase in re.split(r"[:;]", entry.words):
            assert re.sub(r"[\W_]", "", phrase).lower() in plain, phrase
