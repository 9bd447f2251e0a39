"""Sphinx's settings for the report.

`make pages` copies the pages of this folder and the notebooks into one source folder, and runs
Sphinx on it. What the notebooks' outputs show is what was checked: nothing is executed here, and
neither the build nor the report needs a network.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for the extensions of this folder

project = "Matrix factorisation by gradient descent"
author = "the authors of the notebooks"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "gathered",
    "page",
    "repository",
]

exclude_patterns = ["bench.md"]  # a part of speed.md
html_title = project
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
}
html_sidebars = {"**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]}
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"  # defined in page.py
html_static_path = ["report.css", "../live"]  # the script and style of the live figures
html_css_files = ["report.css", "live.css"]
scripts = ("algorithm.js", "training.js", "figures.js", "recommend.js")
html_js_files = [(name, {"defer": "defer"}) for name in scripts]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False

autodoc_typehints = "none"  # the docstrings say more: shapes and units

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "substitution", "colon_fence"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # a claim's output holds a record beside its text
suppress_warnings += [
    "myst.xref_missing"
]  # the names in words.md are HTML; a test follows all links

copybutton_selector = "div.cell_input pre, div.highlight-python pre, div.highlight-sh pre"
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
