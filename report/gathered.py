"""What pages show of notebooks: the table of claims, the answers, a live figure.

Each becomes a substitution that a page names, such as {{ scoreboard }}. The HTML is in templates/.
"""

import json
from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import mf_claims
from mf_data import load_coursework_matrix

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
TEMPLATES.globals["symbols"] = mf_claims.VERDICTS


def fill_template(name, **values):
    """The template filled with the values, for a page in Markdown."""
    html = TEMPLATES.get_template(name).render(values)
    return f"```{{raw}} html\n{html}\n```"


def read_cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def group_claims(folder):
    """The rows of the table: claims about the same run or the same figure share one."""
    rows = {}
    for claim, recomputed, notebook in mf_claims.scoreboard(folder):
        statement, finding = claim.sentences(recomputed, as_html=True)
        shown = {"claim": claim, "statement": statement, "finding": finding}
        shown["page"] = Path(notebook).with_suffix(".html")
        rows.setdefault(claim.row or claim.name, []).append(shown)
    return list(rows.values())


def show_claims(folder, template):
    """The rows of claims, and how many there are of each verdict."""
    rows = group_claims(folder)
    counts = Counter(row[0]["claim"].verdict for row in rows)
    return fill_template(template, rows=rows, counts=counts)


def show_cell(cell):
    """A cell of an answer: its text; or its code, what it printed, or both."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    printed = ""
    for output in cell["outputs"]:
        printed += "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
    printed = printed.strip("\n")
    texts = [source, printed] if "with-code" in cell["metadata"]["tags"] else [printed or source]
    return fill_template("answer.html", texts=filter(None, texts))


def show_answers(folder):
    """For each section of the coursework the cells tagged "answer"."""
    shown = []
    for notebook in sorted(folder.glob("[1-4].*.ipynb")):
        cells = read_cells(notebook)
        answers = [cell for cell in cells if "answer" in cell["metadata"].get("tags", [])]
        if not answers:
            raise ValueError(f'{notebook.name}: no cell is tagged "answer" for the answer sheet')
        title = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
        shown.append(fill_template("heading.html", title=title))
        shown.extend(show_cell(cell) for cell in answers)
    return "\n\n".join(shown)


def show_first(folder, section):
    """For the first page, what a section's cell that is tagged "first-page" shows."""
    [notebook] = folder.glob(f"{section}-*.ipynb")
    [cell] = (c for c in read_cells(notebook) if "first-page" in c["metadata"].get("tags", []))
    figure = "".join(cell["outputs"][0]["data"]["text/html"])
    return f"```{{raw}} html\n{figure}\n```"


def show_possible(folder):
    """Fields for typed numbers, with the hand-in's, and the notebooks' verdicts on these."""
    claims = {shown["claim"].name: shown for row in group_claims(folder) for shown in row}
    A, M = load_coursework_matrix()
    entries = [[f"{x:.4f}" for x in row] for row in A.tolist()]
    return fill_template("possible.html", claims=claims, A=entries, M=M.int().tolist())


def list_values(folder):
    """For each claim that is one number, the computed value and the reported one, by name."""
    values = {}
    for claim, recomputed, _ in mf_claims.scoreboard(folder):
        if isinstance(recomputed, str) and claim.reported is not None:
            name = claim.name.replace("-", "_")
            values[name] = recomputed
            values[f"{name}_reported"] = claim.show_reported()
    return values


def set_substitutions(app, config):
    """Gather from the source folder, so that tables and pages show the same notebooks."""
    folder = Path(app.srcdir)
    config.myst_substitutions = list_values(folder) | {
        "scoreboard": show_claims(folder, "scoreboard.html"),
        "passages": show_claims(folder, "passages.html"),
        "answers": show_answers(folder),
        "completions": show_first(folder, "3.1"),
        "factors": show_first(folder, "4.1"),
        "photo": show_first(folder, "2.1"),
        "possible": show_possible(folder),
    }


def setup(app):
    app.connect("config-inited", set_substitutions)
