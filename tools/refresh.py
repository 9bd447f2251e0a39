"""Execute notebooks in place, and write anew what is made from them and from environment.yml: `make refresh`.

python tools/refresh.py [NOTEBOOK ...]    all notebooks if none is named

What would differ from run to run is dropped or put into one form, so that a second run changes nothing.
Also written: requirements.txt, and the report's first picture.
"""

import asyncio
import base64
import os
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PICTURE = "3.1-masked-factorisation.ipynb"  # its first figure is the report's first picture
AT_ONCE = 2  # notebooks


async def refresh(path, turn):
    """Execute the notebook, normalise it, and replace the file; left as it was if a cell fails."""
    import nbformat  # here, with what takes seconds, so that Ctrl-C then is caught as well
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    async with turn:
        notebook = nbformat.read(path, as_version=4)
        options = {"resources": {"metadata": {"path": str(NOTEBOOKS)}}}
        options["extra_arguments"] = ["--log-level=CRITICAL"]  # a kernel that is ended complains
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", **options)
        try:
            await client.async_execute()
        except CellExecutionError as error:
            left = f"{path.name} is left as it was; a cell fails"
            raise RuntimeError(f"{left}: {error.ename}: {error.evalue}") from None
        except DeadKernelError:
            if asyncio.current_task().cancelling():  # nbclient takes Ctrl-C for this
                raise asyncio.CancelledError from None
            raise
        normalise(notebook)
        write(path, nbformat.writes(notebook).encode() + b"\n")
        print("refreshed", path.name, flush=True)


async def refresh_all(paths):
    turn = asyncio.Semaphore(AT_ONCE)
    # nbclient would catch Ctrl-C, end one kernel and go on to a long traceback; asyncio ends all.
    asyncio.get_running_loop().add_signal_handler = lambda *_: None
    tasks = (refresh(path, turn) for path in paths)
    failed = [error for error in await asyncio.gather(*tasks, return_exceptions=True) if error]
    if failed:
        raise failed[0]


def write(path, content):
    """Replace the file at once, so that it is never half-written; leave it if it is the same."""
    if path.exists() and path.read_bytes() == content:
        return
    half = path.with_name(path.name + ".half")
    half.write_bytes(content)
    os.replace(half, path)


def normalise(notebook):
    """Drop what changes from run to run: times, and the widgets, which are dead without a kernel anyway."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                cell.outputs = []
            join_streams(cell)


def join_streams(cell):
    """What is printed arrives in one piece or in several, as it happens; store it in one."""
    joined = []
    for output in cell.outputs:
        stream = output.output_type == "stream"
        if stream and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    cell.outputs = joined


def pictures(path):
    """The notebook's figures, as PNG, in order."""
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield base64.b64decode(output["data"]["image/png"])


def requirements(environment):
    """The pip list of environment.yml without its index, as a requirements file."""
    listed = yaml.safe_load(environment)["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    lines = [
        "# Written from environment.yml by `make refresh`: change that file, not this one.",
        *pip,
    ]
    return "".join(f"{line}\n" for line in lines if "index-url" not in line)


def main():
    write(ROOT / "requirements.txt", requirements((ROOT / "environment.yml").read_text()).encode())
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    asyncio.run(refresh_all(paths))
    write(ROOT / "report" / "completions.png", next(pictures(NOTEBOOKS / PICTURE)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: notebooks that were not finished are as they were")
    except RuntimeError as error:
        sys.exit(str(error))
