"""Sphinx's settings for the report.

`make pages` copies the pages of this folder and the notebooks into one source folder, and runs
Sphinx on it. What the notebooks' outputs show is what was checked: nothing is executed here, and
neither the build nor the report needs a network.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))  # for the extensions of this folder
from gathered import TEMPLATES  # noqa: E402

project = "Matrix factorisation by gradient descent"
author = "the authors of the notebooks"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
extensions += ["sphinxcontrib.bibtex", "gathered", "page"]


def ask_git(*question):
    """git's answer, or "" if it has none, as in a copy without .git."""
    if not (ROOT / ".git").exists():
        return ""
    asked = subprocess.run(["git", *question], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip()


# The project's web page; none if git's address is a folder or a bare host, or has credentials.
PUBLIC = r"(?:https://|ssh://git@|git@)((?:[\w-]+\.)+[a-z]{2,})[:/]([\w./~-]+?)(?:\.git)?/?"
on_github = os.environ.get("GITHUB_REPOSITORY")
origin = f"https://github.com/{on_github}" if on_github else ask_git("remote", "get-url", "origin")
match = re.fullmatch(PUBLIC, origin)
address = f"https://{match[1]}/{match[2]}" if match else ""
citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
citation["version"] = ask_git("describe", "--always", "--tags") or citation["version"]

exclude_patterns = ["bench.md"]  # a part of speed.md
html_title = project
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "extra_footer": TEMPLATES.get_template("footer.html").render(citation, address=address),
}
if address.startswith("https://github.com/"):  # where Binder and Colab find a notebook
    html_theme_options |= {
        "repository_url": address,
        "repository_branch": "HEAD",
        "path_to_docs": "notebooks",
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }
html_sidebars = {"**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]}
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"  # defined in page.py
html_static_path = ["report.css", "paper.js", "../live"]  # the script and style of the live figures
html_css_files = ["report.css", "live.css"]
scripts = ("algorithm.js", "plot.js", "training.js", "figures.js", "recommend.js")
html_js_files = [(name, {"defer": "defer"}) for name in scripts]
html_js_files.append("paper.js")
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False

autodoc_typehints = "none"  # the docstrings say more: shapes and units

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "substitution", "colon_fence"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # a claim's output holds a record beside its text
suppress_warnings += ["myst.xref_missing"]  # names in words.md are HTML; a test follows links

copybutton_selector = "div.cell_input pre, div.highlight-python pre, div.highlight-sh pre"
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
