"""Write anew what is made: the stored outputs, the lock of packages, the report's first picture.

python tools/refresh.py lock              requirements.txt, if environment.yml has changed
python tools/refresh.py [NOTEBOOK ...]    all notebooks if none is named; the picture

What would differ from run to run is dropped or put into one form: a second run changes nothing.
"""

import os
import re
import subprocess
import sys
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

from mf_figures import SCRIPT

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.txt"
NOTEBOOKS = ROOT / "notebooks"
PICTURED = NOTEBOOKS / "3.1-masked-factorisation.ipynb"  # its first figure is on the first page
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ASKED_FOR = "# Written from environment.yml by `make refresh`: change that file, not this one."
NEEDED = "# What these need, on every platform:"
# Torch's Linux wheels on the default index ask for these; its CPU build does not.
FOR_GPUS = "cuda-", "nvidia-", "triton=="


def write(path, content):
    """Replace the file in one step, never half-written; leave it if it is the same."""
    if not path.exists() or path.read_bytes() != content:
        half = path.with_name(path.name + ".half")
        half.write_bytes(content)
        os.replace(half, path)


def write_lock():
    """Lock environment.yml's packages and all that they need, if the lock is not of this list."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    pins = [line for line in listed if not line.startswith("-")]
    head = [ASKED_FOR, *pins, NEEDED]
    if LOCK.exists() and LOCK.read_text().splitlines()[: len(head)] == head:
        return  # no network is needed
    command = "uv pip compile - --quiet --universal --python-version=3.11 --no-header --no-annotate"
    command = [sys.executable, "-m", *command.split(), f"--output-file={LOCK}"]  # keeps what fits
    if subprocess.run(command, input="\n".join(pins), text=True).returncode:
        sys.exit("requirements.txt is left as it was: uv could not lock the packages")
    locked = LOCK.read_text().splitlines()
    needed = [line for line in locked if line not in pins and not line.startswith(FOR_GPUS)]
    write(LOCK, "\n".join([*head, *needed, "-e .", ""]).encode())
    print("refreshed requirements.txt", flush=True)


def refresh(path):
    """Execute the notebook and replace the file; if a cell fails, leave it and say which."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, kernel_name="python3", timeout=600)
    client.resources = {"metadata": {"path": str(NOTEBOOKS)}}  # the kernel's folder
    client.coalesce_streams = True  # what is printed arrives in one piece or in several
    client.extra_arguments = ["--log-level=CRITICAL"]  # a kernel that is ended complains
    try:
        client.execute()
    except (CellControlSignal, DeadKernelError) as error:
        kind, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
        where = f"{path.name} is left as it was: cell [{client.code_cells_executed}] fails"
        return f"{where}: {kind}: {value}".splitlines()[0]
    write(path, nbformat.writes(normalised(notebook)).encode() + b"\n")
    print("refreshed", path.name, flush=True)


def normalised(notebook):
    """The notebook without what changes from run to run, such as times."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            cell.outputs = []
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data["text/html"] = re.sub(SCRIPT, "", data["text/html"], flags=re.DOTALL)
    return notebook


def main(names):
    if names == ["lock"]:
        return write_lock()
    paths = [Path(name).resolve() for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    failures = list(filter(None, ThreadPoolExecutor(2).map(refresh, paths)))
    outputs = sum((c.get("outputs", []) for c in nbformat.read(PICTURED, 4).cells), [])
    pictures = (o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {}))
    write(ROOT / "report/completions.png", b64decode(next(pictures)))
    sys.exit("\n".join(failures) or None)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted: notebooks that were not finished are as they were", file=sys.stderr)
        os._exit(1)  # at once: a kernel ends by itself when the process that started it is gone
