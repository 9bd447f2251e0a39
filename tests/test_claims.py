"""The ledger: true to the hand-in, broken ones refused; and the check of a claim can fail."""

import json
import re
import shutil

import papermill
import pytest
import torch
from conftest import HANDIN, ROOT, with_handin, write_course

import mf_claims
from mf_claims import MIME, OPEN, Claim, ClaimError, claim, ledger, scoreboard
from mf_core import sgd_factorize_masked
from mf_data import load_coursework_matrix, load_start

REPRODUCED = Claim("a", "2.1", "w", "It is {recomputed}.", 0.01, "r", "reproduced", "y", 0.5, 0.5)
REFUTED = REPRODUCED._replace(reported=0.9, verdict="refuted")
UPPER = REFUTED._replace(reported=66.0, recomputed=40.0, tolerance=0, relation="at most")
LOWER = REFUTED._replace(reported=0.0, recomputed=1, tolerance=0, relation="at least")
COURSE = REPRODUCED._replace(verdict=OPEN, recomputed=None)
MATRIX = REPRODUCED._replace(reported=[[1.0, 2.0]], recomputed=[[1.0, 2.0]])
NAN = float("nan")


@pytest.mark.parametrize(
    ("entry", "near", "off"),
    [
        (REPRODUCED, [0.5, 0.505], [0.52, NAN, None, [0.5]]),
        (REFUTED, [torch.tensor(0.5)], [0, True]),
        (UPPER, [40], [41, 39]),
        (COURSE, [None], [NAN, [0.5]]),
        (MATRIX, [torch.tensor([[1.0, 2.005]])], [[[1.0, 2.02]], [[1.0, NAN]], [1.0, 2.0], 1.0]),
    ],
)
def test_only_a_value_within_the_tolerance_passes_and_is_shown(entry, near, off, capsys):
    for value in near:
        entry.check(value)
        assert entry.verdict in capsys.readouterr().out
    for value in off:
        with pytest.raises(ClaimError, match="claim a: computed .*, not "):
            entry.check(value)


@pytest.mark.parametrize(
    ("entry", "agreeing", "differing"),
    [
        (REPRODUCED, [0.5, 0.505], [0.52, 0.9, 0.4]),
        (UPPER, [40.0, 39.0], [40.5, 66.0]),
        (LOWER, [1.0, 2.0], [0.5, 0.0]),
    ],
)
def test_a_verdict_has_to_follow_from_the_reported_value(entry, agreeing, differing):
    for verdict, fitting, other in (
        ("reproduced", agreeing, differing),
        ("refuted", differing, agreeing),
        ("qualified", agreeing + differing, []),
    ):
        for reported in fitting:
            entry._replace(reported=reported, verdict=verdict).check(entry.recomputed)
        for reported in other:
            with pytest.raises(ClaimError, match=f"reported {reported}: not {verdict}"):
                entry._replace(reported=reported, verdict=verdict).check(entry.recomputed)


@pytest.mark.parametrize(
    ("value", "verdict", "shown"),
    [(0.509, "reproduced", "0.51"), (0.511, "refuted", "0.51"), (None, OPEN, None)],
)
def test_an_open_claim_is_decided_by_its_value(value, verdict, shown, monkeypatch):
    displays = []
    monkeypatch.setattr(mf_claims, "display", lambda data, raw: displays.append(data))
    COURSE.check(value)
    [data] = displays
    assert data[MIME] == {"name": "a", "recomputed": shown, "verdict": verdict}
    assert verdict in data["text/plain"] and f"{verdict}</strong>" in data["text/html"]


def test_a_claim_is_shown_as_text_as_html_and_for_the_table(monkeypatch):
    displays = []
    monkeypatch.setattr(mf_claims, "display", lambda data, raw: displays.append(data))
    MATRIX._replace(words="<b>&", why="1 < 2").check([[1.0, 2.0]])
    MATRIX._replace(says="A < {reported}.").check([[1.0, 2.0]])
    COURSE.check(None)
    quoted, told, absent = displays
    record = {"name": "a", "recomputed": [["1.00", "2.00"]], "verdict": "reproduced"}
    assert quoted[MIME] == record
    line = "✓ reproduced. The hand-in: “<b>&” Here: It is [[1.00, 2.00]]."
    assert quoted["text/plain"] == line
    matrix = "<mtr><mtd><mn>1.00</mn></mtd><mtd><mn>2.00</mn></mtd></mtr>"
    for shown in ("“&lt;b&gt;&amp;”", "1 &lt; 2", matrix, "✓ reproduced", 'id="claim-a"'):
        assert shown in quoted["text/html"]
    assert "A < [[1.0000, 2.0000]]." in told["text/plain"]
    assert "The figure is not computed here." in absent["text/plain"]


FIELDS = {"section": "'2.1'", "words": "'w'", "found": "'x'", "recomputed": "1", "tolerance": "1"}
FIELDS |= {"reason": "'r'", "verdict": "'refuted'", "why": "'y'"}
FIELDS |= {"reported": "3", "relation": "'at most'"}
BROKEN = {
    "tolerance": ["nan", "-1", "inf", "'x'", "true", "[1]"],
    "recomputed": ["", "nan", "'x'", "true", "[]", "[1, 'x']", "[[1, 2], [3]]"],
    "reported": ["nan", "-inf", "'x'", "true", "[1]", "[[1, 2], [3]]"],
    "verdict": ["'proved'", "1", "['refuted']"],
    "relation": ["'above'", "1"],
    "row": ["'a'", "'b'"],
    "why": [""],
    "surprise": ["1"],
}


