"""Write the page numbers of a PDF into the contents of the page that Chromium printed as this PDF.

python report/paper.py PDF PAGE; then print once more. The numbers take no room of the text's.
"""

import re
import sys
from pathlib import Path

pdf, page = map(Path, sys.argv[1:])
objects = pdf.read_bytes()
pages = re.findall(rb"(\d+) 0 obj\s*<</Type /Page\b(?!s)", objects)
places = re.findall(rb"/(\S+) \[(\d+) 0 R /XYZ", objects)
numbers = {name.decode(): pages.index(place) + 1 for name, place in places}
entry = r'(<a href="#([^"]+)">[^\n]*?</a><span class="page">)\d*'
html = page.read_text(encoding="utf-8")
page.write_text(re.sub(entry, lambda m: f"{m[1]}{numbers[m[2]]}", html), encoding="utf-8")
