"""Where the project is, which version this is, and the zip file that a reader takes along."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import yaml
from gathered import TEMPLATES

ROOT = Path(__file__).resolve().parents[1]
ZIP = "matrix-factorisation.zip"
# Folders in the zip file. The modules lie beside the notebooks, which import them uninstalled.
CONTENTS = {
    "": ["CITATION.cff", "LICENSE*", "environment.yml", "requirements.txt"],
    "live": ["live/*.*"],
    "notebooks": ["notebooks/*.ipynb", "notebooks/*.py", "mf_*.py"],
    "notebooks/mf_train": ["mf_train/*.py"],
    "notebooks/data": ["data/*.toml", "data/README.md"],
    "notebooks/data/movielens": ["data/movielens/*.csv", "data/movielens/README.txt"],
}


def ask_git(*question):
    """What git says of this project, or "" where it says nothing: in a copy without .git, say."""
    if not (ROOT / ".git").exists():
        return ""
    try:
        run = subprocess.run(["git", *question], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return run.stdout.strip()


def find_address(origin):
    """The project's page on the web, from git's address of it.

    "" if that may be for its owner alone: a folder, a machine without a domain, credentials.
    """
    public = (
        r"(?:https://|ssh://git@|git@)([\w-]+(?:\.[\w-]+)*\.[a-z]{2,})[:/]([\w./~-]+?)(?:\.git)?/?"
    )
    match = re.fullmatch(public, origin)
    return f"https://{match[1]}/{match[2]}" if match else ""


def describe_project():
    """What the templates say: address, the name on GitHub, version, how to cite."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    name = os.environ.get("GITHUB_REPOSITORY")
    address = find_address(
        f"https://github.com/{name}" if name else ask_git("remote", "get-url", "origin")
    )
    return {
        "address": address,
        "on_github": address.partition("https://github.com/")[2],
        "version": ask_git("describe", "--always", "--tags", "--dirty") or citation["version"],
        "date": ask_git("log", "-1", "--format=%cs"),
        "title": citation["title"],
        "authors": ", ".join(author["name"] for author in citation["authors"]),
        "zip": ZIP,
    }


def describe_on_pages(app, config):
    """The footer of all pages, and what the first page says of the zip file."""
    project = describe_project()
    config.project_facts = project
    config.html_theme_options["extra_footer"] = TEMPLATES.get_template("footer.html").render(
        project
    )
    config.myst_substitutions["download"] = TEMPLATES.get_template("download.html").render(project)


def add_ways_to_run(app, pagename, templatename, context, doctree):
    """On a notebook's page, below its title, where it can be run."""
    if (ROOT / f"notebooks/{pagename}.ipynb").is_file() and app.builder.name == "html":
        ways = TEMPLATES.get_template("run.html").render(app.config.project_facts, page=pagename)
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{ways}", 1)


def write_zip(app, error):
    """The notebooks with all that they import and read, and the conditions of its use."""
    if app.builder.name != "html" or error:
        return
    with zipfile.ZipFile(Path(app.outdir, ZIP), "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, patterns in CONTENTS.items():
            for file in sorted(file for pattern in patterns for file in ROOT.glob(pattern)):
                content = file.read_bytes()
                if not folder:  # no package of ours is to be installed
                    content = content.replace(b"      - -e .\n", b"").replace(b"\n-e .\n", b"\n")
                archive.writestr(str(Path(ZIP).stem / Path(folder, file.name)), content)


def setup(app):
    app.add_config_value("project_facts", {}, "env")
    app.connect("config-inited", describe_on_pages, priority=900)  # after gathered
    app.connect("html-page-context", add_ways_to_run)
    app.connect("build-finished", write_zip)
