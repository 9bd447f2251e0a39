"""The notebooks: executed in order, true to the ledger, sound with other parameters."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
import torch
from conftest import MOVIELENS, with_movielens

import mf_core
from mf_claims import MIME, ledger
from mf_data import Ratings, load_ratings

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path, cell_type="code"):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == cell_type]


def outputs_of(path):
    return [output for cell in cells_of(path) for output in cell.outputs]


def tags(cell):
    return cell.metadata.get("tags", [])


# ------------------------------------------------------------------------------ as they are stored


@each
def test_all_code_cells_were_executed_in_order_without_an_error_or_a_warning(path):
    """nbval passes over a cell that was never executed."""
    counts = [cell.execution_count for cell in cells_of(path)]
    assert counts == list(range(1, len(counts) + 1))
    for output in outputs_of(path):
        assert output.output_type != "error" and output.get("name") != "stderr"


@each
def test_every_figure_says_in_words_and_numbers_what_it_shows(path):
    for output in outputs_of(path):
        if "image/png" in output.get("data", {}):
            alt = output.metadata["image/png"]["alt"]
            assert len(alt) > 40 and re.search(r"\d", alt)


@each
def test_a_notebook_records_each_claim_of_its_section_once(path):
    recorded = [
        output.data[MIME]["name"] for output in outputs_of(path) if MIME in output.get("data", {})
    ]
    own = [name for name, entry in ledger().items() if path.name.startswith(entry.section)]
    assert sorted(recorded) == sorted(own)


@each
def test_links_to_other_files_lead_somewhere(path):
    for cell in cells_of(path, "markdown"):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).is_file(), target


DECIMAL = r"(?<![\w.])\d[\d,]*\.\d\d+"
INVENTED = {"0.1100"}  # a loss in a question of 1.2


@each
def test_a_decimal_in_the_text_is_printed_by_a_cell_or_stated_by_the_handin(path):
    printed = " ".join(str(output.get("text", output.get("data"))) for output in outputs_of(path))
    stated = " ".join(f"{entry.reported} {entry.words}" for entry in ledger().values())
    known = {*re.findall(DECIMAL, printed + stated), *INVENTED}
    for cell in cells_of(path, "markdown"):
        text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", cell.source, flags=re.S)
        assert set(re.findall(DECIMAL, text)) <= known, cell.source


# ------------------------------------------------------------------------------- planted mistakes

DIFFERS = "Notebook cell execution failed"
MISTAKES = {  # section, the right code, the wrong one, and what the check says that sees it
    "V is updated with the old U[i]": (
        "1.1",
        "U[i] = U[i] + lr * e * V[j]\n                V[j] = V[j] + lr * e * U[i]\n",
        "V[j] = V[j] + lr * e * U[i]\n                U[i] = U[i] + lr * e * V[j]\n",
        "Tensor-likes are not close",
    ),
    "the mean for the sum": ("1.2", 'reduction="sum"', 'reduction="mean"', "mse_loss: 0.0136"),
    "nothing is truncated": ("2.1", "S_cut[-1] = 0", "S_cut[-1]", "claim svd-loss: computed"),
    "the error against a matrix with zeros in the gaps": (
        "3.1",
        '("completed-mse").check(((report - A)',
        '("completed-mse").check(((report - A * M)',
        "claim completed-mse: computed 0.65",
    ),
    "the mask is forgotten": (
        "4.1",
        "err = (A - U @ V.T) * M\n        U",
        "err = A - U @ V.T\n        U",
        "Tensor-likes are not close",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen_by_its_check(mistake, tmp_path):
    section, right, wrong, message = MISTAKES[mistake]
    [path] = [path for path in NOTEBOOKS if path.name.startswith(section)]
    notebook = nbformat.read(path, as_version=4)
    [cell] = [cell for cell in notebook.cells if right in cell.source]
    cell.source = cell.source.replace(right, wrong)
    nbformat.write(notebook, tmp_path / path.name)
    # A claim has to see it by itself: `make refresh` would replace the stored outputs.
    nbval = "--nbval" if section == "1.2" else "--nbval-lax"
    command = [sys.executable, "-m", "pytest", "-x", nbval, "--nbval-current-env", tmp_path]
    paths = f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}"
    environment = os.environ | {"PYTHONPATH": paths}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and message in run.stdout, run.stdout


# ------------------------------------------------------------------ with other parameters

[RATINGS] = (ROOT / "notebooks").glob("4.1-*.ipynb")
[HELD_OUT] = (ROOT / "notebooks").glob("5.1-*.ipynb")


def run(notebook, tmp_path, **parameters):
    """Execute the notebook with these parameters, in its folder; return the executed notebook."""
    out = tmp_path / notebook.name
    papermill.execute_notebook(
        notebook,
        out,
        parameters,
        kernel_name="python3",
        cwd=notebook.parent,
        progress_bar=False,
        execution_timeout=600,
    )
    return nbformat.read(out, as_version=4)


def printed(notebook):
    return "\n".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


SMALL = {"users": 500, "num_epochs": 40, "lr": 5e-5, "seed": 7}


def test_the_ratings_notebook_runs_with_another_rank_and_seed(tmp_path):
    """On a smaller table: with the defaults, nbval executes it."""
    text = printed(run(RATINGS, tmp_path, rank=2, **SMALL))
    count = load_ratings(users=500).M.sum()
    assert f"1000 movies x 500 users\n{count:,} ratings" in text and "predicted" in text


@pytest.mark.parametrize(("path", "name", "value"), [
    (RATINGS, "num_epochs", 0), (RATINGS, "rank", "x"), (RATINGS, "rank", 2.5),
    (HELD_OUT, "num_epochs", -1), (HELD_OUT, "rank", "x"),
])  # fmt: skip
def test_a_bad_parameter_is_named(path, name, value, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    known, cells = {}, iter(cells_of(path))
    for cell in cells:
        exec(cell.source, known)
        if "parameters" in tags(cell):
            break
    known |= SMALL | {name: value}
    with pytest.raises((TypeError, ValueError), match=f"^{name} is {value!r}; it needs to be"):
        for cell in cells:
            exec(cell.source, known)


def test_the_prediction_is_of_the_movies_row_and_the_users_column(capsys):
    """The cell marked as an answer, on factors that differ for every row and column."""
    answers = [cell.source for cell in cells_of(RATINGS) if "answer" in tags(cell)]
    titles = [f"Film {i}" for i in range(124)] + ["A Beautiful Mind"]
    A, M = torch.zeros(125, 150), torch.zeros(125, 150, dtype=torch.bool)
    names = {"ratings": Ratings(A, M, titles, "synthetic", ""), "A": A, "M": M}
    names |= {"U": torch.arange(1.0, 126.0)[:, None] / 125, "V": torch.arange(150.0)[:, None]}
    exec(answers[2], names)
    assert names["prediction"] == 4 and "4.00 stars" in capsys.readouterr().out


def test_the_ratings_notebook_runs_on_files_in_the_courses_format(tmp_path):
    """Made-up ratings: the claim about the course's tensor must be checked, and fail."""
    generator = torch.Generator().manual_seed(0)
    ratings = torch.randint(0, 6, (130, 50), generator=generator).float()
    torch.save(ratings, tmp_path / "ratings.pt")
    titles = [f"{i},{'A Beautiful Mind' if i == 124 else f'Film {i}'}" for i in range(130)]
    (tmp_path / "titles.csv").write_text("movie,name\n" + "\n".join(titles) + "\n")
    with pytest.raises(papermill.PapermillExecutionError, match="claim rating-prediction"):
        run(RATINGS, tmp_path, source="course", path=str(tmp_path), num_epochs=20)


