"""Sphinx: the report, from the notebooks' stored outputs. It needs no network, and nor does the page it makes."""

import html
import re

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import mf_claims

project = "Matrix factorisation by gradient descent"
author = "the authors of the notebooks"
html_title = project
extensions = ["myst_nb"]
exclude_patterns = ["_build", ".ipynb_checkpoints"]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_download_button": True,
    "home_page_in_toc": True,
    "show_toc_level": 2,
}
html_math_renderer = "mathml"
html_static_path = ["report.css"]
html_css_files = ["report.css"]
html_show_copyright = False
nb_execution_mode = "off"  # what is shown is what was checked
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "substitution"]
suppress_warnings = [
    "mystnb.unknown_mime_type"
]  # the record in a claim's output, beside its text


def scoreboard():
    """The table of claims as HTML; each statement leads to the line of its check."""
    columns = ["section", "statement", "reported", "recomputed", "verdict"]
    lines = [
        '<table class="scoreboard"><thead><tr>',
        *(f'<th scope="col">{c}</th>' for c in columns),
        "</tr></thead>",
    ]
    for row in mf_claims.scoreboard():
        cells = [html.escape(row[column]) for column in columns]
        cells[1] = (
            f'<a href="{row["notebook"].removesuffix(".ipynb")}.html#claim-{row["name"]}">{cells[1]}</a>'
        )
        cells[4] = f"{mf_claims.VERDICTS[row['verdict']]} {cells[4]}"
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join(
        [
            "```{raw} html",
            '<div class="scoreboard-frame">',
            *lines,
            "</table></div>",
            "```",
        ]
    )


myst_substitutions = {"scoreboard": scoreboard()}


def mathml(latex, display):
    """The formula as MathML, which browsers show without a script; an equation's number from \\tag{...}."""
    tag = re.search(r"\\tag\{(.*?)\}", latex)
    formula = convert(latex.replace(tag[0], "") if tag else latex, display=display)
    return formula, f'<span class="eqno">({tag[1]})</span>' if tag else ""


def inline_math(self, node):
    self.body.append(mathml(node.astext(), "inline")[0])
    raise SkipNode


def display_math(self, node):
    formula, number = mathml(node.astext(), "block")
    self.body.append(f'<div class="equation">{formula}{number}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
