"""Execute notebooks in place and store what must not differ from run to run in one form: `make refresh`.

python refresh.py [NOTEBOOK ...]    all notebooks of this folder if none is named
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def refresh(path):
    """Execute the notebook, normalise it, and replace the file; left as it was if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    normalise(notebook)
    text = nbformat.writes(notebook) + "\n"
    half = path.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)
    return path.name


def normalise(notebook):
    """Drop what changes from run to run: times, and the widgets, which are dead without a kernel anyway."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                cell.outputs = []


def main():
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb"))
    with ProcessPoolExecutor(2) as pool:
        for name in pool.map(refresh, paths):
            print("refreshed", name)


if __name__ == "__main__":
    main()