# ----------------------------------------------------------------- the ladder of models in 5.1


def held_out(ratings, seed=0, parts=None, **parameters):
    """Run the cells of 5.1 that are tagged "ladder" on these ratings; all their names.

    With the notebook's own parameters but for those given. parts are the masks of the training
    and the test part, instead of the notebook's split.
    """
    names = vars(mf_core) | {"torch": torch, "pd": pd, "tqdm": lambda ranks, *_, **__: ranks}
    for cell in cells_of(HELD_OUT):
        if "parameters" in tags(cell):
            exec(cell.source, names)
            names |= {"A": ratings.A, "M": ratings.M, "seed": seed} | parameters
            names |= dict(zip(("train", "test"), parts or (), strict=False))
        if "ladder" in tags(cell) and not (parts and "test-split" in tags(cell)):
            exec(cell.source, names)
    return names


def errors_of(names, part="test"):
    """The RMSE of each model on one part, by its name."""
    part = names[part]
    return {k: names["rms_error"](names["A"], P, part) for k, P in names["predictions"].items()}


@pytest.fixture(scope="module")
def a_few():
    """A corner of the synthetic ratings: 150 movies by 120 users."""
    ratings = load_ratings()
    return Ratings(
        ratings.A[:150, :120].contiguous(), ratings.M[:150, :120].contiguous(), [], "synthetic", ""
    )


CORNER = {"num_epochs": 20, "lr": 1e-4, "ranks": [3, 10, 30], "starts": 2}


@pytest.fixture(scope="module")
def names(a_few):
    """All that 5.1's cells compute on them."""
    return held_out(a_few, **CORNER)


def test_the_split_takes_its_share_of_every_user_and_each_rating_once(a_few, names):
    parts = [names[part] for part in ("fit", "valid", "test")]
    assert torch.equal(sum(part.int() for part in parts), a_few.M.int())
    assert torch.equal(names["train"], names["fit"] | names["valid"])
    assert torch.equal(names["test"].sum(0), (0.2 * a_few.M.sum(0)).round().long())
    assert (names["fit"].sum(0) > 0).all()


def test_the_test_part_has_no_say_in_what_is_chosen_or_predicted(a_few, names):
    other = replace(a_few, A=torch.where(names["test"], 6 - a_few.A, a_few.A))
    again = held_out(other, **CORNER)
    assert again["grid"].equals(names["grid"])
    for choice in ("best_rank", "best_decay", "epochs"):
        assert again[choice] == names[choice]
    for name, P in names["predictions"].items():
        torch.testing.assert_close(again["predictions"][name], P, rtol=0, atol=0)
    *_, before = errors_of(names).values()
    *_, after = errors_of(again).values()
    assert after > before + 0.1


@with_movielens
def test_on_movielens_each_rung_is_better_and_the_last_reaches_its_target():
    """The mean of three splits, from fewer ranks, decays and starts than the notebook's."""
    ratings = load_ratings("movielens", MOVIELENS)
    quick = {"ranks": [40, 150], "decays": [0.05, 0.1], "num_epochs": 20, "lr": 5e-4}
    runs = [held_out(ratings, seed, **quick, starts=3) for seed in range(3)]
    errors = pd.DataFrame([errors_of(names) for names in runs]).mean()
    mean, _, damped, _, one, averaged = errors
    assert mean > damped + 0.1
    assert damped > one + 0.02
    assert one > averaged + 0.0005
    assert averaged <= 0.838