def test_a_broken_ledger_is_refused_by_file_claim_and_field(tmp_path):
    file = tmp_path / "claims.toml"

    def load(**changes):
        fields = {field: value for field, value in (FIELDS | changes).items() if value}
        file.write_text("[a]\n" + "\n".join(map(" = ".join, fields.items())))
        return ledger(file)

    assert list(load()) == ["a"]
    for field, values in BROKEN.items():
        for value in values:
            with pytest.raises(ValueError, match=f"claims.toml: claim a: .*{field}"):
                load(**{field: value})
    with pytest.raises(ValueError, match="claim a: relation"):
        load(reported="")
    is_open = {"verdict": f'"{OPEN}"', "recomputed": "", "relation": ""}
    assert load(**is_open)["a"].recomputed is None
    for field, value in (("recomputed", "3"), ("reported", ""), ("relation", "'at most'")):
        with pytest.raises(ValueError, match=f"claim a: {field}"):
            load(**is_open | {field: value})
    for text in ("[a", "a = 1", "[a]\n[a]"):
        file.write_text(text)
        with pytest.raises(ValueError, match="claims.toml: "):
            ledger(file)


def test_the_ledgers_own_values_bear_out_its_verdicts_and_zero_would_not_pass():
    for entry in ledger().values():
        if entry.verdict == OPEN:
            continue
        assert entry.compare(entry.recomputed) == entry.verdict
        with pytest.raises(ClaimError, match=f"claim {entry.name}: .* within"):
            entry.compare(torch.zeros_like(torch.tensor(entry.recomputed)).tolist())


def test_the_table_has_each_claim_of_the_ledger_and_no_other(tmp_path):
    names = list(ledger())
    for recorded, differing in ((names[1:], names[0]), ([*names, "strange"], "strange")):
        record = {"recomputed": "1", "verdict": "refuted"}
        outputs = [{"data": {MIME: {"name": name} | record}} for name in recorded]
        notebook = {"cells": [{"source": "no output"}, {"outputs": outputs}]}
        (tmp_path / "1.ipynb").write_text(json.dumps(notebook))
        with pytest.raises(ClaimError, match=f"in a notebook: {differing}$"):
            scoreboard(tmp_path)


def test_the_courses_ratings_decide_what_is_open(tmp_path):
    """Made-up ones of its size and a start from which an epoch leads to the hand-in's figures."""
    M = (torch.arange(1000)[:, None] + torch.arange(10_000)) % 24 < 13
    M[124] = True
    M[:, 4] = True
    write_course(tmp_path, 5.0 * M)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, tmp_path)
    parameters = {"source": "course", "path": str(tmp_path), "num_epochs": 1, "seed": 317}
    options = {"kernel_name": "python3", "cwd": ROOT / "notebooks", "progress_bar": False}
    [stored] = tmp_path.glob("4.1*.ipynb")
    papermill.execute_notebook(stored, tmp_path / "course-4.1.ipynb", parameters, **options)
    table = {entry.name: (entry.verdict, *rest) for entry, *rest in scoreboard(tmp_path)}
    for name, figure in (("rating-prediction", "3.39"), ("rating-error", "66,415,908")):
        assert table.pop(name) == ("reproduced", figure, "course-4.1.ipynb")
    assert not [row for row in table.values() if "course-4.1.ipynb" in row]


NUMERAL = r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?"
GIVEN = "1.1 1.2 2.1 3.1 4.1 1000 0.01"  # the sections, and the exercise's defaults
GIVEN += " 0.3374 0.6005 0.1735 3.3359 0.0492 1.8374 2.9407 0.5301 2.2620"  # and its matrix


def numbers(text):
    return {float(numeral) for numeral in re.findall(NUMERAL, text)}


@with_handin
def test_the_ledger_has_every_number_of_the_handin_and_reports_no_other():
    stated = numbers(HANDIN.read_text(encoding="utf-8"))
    figures = [entry.reported for entry in ledger().values() if entry.reported is not None]
    quoted = numbers(" ".join(entry.words for entry in ledger().values()))
    assert len(stated) > 40 and numbers(f"{figures}") <= stated
    assert stated <= numbers(f"{figures} {GIVEN}") | quoted


@with_handin
def test_the_ledger_quotes_the_handins_words():
    """But for the slips of its transcription: letters and digits alone are compared."""
    plain = re.sub(r"[\W_]", "", HANDIN.read_text(encoding="utf-8")).lower().replace("sdg", "sgd")
    for entry in ledger().values():
        for phrase in re.split(r"[:;]", entry.words):
            assert re.sub(r"[\W_]", "", phrase).lower() in plain, phrase


@pytest.mark.parametrize("section", ["1.2", "3.1"])
def test_from_the_stored_start_a_plain_run_prints_every_digit_of_the_handin(section):
    A, M = load_coursework_matrix()
    start = load_start(section)
    U, V = sgd_factorize_masked(A, M if section == "3.1" else torch.ones(3, 3), 2, init=start)
    product = U @ V.T
    printed = {"sgd-u": U, "sgd-v": V, "sgd-reconstruction": product, "completed-matrix": product}
    for name, matrix in printed.items():
        if claim(name).section == section:
            reported = torch.tensor(claim(name).reported)
            assert [f"{x:.4f}" for x in matrix.ravel()] == [f"{x:.4f}" for x in reported.ravel()]
    assert all((X >= 0).all() and (X < 1).all() for X in start)
