"""What must hold of the whole: imports between rooms, the lock, no machine's path; and refresh."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT

LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
FILES = [ROOT / name for name in LISTED.stdout.splitlines() if (ROOT / name).is_file()]
PROGRAMS = [path for path in FILES if path.suffix == ".py"]
ALLOWED = {  # which modules of ours a module may import; nothing else
    "mf_core": {"mf_arguments", "mf_loops"},
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


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_refresh_that_is_ended_leaves_neither_process_nor_change(tmp_path, number):
    notebook, started = tmp_path / "long.ipynb", tmp_path / "started"
    work = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(90)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(work)]), notebook)
    before = notebook.read_bytes()
    command = [sys.executable, ROOT / "tools/refresh.py", notebook]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    kernel = int(started.read_text())
    run.send_signal(number)
    errors = run.communicate(timeout=30)[1]
    if number == signal.SIGINT:
        assert run.returncode == 1 and errors.startswith("interrupted: notebooks that were not")
    while Path(f"/proc/{kernel}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    assert notebook.read_bytes() == before
