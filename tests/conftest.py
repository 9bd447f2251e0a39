"""What the tests share: data that not everybody has, random examples, Chromium."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
HANDIN = Path(os.environ.get("COURSEWORK_HANDIN") or "no hand-in")
FUZZ = int(os.environ.get("FUZZ") or 1)  # times as many random examples: `make fuzz`
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)

with_handin = pytest.mark.skipif(
    not HANDIN.is_file(), reason="COURSEWORK_HANDIN does not name the text of the hand-in"
)
in_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")


def write_course(folder, A):
    """Write ratings as the course does, in two files; row 124 is "A Beautiful Mind"."""
    torch.save(A, folder / "ratings.pt")
    titles = [f"{i},{'A Beautiful Mind' if i == 124 else f'Film {i}'}" for i in range(len(A))]
    (folder / "titles.csv").write_text("\n".join(["movie,name", *titles]))


def examples(count):
    return settings(max_examples=count * FUZZ, deadline=None)


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
