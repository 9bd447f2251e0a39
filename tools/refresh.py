"""Write anew what is made: the stored outputs, the lock of packages, the report's first picture.

python tools/refresh.py lock              requirements.txt, if environment.yml has changed
python tools/refresh.py [NOTEBOOK ...]    all notebooks if none is named; the picture

What would differ from run to run is dropped or put into one form: a second run changes nothing.
"""

import asyncio
import base64
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PICTURE = "3.1-masked-factorisation.ipynb"  # its first figure is the report's first picture
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LOCK = ROOT / "requirements.txt"
ASKED_FOR = "# Written from environment.yml by `make refresh`: change that file, not this one."
NEEDED = "# What these need, on every platform:"
# Torch's Linux wheels on the default index ask for these; its CPU build does not.
FOR_GPUS = (
    "cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 "
    "nvidia-nvshmem-cu13 triton"
).split()


def write(path, content):
    """Replace the file in one step, never half-written; leave it if it is the same."""
    if path.exists() and path.read_bytes() == content:
        return
    half = path.with_name(path.name + ".half")
    half.write_bytes(content)
    os.replace(half, path)


def write_lock():
    """Lock environment.yml's packages and all that they need, if the lock is not of this list."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip_list = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    pins = [line for line in pip_list if not line.startswith("-")]
    head = [ASKED_FOR, *pins, NEEDED]
    before = LOCK.read_text().splitlines() if LOCK.exists() else []
    if before[: len(head)] == head:
        return  # no network is needed
    with tempfile.TemporaryDirectory() as folder:
        excludes = Path(folder, "excludes.txt")
        excludes.write_text("\n".join(FOR_GPUS))
        compiled = Path(folder, "requirements.txt")
        compiled.write_text("\n".join(line for line in before if "==" in line))  # versions to keep
        command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet"]
        command += ["--universal", "--python-version=3.11", "--no-header", "--no-annotate"]
        command += [f"--excludes={excludes}", f"--output-file={compiled}"]
        run = subprocess.run(command, input="\n".join(pins), text=True)
        if run.returncode:
            raise RuntimeError("requirements.txt is left as it was: uv could not lock the packages")
        locked = compiled.read_text().splitlines()
    needed = [line for line in locked if line not in pins]
    write(LOCK, "".join(f"{line}\n" for line in [*head, *needed, "-e ."]).encode())
    print("refreshed requirements.txt", flush=True)


async def refresh(path, turn):
    """Execute the notebook, normalise it, and replace the file; left as it was if a cell fails."""
    import nbformat  # here, with what takes seconds, so that Ctrl-C then is caught as well
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    client = NotebookClient(notebook, resources=resources, timeout=600, kernel_name="python3")
    client.coalesce_streams = True  # what is printed arrives in one piece or in several
    client.extra_arguments = ["--log-level=CRITICAL"]  # a kernel that is ended complains
    async with turn:
        try:
            await client.async_execute()
        except CellExecutionError as error:
            failure = f"a cell fails: {error.ename}: {error.evalue}"
            raise RuntimeError(f"{path.name} is left as it was; {failure}") from None
        except DeadKernelError:
            if asyncio.current_task().cancelling():  # nbclient takes Ctrl-C for this
                raise asyncio.CancelledError from None
            raise
    normalise(notebook)
    write(path, nbformat.writes(notebook).encode() + b"\n")
    print("refreshed", path.name, flush=True)


async def refresh_all(paths):
    turn = asyncio.Semaphore(2)
    # nbclient would catch Ctrl-C, end one kernel and go on to a long traceback; asyncio ends all.
    asyncio.get_running_loop().add_signal_handler = lambda *_: None
    tasks = (refresh(path, turn) for path in paths)
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if failure:
            raise failure


def normalise(notebook):
    """Drop what changes from run to run, such as times."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            cell.outputs = []


def first_picture(path):
    """The notebook's first figure, as PNG."""
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise RuntimeError(f"{path.name} shows no picture for the report's first page")


def main():
    if sys.argv[1:] == ["lock"]:
        write_lock()
        return
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    asyncio.run(refresh_all(paths))
    write(ROOT / "report" / "completions.png", first_picture(NOTEBOOKS / PICTURE))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: notebooks that were not finished are as they were")
    except RuntimeError as error:
        sys.exit(str(error))
