"""Execute the notebooks on ratings on MovieLens too, for pages of their own in the report.

python report/real.py FOLDER [MOVIELENS]
MOVIELENS is a folder or zip, if not where `make data` puts it.

Writes FOLDER/real-4.1.ipynb and so on. The claims are left out, for they are about the exercise's
ratings, and so are cells that show this machine's paths. The text is that of the notebook.
"""

import re
import sys
from pathlib import Path

import nbformat
import papermill

import mf_claims

NOTE = """*Executed on MovieLens's ml-latest-small: half stars from 0.5 to 5 by 610 users. The text
is that of the notebook on simulated ratings: what it says of the exercise's own ratings, of the
claims and of the ledger does not apply here, and a remark that fits the simulated ratings may not
fit these.*"""
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def execute(notebook, folder, path=None):
    """Execute the notebook on MovieLens; write it as a page for the report and return its path."""
    out = folder / f"real-{notebook.name[:3]}.ipynb"
    parameters = {"source": "movielens", "path": path}
    options = {"kernel_name": "python3", "cwd": notebook.parent, "progress_bar": False}
    papermill.execute_notebook(notebook, out, parameters, **options)
    page = nbformat.read(out, as_version=4)
    page.cells = [c for c in page.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    title, _, rest = page.cells[0].source.partition("\n")
    page.cells[0].source = f"{title}: MovieLens\n\n{NOTE}\n{rest}"
    for cell in page.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace('source = "synthetic"', 'source = "movielens"')
        # Links between the two lead to their pages on MovieLens.
        cell.source = re.sub(r"\]\(([45]\.1)-[\w-]+\.ipynb\)", r"](real-\1.ipynb)", cell.source)
    for place in (page, *page.cells):
        place.metadata.pop("papermill", None)  # names the files
    for cell in page.cells:
        if "outputs" in cell:
            cell.outputs = [x for x in cell.outputs if mf_claims.MIME not in x.get("data", {})]
    nbformat.write(page, out)
    return out


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    path = str(Path(sys.argv[2]).resolve()) if sys.argv[2:] else None
    for notebook in sorted(NOTEBOOKS.glob("[45].1-*.ipynb")):
        print("executed on MovieLens:", execute(notebook, folder, path).name, flush=True)


if __name__ == "__main__":
    main()
