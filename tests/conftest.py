"""What the tests share: their order, random examples, one report, Chromium."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
HANDIN = Path(os.environ.get("COURSEWORK_HANDIN") or "no hand-in")
FUZZ = int(os.environ.get("FUZZ") or 1)  # times as many random examples: `make fuzz`
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
BROWSERS += ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)

with_handin = pytest.mark.skipif(
    not HANDIN.is_file(), reason="COURSEWORK_HANDIN does not name the text of the hand-in"
)
in_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def examples(count):
    return settings(max_examples=count * FUZZ, deadline=None)


# Files are dealt out whole. Both workers are busy to the end if the longest come first.
LONGEST = ["5.1-held-out-ratings.ipynb", "test_report.py", "test_live.py", "test_assignment.py"]
LONGEST += ["test_train.py", "test_notebooks.py"]


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


def run_make(*arguments, fails=False):
    """What make prints. READY is empty: the packages are installed. The address is made up."""
    programs = os.path.relpath(Path(sys.executable).parent, ROOT)  # whose path may hold a quote
    command = ["make", *arguments, f"BIN={programs}", "READY="]
    environment = os.environ | {"GITHUB_REPOSITORY": "owner/name"}
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert bool(made.returncode) == fails, made.stdout + made.stderr
    return made.stdout


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """The report with 4.1 on made-up ratings of the course's format, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "report"
    with FileLock(f"{folder}.lock"):
        if not (folder / "paper").exists():  # nor after a failure
            folder.mkdir(exist_ok=True)
            A = torch.randint(0, 6, (130, 50), generator=seeded()).float()
            torch.save(A, folder / "ratings.pt")
            names = {124: "A Beautiful Mind"}
            titles = [f"{i},{names.get(i, f'Film {i}')}\n" for i in range(len(A))]
            (folder / "titles.csv").write_text("movie,name\n" + "".join(titles))
            run_make("course", "pages", f"BUILD={folder}", f"COURSE={folder}")
    return folder


@pytest.fixture
def interruptible():
    """Ctrl-C works in this test, also where it is ignored: `make test &`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=options) as browser:
            yield browser
