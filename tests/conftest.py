"""What the tests share: data that not everybody has, Chromium without a network, the budget of random examples."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import Phase, settings

MOVIELENS = Path(os.environ.get("MOVIELENS") or "no ml-latest-small")
REPORT = Path(os.environ.get("COURSEWORK_REPORT") or "no report")
with_movielens = pytest.mark.skipif(
    not MOVIELENS.exists(), reason="MOVIELENS does not name a folder or zip of ml-latest-small"
)
with_report = pytest.mark.skipif(
    not REPORT.is_file(), reason="COURSEWORK_REPORT does not name the text of the report"
)

FUZZ = int(os.environ.get("FUZZ") or 1)  # times as many random examples: `make fuzz`


def examples(count):
    return settings(max_examples=count * FUZZ, deadline=None)


@pytest.fixture
def interruptible():
    """Ctrl-C works in this test, also where it is ignored: `make test &`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# For tools/mutants.py: a failure need not be made small.
settings.register_profile(
    "repeatable", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
in_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
