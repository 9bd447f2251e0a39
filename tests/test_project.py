"""The house: one list of versions, imports that run one way, modules and Makefile as CONTRIBUTING.md says."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nbformat
import pytest
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
    assert others == ["notebooks/live.js", "notebooks/ruff.toml"]


def test_no_line_of_a_module_is_longer_than_100_characters():
    for path in MODULES.values():
        assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100, path.name


def test_the_speeds_in_the_readme_are_those_of_the_bench():
    rows = (ROOT / "report/bench.txt").read_text(encoding="utf-8").splitlines()
    told = re.findall(r"\| ([\d.]+) x \|", (ROOT / "README.md").read_text(encoding="utf-8"))
    works = ["1.2, SGD: 3 x 3, rank 2, 1000 epochs", "half observed, rank 5, an epoch | the coursework's function",
             "25 million ratings, rank 16, an epoch | LIBMF, one thread"]  # fmt: skip
    for work, text in zip(works, told, strict=True):
        [row] = [row for row in rows if work in row]
        ratio = float(re.search(r"\| ([\d.]+) x \|", row)[1])
        assert f"{ratio:.{len(text.partition('.')[2])}f}" == text, work


# -------------------------------------------------------------------------------------------------- the Makefile and refresh


def python(file, version):
    """A python that says that it is of this version."""
    code = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    file.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$2\"\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def clone(tmp_path):
    """A folder with what make needs before anything is installed."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(clone, *arguments, **environment):
    command = [shutil.which("make"), "-s", *arguments]
    options = {"cwd": clone, "capture_output": True, "text": True, "env": os.environ | environment}
    return subprocess.run(command, **options)


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(clone):
    old = python(clone / "python3.10", (3, 10, 9))
    run = make(clone, "lint", f"PYTHON={old}")
    assert run.returncode and f"Python 3.11 or newer is needed, and {old} is 3.10" in run.stderr
    assert not (clone / ".venv").exists()


def test_the_virtual_environment_follows_another_python(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv/ready-3.12").touch()
    for version, remade in (((3, 12, 1), False), ((3, 13, 0), True)):
        other = python(clone / "python", version)
        assert (
            "-m venv --clear .venv" in make(clone, "-n", "lint", f"PYTHON={other}").stdout
        ) == remade


def test_a_chromium_of_any_of_its_names_is_found(clone):
    show = ["--eval=show: ; $(info <$(CHROMIUM)>)", "show", f"PYTHON={sys.executable}"]
    assert make(clone, *show, PATH=str(clone)).stdout == "<>\n"
    for name in ("google-chrome-stable", "google-chrome", "chromium-browser", "chromium"):
        (clone / name).write_text("#!/bin/sh\n")
        (clone / name).chmod(0o755)
        assert make(clone, *show, PATH=str(clone)).stdout == f"<{clone / name}>\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_refresh_that_is_ended_says_so_and_leaves_neither_process_nor_change(tmp_path, number):
    file, started = tmp_path / "long.ipynb", tmp_path / "started"
    work = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(90)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(work)]), file)
    before = file.read_bytes()
    handled = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import runpy, sys; "
    handled += f"sys.path[0] = '{ROOT / 'tools'}'; runpy.run_path('{ROOT / 'tools/refresh.py'}', run_name='__main__')"
    command = [sys.executable, "-c", handled, str(file)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    kernel = int(started.read_text())
    run.send_signal(number)
    output = run.communicate(timeout=30)[0]
    if number == signal.SIGINT:
        assert run.returncode == 1 and "Traceback" not in output
        assert output.splitlines()[-1].startswith("interrupted: notebooks that were not finished")
    while Path(f"/proc/{kernel}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    assert file.read_bytes() == before
