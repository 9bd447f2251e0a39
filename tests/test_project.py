"""What must hold of the house: which room imports which, one list of versions, make and refresh."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = {  # what a module, or a room, may import of ours
    "mf_checks": set(),
    "mf_core": {"mf_checks"},
    "mf_data": {"mf_synthetic"},
    "mf_synthetic": set(),
    "mf_claims": set(),
    "mf_train": {"mf_checks", "mf_core", "mf_data"},
}


def imports(path):
    """(module, name) of every import in a program."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def files_of(module):
    return (
        [ROOT / f"{module}.py"] if (ROOT / f"{module}.py").exists() else ROOT.glob(f"{module}/*.py")
    )


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_run_one_way_and_no_private_name_crosses_a_module(module):
    for path in files_of(module):
        for name, imported in imports(path):
            other = name.split(".")[0]
            if other in IMPORTS and other != module:
                assert other in IMPORTS[module], f"{path} imports {name}"
                assert not (imported or "").startswith("_"), f"{path} imports {imported}"


def test_no_tool_imports_a_test_and_no_test_a_tool():
    names = {room: {path.stem for path in ROOT.glob(f"{room}/*.py")} for room in ("tools", "tests")}
    for room, other in (("tools", "tests"), ("tests", "tools")):
        for path in ROOT.glob(f"{room}/*.py"):
            assert not {name for name, _ in imports(path)} & names[other], path.name


def test_every_package_of_the_one_list_is_in_the_lock_at_its_version():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    lock = (ROOT / "requirements.txt").read_text().lower()
    for package in pip:
        if "==" in package:
            assert re.search(rf"^{re.escape(package.split()[0].lower())}( |$)", lock, re.M), package


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(tmp_path):
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.10"
    pretend = "import sys; sys.version_info = (3, 10, 9); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{pretend}' \"$2\"\n")
    old.chmod(0o755)
    command = [shutil.which("make"), "lint", f"PYTHON={old}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode and f"Python 3.11 or newer is needed, and {old} is 3.10" in run.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_refresh_that_is_ended_leaves_neither_process_nor_change(tmp_path, number):
    notebook, started = tmp_path / "long.ipynb", tmp_path / "started"
    work = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(90)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(work)]), notebook)
    before = notebook.read_bytes()
    run = subprocess.Popen(
        [sys.executable, ROOT / "tools/refresh.py", notebook],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    kernel = int(started.read_text())
    run.send_signal(number)
    output = run.communicate(timeout=30)[0]
    if number == signal.SIGINT:
        assert run.returncode == 1 and "interrupted" in output and "Traceback" not in output
    while Path(f"/proc/{kernel}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    assert notebook.read_bytes() == before
