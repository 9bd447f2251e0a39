"""What pages say of the repository: its address, its version, where a notebook can be run."""

import os
import re
import subprocess
from pathlib import Path

import yaml
from gathered import TEMPLATES

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = r"(?:https://|ssh://git@|git@)((?:[\w-]+\.)+[a-z]{2,})[:/]([\w./~-]+?)(?:\.git)?/?"


def ask_git(*question):
    """git's answer, or "" if it has none, as in a copy without .git."""
    if not (ROOT / ".git").exists():
        return ""
    run = subprocess.run(["git", *question], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip()


def find_address(origin):
    """The project's web page; "" if git's address is a folder, bare host or has credentials."""
    match = re.fullmatch(PUBLIC, origin)
    return f"https://{match[1]}/{match[2]}" if match else ""


def describe_repository(app, config):
    """The footer of all pages, and what the templates say."""
    name = os.environ.get("GITHUB_REPOSITORY")
    origin = f"https://github.com/{name}" if name else ask_git("remote", "get-url", "origin")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    citation["version"] = ask_git("describe", "--always", "--tags") or citation["version"]
    address = find_address(origin)
    on_github = address.partition("https://github.com/")[2]
    TEMPLATES.globals.update(address=address, on_github=on_github)
    footer = TEMPLATES.get_template("footer.html").render(citation)
    config.html_theme_options["extra_footer"] = footer


def add_ways_to_run(app, pagename, templatename, context, doctree):
    """Below a notebook's title, where it can be run."""
    if (ROOT / f"notebooks/{pagename}.ipynb").is_file() and app.builder.name == "html":
        ways = TEMPLATES.get_template("run.html").render(page=pagename)
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{ways}", 1)


def setup(app):
    app.connect("config-inited", describe_repository)
    app.connect("html-page-context", add_ways_to_run)
