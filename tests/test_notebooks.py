"""The notebooks: as stored, with mistakes planted in them, and with other parameters."""

import ast
import re
import shutil

import nbformat
import pandas as pd
import papermill
import pytest
import torch
from conftest import ROOT

from mf_claims import MIME, ledger
from mf_data import DATA, Ratings
from tests.comparison import find_difference

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def each(notebooks):
    return pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)


def of_section(section):
    [path] = [path for path in NOTEBOOKS if path.name.startswith(section)]
    return path


def cells_of(path, cell_type="code", tag=None):
    cells = nbformat.read(path, as_version=4).cells
    cells = [cell for cell in cells if cell.cell_type == cell_type]
    return [cell for cell in cells if tag is None or tag in cell.metadata.get("tags", [])]


def outputs_of(path):
    return [output for cell in cells_of(path) for output in cell.outputs]


# ---------------------------------------------------------------------------- as they are stored


@each(NOTEBOOKS)
def test_all_code_cells_were_executed_in_order_without_an_error_or_a_warning(path):
    """nbval passes over a cell that was never executed."""
    counts = [cell.execution_count for cell in cells_of(path)]
    assert counts == list(range(1, len(counts) + 1))
    for output in outputs_of(path):
        assert output.output_type != "error" and output.get("name") != "stderr"


@each(NOTEBOOKS)
def test_every_figure_says_in_words_and_numbers_what_it_shows(path):
    for output in outputs_of(path):
        if "image/png" in output.get("data", {}):
            alt = output.metadata["image/png"]["alt"]
            assert len(alt) > 40 and re.search(r"\d", alt)


def test_each_claim_is_recorded_once_in_its_section_or_where_the_handin_is_checked():
    recorded = []
    for path in NOTEBOOKS:
        for output in outputs_of(path):
            if record := output.get("data", {}).get(MIME):
                recorded.append(record["name"])
                assert path.name.startswith((ledger()[record["name"]].section, "6.1"))
    assert sorted(recorded) == sorted(ledger())


@each(NOTEBOOKS)
def test_links_to_other_files_lead_somewhere(path):
    for cell in cells_of(path, "markdown"):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).is_file(), target


DECIMAL = r"(?<![\w.])\d[\d,]*\.\d\d+"
INVENTED = {"0.1100"}  # a loss in a question of 1.2


@each(NOTEBOOKS)
def test_a_decimal_in_the_text_is_printed_by_a_cell_or_stated_by_the_handin(path):
    printed = " ".join(str(output.get("text", output.get("data"))) for output in outputs_of(path))
    stated = " ".join(f"{entry.reported} {entry.words}" for entry in ledger().values())
    known = {*re.findall(DECIMAL, printed + stated), *INVENTED}
    for cell in cells_of(path, "markdown"):
        prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", cell.source, flags=re.S)
        assert set(re.findall(DECIMAL, prose)) <= known, cell.source


# ------------------------------------------------------------------------------ planted mistakes

U_THEN_V = ["U[i] = U[i] + lr * e * V[j]\n", "V[j] = V[j] + lr * e * U[i]\n"]
INDENT = 16 * " "
MISTAKES = {  # the section, the right and the wrong code; the cell that checks it, and what it says
    "V is updated before U": (
        "1.1",
        INDENT.join(U_THEN_V),
        INDENT.join(reversed(U_THEN_V)),
        "assert_close((U_fast, V_fast)",
        "Tensor-likes are not close",
    ),
    "the mean for the sum": (
        "1.2", 'V.T, A, reduction="sum"', "V.T, A", "(mse_loss: ", "(mse_loss: 0.0136)"
    ),
    "nothing is truncated": (
        "2.1", "S[-1] = 0", "S[-1]", 'claim("svd-loss").check', "claim svd-loss: computed"
    ),
    "the gaps count as zeros": (
        "6.1",
        '"completed-mse").check(((handin - A)',
        '"completed-mse").check(((handin - A * M)',
        '"completed-mse").check(',
        "claim completed-mse: computed 0.65",
    ),
    "the mask is forgotten": (
        "4.1",
        "err = (A - U @ V.T) * M\n        U",
        "err = A - U @ V.T\n        U",
        "assert_close(fast, plain",
        "Tensor-likes are not close",
    ),
}  # fmt: skip


def leading_to(check, cells):
    """The cells that define what the cell that checks needs, and this cell."""
    [last] = [number for number, cell in enumerate(cells) if check in cell.source]
    needed, chosen = set(), []
    for cell in reversed(cells[: last + 1]):
        nodes = list(ast.walk(ast.parse(cell.source)))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        defined = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        defined |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        defined |= {(x.asname or x.name) for x in nodes if isinstance(x, ast.alias)}
        if cell is cells[last] or defined & needed:
            needed = needed - defined | {x.id for x in names if isinstance(x.ctx, ast.Load)}
            chosen.insert(0, cell)
    return chosen


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen_by_its_check(mistake, capsys):
    """A claim or an assert sees it, whatever is stored; or what is printed differs from that."""
    section, right, wrong, check, words = MISTAKES[mistake]
    cells = leading_to(check, cells_of(of_section(section)))
    assert sum(right in cell.source for cell in cells) == 1
    names = {}
    try:
        for cell in cells:
            capsys.readouterr()
            exec(cell.source.replace(right, wrong), names)
    except AssertionError as error:
        assert words in str(error)
    else:
        text = capsys.readouterr().out
        printed = nbformat.v4.new_output("stream", text=text)
        assert words in text and find_difference(cells[-1].outputs, [printed])


