"""Sphinx: the report, from the notebooks' stored outputs. It needs no network, and nor does the page it makes."""

import html
import json
import os
import platform
import re
from collections import Counter
from importlib.metadata import version as version_of
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert

import mf_claims

HERE = Path(__file__).resolve().parent
TIMES = HERE.parent / "build" / "times.xml"  # written by `make report` as it executes
PACKAGES = "torch numpy numba pandas matplotlib".split()

project = "Matrix factorisation by gradient descent"
author = "the authors of the notebooks"
html_title = project
extensions = ["myst_nb", "sphinx_copybutton", "sphinxcontrib.bibtex"]
exclude_patterns = ["_build", ".ipynb_checkpoints"]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
}
html_sidebars = {
    "**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]
}
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"
html_static_path = ["report.css"]
html_css_files = ["report.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
nb_execution_mode = "off"  # what is shown is what was checked
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "substitution", "colon_fence"]
copybutton_selector = (
    "div.cell_input pre, div.highlight-python pre, div.highlight-sh pre"
)
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
suppress_warnings = [
    "mystnb.unknown_mime_type"
]  # the record in a claim's output, beside its text


def raw(*lines):
    """HTML for a page in Markdown."""
    return "\n".join(["```{raw} html", *lines, "```"])


def table(columns, rows, name):
    """A table whose cells are HTML."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = [
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return "\n".join(
        [
            f'<div class="frame" tabindex="0" role="region" aria-label="{name}">',
            f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>',
            *body,
            "</tbody></table></div>",
        ]
    )


# ------------------------------------------------------------------------------------------------- the claims
def figure(text):
    """A number as it is; a matrix row under row."""
    return (
        f'<span class="matrix">{html.escape(text).replace("], ", "],<br>")}</span>'
        if "[[" in text
        else html.escape(text)
    )


def claim_cells(row):
    """Statement, reported, recomputed and verdict; the statement leads to the line of its check."""
    target = f"{row['notebook'].removesuffix('.ipynb')}.html#claim-{row['name']}"
    symbol, verdict = mf_claims.VERDICTS[row["verdict"]], row["verdict"]
    return [
        f'<a href="{target}">{html.escape(row["statement"])}</a>',
        figure(row["reported"]) or "in words",
        figure(row["recomputed"]),
        f'<span class="verdict {verdict.split()[0]}">{symbol}&nbsp;{html.escape(verdict)}</span>',
    ]


CLAIMS = ["statement", "reported", "recomputed", "verdict"]


def scoreboard():
    """The table of all claims, and how many there are of each verdict."""
    rows = mf_claims.scoreboard()
    counts = Counter(row["verdict"] for row in rows)
    parts = [f"{v}: {counts[v]}" for v in mf_claims.VERDICTS if counts[v]]
    cells = [[row["section"], *claim_cells(row)] for row in rows]
    for row, line in zip(rows, cells, strict=True):
        if not row["reported"]:
            line[1] += f"<q>{html.escape(row['words'])}</q>"
    summary = html.escape(f"{len(rows)} claims; {', '.join(parts)}.")
    return raw(
        f"<p>{summary}</p>", table(["section", *CLAIMS], cells, "Table of claims")
    )


# ----------------------------------------------------------------------------------------------- the answers
def notebook_cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text_of(cell):
    """What the cell printed or, if nothing, its code."""
    outputs = [
        "".join(o.get("text") or o.get("data", {}).get("text/plain", ""))
        for o in cell["outputs"]
    ]
    return ("".join(outputs) or "".join(cell["source"])).strip("\n")


def answers():
    """Section by section: what the cells tagged "answer" hold, and the section's claims. One page on paper."""
    parts, claims = [], [row for row in mf_claims.scoreboard() if row["reported"]]
    for path in sorted(HERE.glob("*.ipynb")):
        cells = notebook_cells(path)
        heading = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
        chosen = [
            cell for cell in cells if "answer" in cell["metadata"].get("tags", [])
        ]
        if not chosen:
            raise ValueError(
                f'{path.name}: no cell is tagged "answer" for the answer sheet'
            )
        blocks = "".join(
            f'<pre tabindex="0">{html.escape(text_of(cell))}</pre>' for cell in chosen
        )
        parts.append(
            f'<h2>{html.escape(heading)}</h2><div class="blocks">{blocks}</div>'
        )
        rows = [claim_cells(row) for row in claims if row["section"] == path.stem[:3]]
        if rows:
            parts.append(table(CLAIMS, rows, f"Claims of section {path.stem[:3]}"))
    return raw(f'<div class="sheet" style="--claims: {len(claims)}">', *parts, "</div>")


# ------------------------------------------------------------------------------------------- execution times
def cell_times():
    """(notebook, number of the code cell, seconds) for each, as measured by nbval in `make report`."""
    for case in ElementTree.parse(TIMES).iter("testcase"):
        notebook = case.get("classname").split(".", 1)[1]
        yield notebook, int(case.get("name").split()[-1]), float(case.get("time"))


