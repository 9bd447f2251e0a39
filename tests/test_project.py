"""What must hold of the whole: imports between rooms, the lock, no machine's path; and refresh."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml
from conftest import ROOT

LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
FILES = [ROOT / name for name in LISTED.stdout.splitlines() if (ROOT / name).is_file()]
PROGRAMS = [path for path in FILES if path.suffix == ".py"]
ALLOWED = {  # which modules of ours a module may import; nothing else
    "mf_core": {"mf_arguments", "mf_loops"},
    "mf_exercise": {"mf_check", "mf_core", "mf_paths"},
    "mf_train": {"mf_arguments", "mf_core", "mf_data", "mf_loops"},
    **dict.fromkeys(["mf_claims", "mf_data", "mf_figures"], {"mf_paths"}),
}


def imports(path):
    """(module, name) of every import in a program; of a whole module the name is empty."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_imports_between_rooms_run_one_way():
    rooms = {path: path.relative_to(ROOT).parts[0].removesuffix(".py") for path in PROGRAMS}
    tools = {path.stem for path in PROGRAMS if rooms[path] == "tools"}
    tests = {path.stem for path in PROGRAMS if rooms[path] == "tests"}
    modules = {room for room in rooms.values() if room.startswith("mf_")}
    assert {"mf_core", "mf_train"} < modules and "refresh" in tools and "conftest" in tests
    for path, room in rooms.items():
        forbidden = tools if room == "tests" else tests
        if room in modules:
            forbidden = tests | modules - {room} - ALLOWED.get(room, set())
        assert not {module.split(".")[0] for module, _ in imports(path)} & forbidden, path


def test_no_private_name_crosses_a_module():
    for path in PROGRAMS:
        assert not any(re.match("_[a-z]", name) for _, name in imports(path)), path
        assert not re.search(r"\bmf_\w+\._[a-z]", path.read_text(encoding="utf-8")), path


def test_the_lock_has_every_package_that_is_asked_for_at_its_version():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    [asked_for] = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    pins = {line for line in asked_for if not line.startswith("-")}
    assert len(pins) > 20 and all("==" in pin for pin in pins)
    assert pins <= set((ROOT / "requirements.txt").read_text().splitlines())


def test_no_file_names_a_path_of_this_machine():
    for path in FILES:
        for place in (ROOT, Path.home()):
            assert f"{place}/".encode() not in path.read_bytes(), path


def write_notebook(path, *sources, **metadata):
    cells = [nbformat.v4.new_code_cell(source, metadata=metadata) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_refresh_stores_one_form(tmp_path):
    """The same of a notebook with other ids and old times; nothing where a cell fails."""
    figure = {"text/html": "<figure></figure>\n<style></style><script></script>"}
    work = f"print(1, flush=True); print(2); display({figure}, raw=True)"
    paths = [write_notebook(tmp_path / "a.ipynb", work)]
    paths += [write_notebook(tmp_path / "b.ipynb", work, execution={"iopub.status.busy": "2026"})]
    fails = write_notebook(tmp_path / "fails.ipynb", "1", "1 / 0")
    before = fails.read_bytes()
    command = [sys.executable, ROOT / "tools/refresh.py", *paths, fails]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr == (
        "fails.ipynb is left as it was: cell [2] fails: ZeroDivisionError: division by zero\n"
    )
    assert paths[0].read_bytes() == paths[1].read_bytes() and fails.read_bytes() == before
    [cell] = nbformat.read(paths[0], 4).cells
    printed, shown = cell.outputs
    assert printed.text == "1\n2\n" and not cell.metadata
    assert shown.data == {"text/html": "<figure></figure>"}