# --------------------------------------------------------------------------- with other parameters

SMALL = {"rank": 2, "num_epochs": 40, "lr": 5e-5, "seed": 7}
QUICK = {"rates": [1e-4], "steps": [0.02], "decays": [0.0, 0.1], "ranks": [3, 10]}
WITH_PARAMETERS = [path for path in NOTEBOOKS if cells_of(path, tag="parameters")]


def printed(outputs):
    return "".join(output.get("text", "") for output in outputs)


def run(path, tmp_path, parameters):
    """Execute the notebook with those of the parameters that it has; what it prints."""
    [cell] = cells_of(path, tag="parameters")
    own = re.findall(r"^(\w+) =", cell.source, re.M)
    chosen = {name: value for name, value in parameters.items() if name in own}
    options = {"kernel_name": "python3", "cwd": path.parent, "progress_bar": False}
    executed = papermill.execute_notebook(path, tmp_path / path.name, chosen, **options)
    return printed(output for cell in executed.cells for output in cell.get("outputs", []))


@each(WITH_PARAMETERS)
def test_a_notebook_runs_with_other_parameters_on_other_ratings(path, tmp_path):
    """The ratings are those of MovieLens' first 150 users."""
    folder = tmp_path / "set"
    folder.mkdir()
    shutil.copy(DATA / "movielens/movies.csv", folder)
    ratings = pd.read_csv(DATA / "movielens/ratings.csv").query("userId <= 150")
    ratings.to_csv(folder / "ratings.csv", index=False)
    parameters = SMALL | QUICK | {"path": str(folder)}
    assert run(path, tmp_path, parameters) != printed(outputs_of(path))


@pytest.mark.parametrize(
    ("section", "name", "value"), [("4.1", "num_epochs", -1), ("5.1", "rank", "x")]
)
def test_a_bad_parameter_is_named(section, name, value):
    path, names = of_section(section), {}
    with pytest.raises((TypeError, ValueError), match=f"^{name} is {value!r}; it needs"):
        for cell in cells_of(path):
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= SMALL | QUICK | {name: value}


def test_the_prediction_is_of_the_movies_row_and_the_users_column():
    """Executes that cell on factors that differ for every row and column."""
    [cell] = [cell for cell in cells_of(of_section("4.1")) if "\nprediction = " in cell.source]
    titles = [*map(str, range(124)), "A Beautiful Mind"]
    names = {"A": torch.zeros(125, 150), "M": torch.zeros(125, 150, dtype=torch.bool)}
    names |= {"ratings": Ratings(names["A"], names["M"], titles, "movielens", "")}
    factors = torch.arange(1.0, 126.0)[:, None] / 125, torch.arange(150.0)[:, None]
    names |= {"seed": 0, "lr": 1, "run": lambda seed, lr: (*factors, None)}
    exec(cell.source, names)
    assert names["prediction"] == 4


def climb(A, M):
    """All names after the cells of 5.1 that are tagged "ladder", on these ratings."""
    path = of_section("5.1")
    names = {}
    for cell in [cells_of(path)[0], *cells_of(path, tag="parameters")]:
        exec(cell.source, names)
    names |= {"A": A, "M": M} | QUICK
    for cell in cells_of(path, tag="ladder"):
        exec(cell.source, names)
    return names


def test_the_test_part_has_no_say_in_what_is_chosen_or_predicted():
    generator = torch.Generator().manual_seed(0)
    sizes = (150, 3), (3, 120), (150, 120), (150, 120)
    U, V, noise, chance = (torch.rand(size, generator=generator) for size in sizes)
    A, M = (1 + 2.5 * U @ V + noise).clamp(1, 5), chance < 0.5
    first = climb(A * M, M)
    fit, valid, test = first["fit"], first["valid"], first["test"]
    assert torch.equal(fit.int() + valid.int() + test.int(), M.int()) and test.any()
    again = climb(torch.where(test, 6 - A, A * M), M)
    assert (again["choice"], again["epochs"]) == (first["choice"], first["epochs"])
    models, others = (names["climb"](names["train"]) for names in (first, again))
    for name, P in models.items():
        assert torch.equal(P, others[name]), name


def test_the_last_model_reaches_its_target_on_held_out_ratings():
    """As stored: nbval sees that it is computed."""
    row = r"<th>levels and factors</th>\s*<td>[\d.]+</td>\s*<td>[\d.]+</td>\s*<td>([\d.]+)</td>"
    outputs = outputs_of(of_section("5.1"))
    tables = [output.get("data", {}).get("text/html", "") for output in outputs]
    [table] = [table for table in tables if "five splits" in table]
    assert float(re.search(row, table)[1]) <= 0.838
