"""Execute notebooks in place and store what must not differ from run to run in one form: `make refresh`.
Then write the README's table of claims and its picture anew.

python refresh.py [NOTEBOOK ...]    all notebooks of this folder if none is named
"""

import base64
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import mf_claims

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
START, END = (
    "<!-- table of claims: written by `make refresh` -->\n",
    "\n<!-- end of the table -->",
)
PICTURE = "3.1-masked-factorisation.ipynb"  # its first figure is the README's


def refresh(path):
    """Execute the notebook, normalise it, and replace the file; left as it was if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise SystemExit(
            f"{path.name} is left as it was; a cell fails: {error.ename}: {error.evalue}"
        ) from None
    normalise(notebook)
    write(path, nbformat.writes(notebook).encode() + b"\n")
    return path.name


def write(path, content):
    """Replace the file at once, so that it is never half-written."""
    half = path.with_suffix(".half")
    half.write_bytes(content)
    os.replace(half, path)


def normalise(notebook):
    """Drop what changes from run to run: times, and the widgets, which are dead without a kernel anyway."""
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
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


def refresh_readme():
    """The table of claims and the picture, from the executed notebooks."""
    before, rest = README.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    write(
        README,
        (
            before
            + START
            + mf_claims.markdown_table(mf_claims.scoreboard())
            + END
            + after
        ).encode(),
    )
    cells = nbformat.read(HERE / PICTURE, as_version=4).cells
    pictures = (
        o.data["image/png"]
        for c in cells
        for o in c.get("outputs", [])
        if "image/png" in o.get("data", {})
    )
    write(HERE / "completions.png", base64.b64decode(next(pictures)))


def main():
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted(
        HERE.glob("*.ipynb")
    )
    with ProcessPoolExecutor(2) as pool:
        for name in pool.map(refresh, paths):
            print("refreshed", name)
    refresh_readme()


if __name__ == "__main__":
    main()
