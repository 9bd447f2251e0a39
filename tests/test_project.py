"""The house: one list of versions, imports that run one way, modules and Makefile as CONTRIBUTING.md says."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))
import refresh  # noqa: E402

MODULES = {path.stem: path for path in ROOT.glob("mf_*.py")}
IMPORTS = {  # among the modules; nothing else
    "mf_core": {"mf_compiled", "mf_inputs"},
    "mf_data": {"mf_files", "mf_synthetic"},
    "mf_ring": {"mf_core"},
    "mf_train": {"mf_data", "mf_ring"},
}


def imported(source):
    """The packages and modules that a program imports, at its head or within a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def code_of(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def environment():
    """The pip list of environment.yml."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    return next(entry["pip"] for entry in listed if isinstance(entry, dict))


def test_every_package_that_is_imported_is_on_the_one_list_of_versions():
    pip = environment()
    listed = {re.split("==| ", name)[0].lower().replace("-", "_") for name in pip}
    assert pip[-1] == "-e ." and all("==" in name for name in pip if not name.startswith("-"))
    sources = [path.read_text() for path in [*ROOT.glob("*.py"), *ROOT.glob("*/*.py")]]
    sources += [code_of(path) for path in ROOT.glob("notebooks/*.ipynb")]
    ours = {path.stem for path in [*ROOT.glob("*.py"), *ROOT.glob("*/*.py")]}
    known_as = {"yaml": "pyyaml", "IPython": "ipython"}
    needed = set().union(*map(imported, sources)) - ours - set(sys.stdlib_module_names)
    optional = {"surprise"}  # of the bench
    assert {known_as.get(name, name).lower() for name in needed - optional} - listed == set()


def test_requirements_are_those_of_the_environment():
    text = (ROOT / "environment.yml").read_text()
    assert (ROOT / "requirements.txt").read_text() == refresh.requirements(text)
    lines = (ROOT / "requirements.txt").read_text().splitlines()[1:]
    assert lines == [name for name in environment() if "index-url" not in name]


def test_all_modules_are_installed_and_their_imports_run_one_way():
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert sorted(tomllib.load(file)["tool"]["setuptools"]["py-modules"]) == sorted(MODULES)
    for name, path in MODULES.items():
        assert imported(path.read_text()) & MODULES.keys() == IMPORTS.get(name, set()), name


def test_a_notebook_imports_the_modules_its_neighbours_and_little_else():
    allowed = {"inspect", "ipywidgets", "matplotlib", "pandas", "torch", "tqdm", *MODULES}
    allowed |= {path.stem for path in ROOT.glob("notebooks/*.py")}
    for path in ROOT.glob("notebooks/*.ipynb"):
        assert imported(code_of(path)) <= allowed, path.name


def test_notebooks_holds_lessons_and_what_they_import():
    listed = subprocess.run(
        ["git", "ls-files", "notebooks"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    neighbours = {Path(name).stem for name in listed.stdout.split() if name.endswith(".py")}
    assert neighbours <= set().union(
        *(imported(code_of(path)) for path in ROOT.glob("notebooks/*.ipynb"))
    )
    others = [name for name in listed.stdout.split() if not name.endswith((".py", ".ipynb"))]
    assert others == ["notebooks/ruff.toml"]


def test_no_line_of_a_module_is_longer_than_100_characters():
    for path in MODULES.values():
        assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100, path.name
