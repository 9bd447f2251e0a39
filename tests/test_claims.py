"""The ledger: complete, true to the report, and that the check of a claim can fail."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import REPORT, with_report

import mf_claims
from mf_claims import MIME, Claim, ClaimError, claim, ledger, scoreboard
from mf_core import reconstruction_loss, sgd_factorize_masked
from mf_data import load_coursework_matrix, load_start

sys.path.append(str(Path(__file__).resolve().parents[1] / "notebooks"))
from find_start import find_start

FIGURE = Claim(
    "a", "2.1", "w", "It is {recomputed}.", 0.5, 0.01, "r", "reproduced", "y", reported=0.5
)
REPRODUCED = FIGURE
REFUTED = replace(FIGURE, reported=0.9, verdict="refuted")
BOUND = replace(REFUTED, reported=66.0, recomputed=40.0, tolerance=0.0, relation="at most")
LOWEST = replace(REFUTED, reported=0.0, recomputed=1, tolerance=0.0, relation="at least")
COURSE = replace(FIGURE, reported=3.4, recomputed=3.4, verdict="needs the course's data")
MATRIX = replace(FIGURE, reported=[[1.0, 2.0]], recomputed=[[1.0, 2.0]])


def test_a_value_within_the_tolerance_passes_and_is_shown(capsys):
    for entry, value in [
        (REPRODUCED, 0.505),
        (REFUTED, torch.tensor(0.5)),
        (BOUND, 40),
        (LOWEST, 1),
        (MATRIX, torch.tensor([[1.0, 2.0]])),
    ]:
        entry.check(value)
        assert entry.verdict in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (REPRODUCED, 0.52),
        (REPRODUCED, float("nan")),
        (REPRODUCED, None),
        (REFUTED, 0.9),
        (REFUTED, 0),
        (BOUND, 41),
        (LOWEST, 0),
        (COURSE, 3.6),
        (MATRIX, [[1.0, 2.02]]),
        (MATRIX, [[1.0, float("nan")]]),
        (MATRIX, [[1.0, 2.0, 3.0]]),
        (MATRIX, 1.0),
    ],
)
def test_a_value_off_the_ledger_is_refused(entry, value):
    with pytest.raises(ClaimError, match=f"claim {entry.name}"):
        entry.check(value)


def test_a_verdict_that_the_value_does_not_bear_out_is_refused():
    for verdict, reported in [("refuted", 0.5), ("reproduced", 0.9)]:
        with pytest.raises(ClaimError, match="verdict"):
            replace(FIGURE, reported=reported, verdict=verdict).check(0.5)
    with pytest.raises(ClaimError, match="verdict"):
        replace(BOUND, reported=39.0).check(40)
    with pytest.raises(ClaimError, match="verdict"):
        replace(LOWEST, reported=2.0).check(1)


def test_a_bound_that_is_just_met_bears_the_claim_out():
    for entry, value in ((LOWEST, 1), (BOUND, 40)):
        replace(entry, reported=float(value), verdict="reproduced").check(value)
        with pytest.raises(ClaimError, match="agree, so the verdict can't be refuted"):
            replace(entry, reported=float(value)).check(value)


def test_an_exact_number_is_shown_whole():
    assert BOUND.show(40) == "40" and BOUND.show(1234) == "1,234"


def test_a_notebook_shows_a_claim_as_text_as_html_and_for_the_table(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    entry = replace(MATRIX, words="a < b", why="1 < 2")
    entry.check([[1.0, 2.0]])
    [data] = shown
    assert data["text/plain"] == entry.line([["1.00", "2.00"]])
    assert data[MIME] == {"name": "a", "recomputed": [["1.00", "2.00"]]}
    assert "<mn>1.00</mn>" in data["text/html"] and "<q>a &lt; b</q>" in data["text/html"]
    assert "1 &lt; 2" in data["text/html"] and entry.sign() in data["text/html"]


def test_without_the_courses_data_a_claim_is_shown_as_such(capsys):
    COURSE.check(None)
    assert (
        "needs the course's data. The report: “w” Here: The figure is not computed here."
        in capsys.readouterr().out
    )


def test_the_ledgers_verdicts_agree_with_its_own_values():
    for entry in ledger().values():
        entry.compare(entry.recomputed)


def test_no_tolerance_is_so_wide_that_zero_would_pass():
    for entry in ledger().values():
        values = torch.tensor(entry.recomputed).flatten()
        assert (values.abs().max() > 4 * entry.tolerance).all(), entry.name


def test_an_unknown_claim_names_those_there_are():
    with pytest.raises(KeyError, match="svd-loss"):
        claim("nonsense")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "not valid TOML"),
        ("[a]\nsection = '1'", "claim a lacks .*verdict"),
        ("[a]\nsection='1'\nwords='w'\nfound='x'\nrecomputed=1\ntolerance=1\nreason='r'\nwhy='y'\nverdict='v'", "verdict 'v'"),
        ("[a]\nsection='1'\nwords='w'\nfound='x'\nrecomputed=1\ntolerance=1\nreason='r'\nwhy='y'\nverdict='refuted'\nt=1",
         "unknown t"),
        ("[a]\nsection='1'\nwords='w'\nfound='x'\nrecomputed=1\ntolerance=1\nreason='r'\nwhy='y'\nverdict='refuted'\nrow='b'",
         "row 'b'"),
        ("[a]\nsection='1'\nwords='w'\nfound='x'\nrecomputed=1\ntolerance=1\nreason='r'\nwhy='y'\nverdict='refuted'\nrelation='above'",
         "relation 'above', none of at most, at least"),
    ],
)  # fmt: skip
def test_a_broken_ledger_is_refused(tmp_path, text, words):
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(ValueError, match=words):
        ledger(tmp_path / "claims.toml")


def notebook(folder, name, *claims):
    outputs = [
        {"output_type": "display_data", "data": {MIME: {"name": c, "recomputed": "1"}}}
        for c in claims
    ]
    cell = {"cell_type": "code", "id": "c", "outputs": outputs}
    (folder / name).write_text(json.dumps({"cells": [cell, {"cell_type": "markdown", "id": "m"}]}))


def test_the_scoreboard_fails_on_a_claim_recorded_by_none_by_two_or_unknown(tmp_path):
    names = list(ledger())
    notebook(tmp_path, "1.ipynb", *names)
    assert [entry.name for entry, _, _ in scoreboard(tmp_path)] == names
    notebook(tmp_path, "2.ipynb", names[0])
    with pytest.raises(ClaimError, match=f"{names[0]} is recorded by 1.ipynb, 2.ipynb"):
        scoreboard(tmp_path)
    notebook(tmp_path, "2.ipynb", "strange")
    with pytest.raises(ClaimError, match="strange is not in the ledger"):
        scoreboard(tmp_path)
    notebook(tmp_path, "2.ipynb")
    notebook(tmp_path, "1.ipynb", *names[1:])
    with pytest.raises(ClaimError, match=f"{names[0]} is recorded by no notebook"):
        scoreboard(tmp_path)


def test_the_sentences_hold_the_figures_of_both_sides_and_matrices_as_matrices():
    entry = replace(MATRIX, says="It ended at {reported}.", found="It is {recomputed}.")
    shown = entry.show([[1.004, 2.0]])
    assert entry.sentences(shown) == ("It ended at [[1.0000, 2.0000]].", "It is [[1.00, 2.00]].")
    said, found = entry.sentences(shown, as_html=True)
    assert "<mtr><mtd><mn>1.00</mn></mtd><mtd><mn>2.00</mn></mtd></mtr>" in found
    assert replace(BOUND, says="{reported}").sentences("40")[0] == "66"
    pair = replace(FIGURE, found="{recomputed[1]} and {recomputed[0]}")
    assert pair.sentences(pair.show([0.25, 0.5]))[1] == "0.50 and 0.25"


def test_every_sentence_of_the_ledger_names_its_figures():
    for entry in ledger().values():
        assert "{recomputed" in entry.found, entry.name
        assert not entry.says or entry.reported is None or "{reported}" in entry.says, entry.name
        for text in entry.sentences(entry.show(entry.recomputed)):
            assert text[-1] in ".”" and not re.search(r"[{}]", text), entry.name


def test_text_in_a_claim_is_escaped_as_html(capsys):
    for entry in (
        replace(REPRODUCED, words="<b>&"),
        replace(REPRODUCED, says="<b>&", found="<b>&"),
    ):
        said, found = entry.sentences("1", as_html=True)
        assert "<b>" not in said + found and "&lt;b&gt;&amp;" in said


def test_the_lines_of_all_claims_are_printed_with_both_figures(capsys):
    mf_claims.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ledger())
    [line] = [line for line in lines if "0.1291" in line]
    assert line.startswith("2.1 ✗ refuted") and "0.1219" in line


def test_on_a_broken_ledger_the_command_says_so_in_one_line(tmp_path):
    shutil.copy(mf_claims.__file__, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/claims.toml").write_text("[a")
    run = subprocess.run(
        [sys.executable, "mf_claims.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1 and run.stdout == ""
    assert re.fullmatch(r"mf_claims: .*claims.toml is not valid TOML: .*\n", run.stderr)


# ------------------------------------------------------------------------------------------------ the report's own text

NUMERAL = r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?"
NO_RESULT = {
    "1.1 1.2 2.1 3.1 4.1": "the sections' numbers",
    "1000 0.01": "the defaults of num_epochs and lr, in the exercise's own signature",
    "0.3374 0.6005 0.1735 3.3359 0.0492 1.8374 2.9407 0.5301 2.2620": "the entries of A, which the exercise gives",
}


def numbers(value):
    return [float(x) for x in torch.tensor(value, dtype=torch.float64).flatten()]


@with_report
def test_every_number_of_the_report_is_in_the_ledger_or_explained_as_no_result():
    known = {float(x) for group in NO_RESULT for x in group.split()}
    for entry in ledger().values():
        known |= {abs(x) for x in numbers(entry.reported)} if entry.reported is not None else set()
        known |= {float(x) for x in re.findall(NUMERAL, entry.words)}
    found = re.findall(NUMERAL, REPORT.read_text(encoding="utf-8"))
    assert len(found) > 60 and [x for x in found if float(x) not in known] == []


@with_report
def test_the_ledger_quotes_the_reports_words():
    """But for the slips of its transcription: letters and digits alone are compared."""
    plain = re.sub(r"[\W_]", "", REPORT.read_text(encoding="utf-8")).lower().replace("sdg", "sgd")
    for entry in ledger().values():
        for part in re.split(r"[:;]", entry.words):
            assert re.sub(r"[\W_]", "", part).lower() in plain, part


def test_the_figures_in_the_ledger_are_among_the_words_that_quote_them():
    for entry in ledger().values():
        quoted = [float(x) for x in re.findall(r"\d+\.\d+", entry.words)]
        assert (
            entry.reported is None or not quoted or set(numbers(entry.reported)) <= set(quoted)
        ), entry.name


def test_every_section_has_its_claims():
    sections = [entry.section for entry in ledger().values()]
    assert sections == sorted(sections) and set(sections) == {"1.1", "1.2", "2.1", "3.1", "4.1"}


# ------------------------------------------------------------------------------------------------- the report's own runs


def printed(section, start):
    """Every figure that the report prints of this section's run, of the run from this start: by the claims' names."""
    A, M = load_coursework_matrix()
    M = torch.ones(3, 3) if section == "1.2" else M
    U, V = sgd_factorize_masked(A.to(start[0].dtype), M, 2, init=start)
    if section == "3.1":
        return {"completed-matrix": U @ V.T}
    return {
        "sgd-u": U,
        "sgd-v": V,
        "sgd-reconstruction": U @ V.T,
        "sgd-loss": reconstruction_loss(A.to(U.dtype), U, V),
    }


def assert_all_digits(section, start):
    assert all((X >= 0).all() and (X < 1).all() and X.shape == (3, 2) for X in start)
    for name, value in printed(section, start).items():
        shown = [f"{x:.4f}" for x in value.flatten().tolist()]
        assert shown == [f"{x:.4f}" for x in numbers(claim(name).reported)], name


@pytest.mark.parametrize("section", ["1.2", "3.1"])
def test_from_the_found_start_a_plain_run_prints_every_digit_of_the_report(section):
    assert_all_digits(section, load_start(section))


@pytest.mark.parametrize(("section", "seeds"), [("1.2", (1, 2, 3)), ("3.1", (2, 3, 6))])
def test_such_a_start_is_found_anew(section, seeds):
    """From other random places than the notebook's; not every place leads to one, so there are three tries."""

    def run(*start):
        return torch.cat(
            [
                value.flatten()
                for name, value in printed(section, start).items()
                if name != "sgd-loss"
            ]
        )

    names = [name for name in printed(section, load_start(section)) if name != "sgd-loss"]
    target = torch.tensor(
        sum((numbers(claim(name).reported) for name in names), []), dtype=torch.float64
    )
    for seed in seeds:
        start, off = find_start(run, target, seed)
        if off < 5e-5:
            break
    assert off < 5e-5
    assert_all_digits(section, start)
