"""The page numbers in the PDF's table of contents, which a browser does not know while it prints.

python report/paper.py PDF PAGE        write where the PDF has each section into the page's contents

The PDF is Chromium's print of the page, which is then printed once more: the numbers have their room.
"""

import re
import sys
from pathlib import Path


def find_pages(pdf):
    """The number of the page on which each named place of Chromium's PDF lies."""
    pages = re.findall(rb"(\d+) 0 obj\s*<</Type /Page\b(?!s)", pdf)
    numbers = {page: number for number, page in enumerate(pages, start=1)}
    places = re.findall(rb"/(\S+) \[(\d+) 0 R /XYZ", pdf)
    return {name.decode(): numbers[page] for name, page in places}


def number_contents(html, pages):
    entry = r'(<a href="#([^"]+)">[^\n]*?</a><span class="page">)\d*'
    return re.sub(entry, lambda match: f"{match[1]}{pages[match[2]]}", html)


def main(pdf, page):
    html = page.read_text(encoding="utf-8")
    page.write_text(number_contents(html, find_pages(pdf.read_bytes())), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
