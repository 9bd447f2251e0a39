"""What the tests share: where the data are that not everybody has, and Chromium, cut off from all outside hosts."""

import os
import shutil
from pathlib import Path

import pytest

MOVIELENS = Path(os.environ.get("MOVIELENS") or "no ml-latest-small")
REPORT = Path(os.environ.get("COURSEWORK_REPORT") or "no report")
with_movielens = pytest.mark.skipif(
    not MOVIELENS.exists(), reason="MOVIELENS does not name a folder or zip of ml-latest-small"
)
with_report = pytest.mark.skipif(
    not REPORT.is_file(), reason="COURSEWORK_REPORT does not name the text of the report"
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