def processor():
    """The processor's name, where it can be found out."""
    info = Path("/proc/cpuinfo")
    names = (
        re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def times():
    """How long the notebooks and their slowest cells took, where, and with which versions."""
    if not TIMES.is_file():
        return "Not measured in this build: `make report` executes the notebooks and measures."
    cells = sorted(cell_times())
    totals = [
        [
            f'<a href="{name.removesuffix(".ipynb")}.html">{name.removesuffix(".ipynb")}</a>',
            f"{sum(t for _, _, t in group):.1f}",
        ]
        for name, group in (
            (name, list(group))
            for name, group in groupby(cells, key=lambda cell: cell[0])
        )
    ]
    slowest = []
    for name, number, seconds in sorted(cells, key=lambda cell: -cell[2])[:12]:
        code = [
            cell for cell in notebook_cells(HERE / name) if cell["cell_type"] == "code"
        ]
        first = "".join(code[number]["source"]).splitlines()[0]
        slowest.append(
            [
                name[:3],
                f"[{number + 1}]",
                f"<code>{html.escape(first)}</code>",
                f"{seconds:.1f}",
            ]
        )
    day = next(ElementTree.parse(TIMES).iter("testsuite")).get("timestamp")[:10]
    versions = ", ".join(f"{package} {version_of(package)}" for package in PACKAGES)
    return "\n".join(
        [
            f"Measured on {day} when this report was made, two notebooks at a time, on {os.cpu_count()} cores of",
            f"{processor()}, with Python {platform.python_version()}, {versions}.",
            "The first cell of a notebook also starts Python; a cell that calls a compiled loop for the first time on a",
            "machine also compiles it.\n",
            raw(table(["notebook", "seconds"], totals, "Seconds by notebook")),
            "\n## The slowest cells\n",
            raw(
                table(
                    ["section", "cell", "begins with", "seconds"],
                    slowest,
                    "Seconds by cell",
                )
            ),
        ]
    )


myst_substitutions = {
    "scoreboard": scoreboard(),
    "answers": answers(),
    "times": times(),
}


# ------------------------------------------------------------------------------------------------ mathematics
def mathml(latex, display):
    """The formula as MathML, which browsers show without a script; an equation's number from \\tag{...}."""
    tag = re.search(r"\\tag\{(.*?)\}", latex)
    formula = convert(latex.replace(tag[0], "") if tag else latex, display=display)
    formula = formula.replace(
        "<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>'
    )  # the bars of a norm
    return formula, f'<span class="eqno">({tag[1]})</span>' if tag else ""


def inline_math(self, node):
    self.body.append(mathml(node.astext(), "inline")[0])
    raise nodes.SkipNode


def display_math(self, node):
    latex = node.astext().replace(r"\min_", r"\min\limits_")
    formula, number = mathml(latex, "block")
    self.body.append(f'<div class="equation">{formula}{number}</div>')
    raise nodes.SkipNode


# ---------------------------------------------------------------------------------------- figures, and the PDF
def at_twice_the_resolution(app, doctree):
    """Figures are stored at two pixels to one of the page: show them at their own size, not as wide as the page."""
    for image in doctree.findall(nodes.image):
        if image["uri"].endswith(".png"):
            file = Path(app.env.relfn2path(image["uri"])[1])
            image["width"] = f"{int.from_bytes(file.read_bytes()[16:20]) // 2}px"


def without_wrong_roles(app, pagename, templatename, context, doctree):
    """Drop roles and labels that docutils and MyST-NB give and that the accessibility checker axe-core objects to."""
    for wrong in (
        ' aria-label="Toggle hidden content"',
        ' role="doc-biblioentry"',
        ' role="doc-backlink"',
        ' role="list"',
    ):
        context["body"] = context.get("body", "").replace(wrong, "")


def for_paper(app, pagename, templatename, context, doctree):
    """In the single page that becomes the PDF: links within the page, no name twice, and a table of contents."""
    if app.builder.name != "singlehtml":
        return
    body = re.sub(r'<a class="headerlink".*?</a>', "", context["body"])
    body = re.sub(r'href="[\w.-]+\.html#', 'href="#', body)
    body = re.sub(r'href="([\w.-]+)\.html"', r'href="#document-\1"', body)
    cover, *chapters = re.split(r'(?=<span id="document-)', body)
    entries = []
    for k, chapter in enumerate(chapters, 1):
        chapter = re.sub(r'(<section[^>]* id=")', rf"\g<1>chapter-{k}-", chapter)
        chapters[k - 1] = chapter
        headings = re.findall(r'<section[^>]* id="([^"]+)">\s*<h[34]>(.*?)</h', chapter)
        links = [f'<a href="#{name}">{title}</a>' for name, title in headings]
        entries.append(
            f"<li>{links[0]}<ul>{''.join(f'<li>{link}</li>' for link in links[1:])}</ul></li>"
        )
    contents = f'<ul class="contents">{"".join(entries)}</ul>'
    context["body"] = cover.replace(
        '<div class="toctree-wrapper', contents + '<div class="toctree-wrapper', 1
    ) + "".join(chapters)


def setup(app):
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("doctree-read", at_twice_the_resolution)
    app.connect("html-page-context", without_wrong_roles)
    app.connect("html-page-context", for_paper)
