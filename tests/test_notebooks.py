"""The notebooks: executed in order, with alt text and claims, and sound with other parameters. nbval checks outputs."""

import re
from dataclasses import replace
from itertools import pairwise
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

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
*_, RATINGS, HELD_OUT = NOTEBOOKS
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_there_is_a_notebook_for_each_section_and_one_beyond():
    sections = ["1.1-", "1.2-", "2.1-", "3.1-", "4.1-", "5.1-"]
    assert [path.stem[:4] for path in NOTEBOOKS] == sections


@each
def test_all_code_cells_were_executed_in_order_without_an_error(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [
        o
        for cell in cells
        for o in cell.outputs
        if o.output_type == "error" or o.get("name") == "stderr"
    ]


@each
def test_the_stored_file_is_in_the_form_that_refresh_gives(path):
    notebook = nbformat.read(path, as_version=4)
    assert [cell.id for cell in notebook.cells] == [
        f"cell-{k:02d}" for k in range(1, len(notebook.cells) + 1)
    ]
    assert (
        not any("execution" in cell.metadata for cell in notebook.cells)
        and "widgets" not in notebook.metadata
    )
    assert path.read_text(encoding="utf-8").endswith("}\n")


@each
def test_only_sliders_and_progress_bars_are_exempt_from_the_check_of_outputs(path):
    for cell in code_cells(path):
        if "nbval-ignore-output" in tags(cell):
            assert "explore(" in cell.source or "tqdm(" in cell.source


@each
def test_every_figure_says_in_words_what_it_shows(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata["image/png"]["alt"]
                assert len(alt) > 40 and re.search(r"\d", alt), cell.source


@each
def test_live_figures_keep_their_drawings_together_and_run_the_present_script(path):
    """What a drawing refers to is in it, whatever its names have become; live.js is in it as it is now."""
    script = (path.parent / "live.js").read_text(encoding="utf-8")
    outputs = [
        o
        for c in code_cells(path)
        for o in c.outputs
        if 'class="live"' in o.get("data", {}).get("text/html", "")
    ]
    assert outputs or path == RATINGS
    for output in outputs:
        page = output.data["text/html"]
        named = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
        assert set(named) <= set(re.findall(r'\bid="([^"]+)"', page))
        assert script in page, "live.js or moving.py has changed since: make refresh"


@each
def test_cells_are_short_and_headings_in_order(path):
    cells = nbformat.read(path, as_version=4).cells
    assert 25 <= len(cells) <= 60
    assert all(
        len([line for line in c.source.splitlines() if line.strip()]) <= 20
        for c in cells
        if c.cell_type == "code"
    )
    levels = [
        len(h)
        for c in cells
        if c.cell_type == "markdown"
        for h in re.findall(r"^(#+) ", c.source, re.M)
    ]
    assert levels[0] == 1
    assert all(1 < after <= before + 1 for before, after in pairwise(levels))


@each
def test_every_notebook_has_its_parts(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    for part in ("**What you will do.**", "**What you will learn.**", "**What you will need.**", "## Explore",
                 "## Check your understanding", "## Read more"):  # fmt: skip
        assert part in text
    assert 3 <= text.count("<details>") == text.count("</details>") <= 7


@each
def test_the_claims_that_a_notebook_makes_are_the_ledgers_of_its_section(path):
    recorded = [
        o.data[MIME]["name"]
        for c in code_cells(path)
        for o in c.outputs
        if MIME in o.get("data", {})
    ]
    checked = [
        name
        for c in code_cells(path)
        for name in re.findall(r'claim\("([\w-]+)"\)\.check', c.source)
    ]
    section = path.stem[:3]
    assert recorded == checked
    assert sorted(recorded) == sorted(
        name for name, entry in ledger().items() if entry.section == section
    )


# What stands in the text besides the report's figures and what the exercise gives: a setting, or an example of its own.
GIVEN = "1.1 1.2 2.1 3.1 4.1 5.1 1000 10000 0.01 0.00001"
SETTINGS = {
    "1.1": {"0.1": "a learning rate that the cell above tries"},
    "1.2": {
        "21": "the length of a vector: 12 + 9",
        "0.1100": "an invented report's loss, in a question",
        "0.13": "the limit in the cell above",
    },
    "5.1": {
        "0.3": "per cent, in the cell below",
        "300": "movies in the cell below",
    },
    "2.1": {
        "300": "epochs of the run below",
        "20": "a rank in the figure below",
        "40": "a rank in the figure below",
        "69": "the photograph's numbers, 150 x 128, by 150 + 128 + 1",
    },
}


@each
def test_numbers_in_the_text_are_the_exercises_or_the_ledgers(path):
    """All else is printed by the cell that computed it. Whole numbers to 5 count entries, ranks and stars."""
    known = (
        {float(x) for x in GIVEN.split()}
        | set(range(6))
        | {float(x) for x in SETTINGS.get(path.stem[:3], {})}
    )
    for entry in ledger().values():
        known |= (
            set(torch.tensor(entry.reported, dtype=torch.float64).flatten().tolist())
            if entry.reported
            else set()
        )
    aside = (
        r"```.*?```",
        r"\$\$.*?\$\$",
        r"\$.*?\$",
        r"`[^`]*`",
        r"\]\([^)]*\)",
        r"\(\d\.\d\)|equation \d\.\d",
        r"\b(?:19|20)\d\d\b",
    )
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and not cell.source.startswith("## Read more"):
            text = re.sub("|".join(aside), " ", cell.source, flags=re.S)
            found = [x.replace(",", "") for x in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", text)]
            assert [x for x in found if float(x) not in known] == [], cell.source


@each
def test_links_between_the_notebooks_lead_somewhere(path):
    cells = nbformat.read(path, as_version=4).cells
    for cell in (cell for cell in cells if cell.cell_type == "markdown"):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).is_file(), target


@each
def test_a_notebook_leaves_no_name_of_this_machine(path):
    text = path.read_text(encoding="utf-8")
    assert str(path.parents[1]) not in text and str(Path.home()) + "/" not in text


# ------------------------------------------------------------------------------------------------------------- papermill


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
QUICK = {"ranks": [10], "decays": [0.0, 0.1], "starts": 2}


def test_the_ratings_notebook_runs_with_another_rank_and_seed(tmp_path):
    """On a smaller table: with the defaults, nbval executes it."""
    text = printed(run(RATINGS, tmp_path, rank=2, **SMALL))
    count = load_ratings(users=500).M.sum()
    assert f"1000 movies x 500 users\n{count:,} ratings" in text and "predicted" in text


@pytest.mark.parametrize(("path", "name", "value"), [
    (RATINGS, "num_epochs", 0), (RATINGS, "rank", "x"), (RATINGS, "rank", 2.5), (HELD_OUT, "num_epochs", -1), (HELD_OUT, "rank", "x"),
])  # fmt: skip
def test_a_bad_parameter_is_named(path, name, value, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    known, cells = {}, iter(code_cells(path))
    for cell in cells:
        exec(cell.source, known)
        if "parameters" in tags(cell):
            break
    known |= SMALL | {name: value}
    with pytest.raises((TypeError, ValueError), match=f"^{name} is {value!r}; it needs to be"):
        for cell in cells:
            exec(cell.source, known)


def test_the_held_out_notebook_runs_on_a_smaller_table(tmp_path):
    text = printed(run(HELD_OUT, tmp_path, **SMALL, **QUICK))
    assert (
        "at rank 10, on the edge of the grid" in text
        and "Chosen: rank 10" in text
        and "Lowest test error" in text
    )


def test_the_prediction_is_of_the_movies_row_and_the_users_column(capsys):
    """The cell marked as an answer, on factors that differ for every row and column."""
    answers = [cell.source for cell in code_cells(RATINGS) if "answer" in tags(cell)]
    titles = [f"Film {i}" for i in range(124)] + ["A Beautiful Mind"]
    A, M = torch.zeros(125, 150), torch.zeros(125, 150, dtype=torch.bool)
    names = {"ratings": Ratings(A, M, titles, "synthetic", ""), "A": A, "M": M}
    names |= {"U": torch.arange(1.0, 126.0)[:, None] / 125, "V": torch.arange(150.0)[:, None]}
    exec(answers[2], names)
    assert names["prediction"] == 4 and "4.00 stars" in capsys.readouterr().out


@with_movielens
def test_both_notebooks_on_ratings_run_on_movielens(tmp_path):
    real = {"source": "movielens", "path": str(MOVIELENS), "num_epochs": 200}
    text = printed(run(RATINGS, tmp_path, **real))
    assert "9724 movies x 610 users\n100,836 ratings" in text and "Beautiful Mind, A (2001)" in text
    text = printed(run(HELD_OUT, tmp_path, **real, **QUICK))
    assert "9724 movies x 610 users, 100,836 ratings" in text and "nobody knows" in text


def test_the_ratings_notebook_runs_on_files_in_the_courses_format(tmp_path):
    """Made-up ratings in the course's format: the claim about the course's tensor must then be checked, and fail."""
    generator = torch.Generator().manual_seed(0)
    ratings = torch.randint(0, 6, (130, 50), generator=generator).float()
    torch.save(ratings, tmp_path / "ratings.pt")
    titles = [f"{i},{'A Beautiful Mind' if i == 124 else f'Film {i}'}" for i in range(130)]
    (tmp_path / "titles.csv").write_text("movie,name\n" + "\n".join(titles) + "\n")
    with pytest.raises(papermill.PapermillExecutionError, match="claim rating-prediction"):
        run(RATINGS, tmp_path, source="course", path=str(tmp_path), num_epochs=20)


# ---------------------------------------------------------------------------------------- 5.1's ladder of models


def held_out(ratings, seed=0, parts=None, **parameters):
    """Run the cells of 5.1 that are tagged "ladder", from the split on, on these ratings; all their names.

    With the notebook's own parameters but for those given. parts are the masks of the training
    and the test part, instead of the notebook's split.
    """
    names = vars(mf_core) | {"torch": torch, "pd": pd, "tqdm": lambda ranks, *_, **__: ranks}
    for cell in code_cells(HELD_OUT):
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


def test_a_split_that_is_given_replaces_the_notebooks_own(a_few, names):
    given = names["test"], names["train"]
    again = held_out(a_few, parts=given, **CORNER)
    assert torch.equal(again["train"], given[0]) and torch.equal(again["test"], given[1])
    assert not (again["fit"] & ~given[0]).any() and not (again["valid"] & ~given[0]).any()


def test_the_mean_of_several_starts_is_the_mean_of_their_predictions(names):
    alone = [names["averaged"]([pair]) for pair in names["fitted"]]
    assert not torch.equal(*alone)
    torch.testing.assert_close(names["averaged"](names["fitted"]), sum(alone) / len(alone))


@with_movielens
def test_on_movielens_each_rung_is_better_and_the_last_reaches_its_target():
    """The mean of three splits, from fewer ranks, decays and starts than the notebook's, to save time."""
    ratings = load_ratings("movielens", MOVIELENS)
    quick = {"ranks": [40, 150], "decays": [0.05, 0.1], "num_epochs": 20, "lr": 5e-4}
    runs = [held_out(ratings, seed, **quick, starts=3) for seed in range(3)]
    errors = pd.DataFrame([errors_of(names) for names in runs]).mean()
    mean, _, damped, _, one, averaged = errors
    assert mean > damped + 0.1
    assert damped > one + 0.02
    assert one > averaged + 0.0005
    assert averaged <= 0.838
