"""What the report gathers: the table of claims, the answers, execution times, the bench's table.

Each becomes a substitution that a page names, such as {{ scoreboard }}. The HTML is in templates/.
"""

import json
import os
import platform
import re
from collections import Counter
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import mf_claims

PACKAGES = ["torch", "numpy", "numba", "pandas", "matplotlib"]  # named beside the times
SLOWEST = 12  # cells
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
    """The claims as a person counts them: those of one run or one figure share a row."""
    rows = {}
    for entry, shown, notebook in mf_claims.scoreboard(folder):
        said, found = entry.sentences(shown, as_html=True)
        start = {"section": entry.section, "page": notebook.replace(".ipynb", ".html")}
        start |= {
            "name": entry.name,
            "figure": entry.reported is not None,
            "said": [],
            "found": [],
            "verdicts": [],
        }
        row = rows.setdefault(entry.row or entry.name, start)
        for key, value in (("said", said), ("found", found), ("verdicts", entry.verdict)):
            if value not in row[key]:
                row[key].append(value)
    return list(rows.values())


def show_scoreboard(folder):
    """The table of all claims, and how many there are of each verdict."""
    rows = group_claims(folder)
    counts = Counter(row["verdicts"][0] for row in rows)
    return fill_template("scoreboard.html", rows=rows, counts=counts)


def show_cell(cell):
    """A cell of an answer: its text; what it printed; its code, if it printed nothing or is tagged so."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    printed = [
        "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
        for output in cell["outputs"]
    ]
    printed = "".join(printed).strip("\n")
    with_code = "with-code" in cell["metadata"]["tags"]
    shown = [source] * (with_code or not printed) + [printed] * bool(printed)
    return fill_template("answer.html", texts=shown)


def show_answers(folder):
    """For each section the cells tagged "answer"; then the verdicts on the report's figures."""
    parts = []
    for path in sorted(folder.glob("[1-4].*.ipynb")):
        cells = read_cells(path)
        tagged = [cell for cell in cells if "answer" in cell["metadata"].get("tags", [])]
        if not tagged:
            raise ValueError(f'{path.name}: no cell is tagged "answer" for the answer sheet')
        heading = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
        parts += [fill_template("heading.html", text=heading), *map(show_cell, tagged)]
    rows = [row for row in group_claims(folder) if row["figure"]]
    sheet = fill_template("sheet.html", rows=rows).split("<!-- answers -->")
    return "\n\n".join([sheet[0] + "```", *parts, "```{raw} html\n" + sheet[1]])


def show_completions(folder):
    """Section 3.1's first live figure, for the first page; the names in it differ from those in the section."""
    [notebook] = folder.glob("3.1-*.ipynb")
    outputs = [output for cell in read_cells(notebook) for output in cell.get("outputs", [])]
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    figure = next(page for page in pages if page.startswith('<figure class="live"'))
    figure = re.sub(r'(id="|href="#|url\(#)', r"\g<1>cover-", figure)
    return f"```{{raw}} html\n{figure}\n```"


def read_times(file):
    """The day of the execution, and (notebook, index of the code cell, seconds) for each cell."""
    tree = ElementTree.parse(file)
    cells = []
    for case in tree.iter("testcase"):
        notebook = case.get("classname").split(".", 1)[1]
        cells.append((notebook, int(case.get("name").split()[-1]), float(case.get("time"))))
    return next(tree.iter("testsuite")).get("timestamp")[:10], sorted(cells)


def get_processor():
    """The processor's name, as far as it can be found out."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def show_times(file, folder):
    """How long the notebooks and their slowest cells took, where, and with which versions.

    file is what nbval writes when `make report` executes the notebooks.
    """
    if not file.is_file():
        return "Not measured in this build: `make report` executes the notebooks and measures."
    day, cells = read_times(file)
    totals = [
        {"notebook": notebook, "seconds": sum(seconds for _, _, seconds in group)}
        for notebook, group in groupby(cells, key=lambda cell: cell[0])
    ]
    slowest = []
    for notebook, index, seconds in sorted(cells, key=lambda cell: -cell[2])[:SLOWEST]:
        code = [cell for cell in read_cells(folder / notebook) if cell["cell_type"] == "code"]
        first_line = "".join(code[index]["source"]).splitlines()[0]
        row = {"section": notebook[:3], "number": index + 1, "code": first_line, "seconds": seconds}
        slowest.append(row)
    machine = {
        "cores": os.cpu_count(),
        "processor": get_processor(),
        "python": platform.python_version(),
        "versions": [f"{package} {version(package)}" for package in PACKAGES],
    }
    parts = [
        fill_template("times.html", day=day, totals=totals, **machine),
        "## The slowest cells",
        fill_template("slowest.html", rows=slowest),
    ]
    return "\n\n".join(parts)


def list_figures(folder):
    """Substitutions for the claims that are one number: the computed value and the reported one."""
    figures = {}
    for entry, shown, _ in mf_claims.scoreboard(folder):
        if isinstance(shown, str) and entry.reported is not None:
            name = entry.name.replace("-", "_")
            figures |= {name: shown, f"{name}_reported": entry.show_reported()}
    return figures


def list_downloads(folder):
    names = sorted(path.name for path in folder.glob("[1-9]*.ipynb"))
    return ", ".join(f"{{download}}`{name[:3]} <{name}>`" for name in names)


def introduce_real_ratings(folder):
    """What the page on real ratings says: whether this report has them, and how to get them."""
    names = sorted(path.stem for path in folder.glob("real-*.ipynb"))
    if not names:
        return (
            "This report was made without real ratings. `make data` and then `make report`, typed"
            " in a clone of the repository, download MovieLens's ml-latest-small and add the"
            " notebooks on ratings as executed on it."
        )
    text = "The notebooks on ratings, executed once more, on MovieLens's ml-latest-small."
    return "\n".join([text, "", "```{toctree}", ":maxdepth: 1", *names, "```"])


def show_speed(file):
    """What `make bench` wrote; no line begins with a unit."""
    text = file.read_text(encoding="utf-8")
    return re.sub(r"(\d) (µs|ms|s|ns|x|MB)\b", "\\1\N{NO-BREAK SPACE}\\2", text)


def set_substitutions(app, config):
    """Gather from the source folder, so that tables and pages show the same notebooks."""
    folder = Path(app.srcdir)
    config.myst_substitutions = list_figures(folder) | {
        "downloads": list_downloads(folder),
        "real": introduce_real_ratings(folder),
        "speed": show_speed(folder / "bench.txt"),
        "scoreboard": show_scoreboard(folder),
        "answers": show_answers(folder),
        "completions": show_completions(folder),
        "times": show_times(folder.parent / "times.xml", folder),
    }


def setup(app):
    app.connect("config-inited", set_substitutions)
