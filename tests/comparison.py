"""A pytest plugin, -p tests.comparison: what a cell prints is compared with what is stored.

A printed decimal may be off by one in its last place, and nothing else may: pytest's own rule for
doctests (+NUMBER). Another processor takes sums in another order, which decides such a digit. What
a notebook states of a number has its own tolerance, in its claims and asserts. Pictures and packed
numbers stand in base64, and are compared by what they hold.

MF_NOISE, a seed, shakes the arithmetic of the kernels (and of nothing else): other_processor.
"""

import base64
import io
import json
import os
import re
import tempfile
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from mf_figures import SCRIPT

OTHER_PROCESSOR = Path(__file__).with_name("other_processor")
HISTORY = tempfile.TemporaryDirectory()
SVG = r"data:image/svg\+xml;base64,([\w+/=]+)"
OFF_PIXELS = 2e-4  # of a picture: a last digit decides where an edge falls, too
PNG, INT16 = "data:image/png;base64,", '"int16":"'
# The spaces before a number make columns; the letters are those of an SVG's paths.
DECIMAL = r" *(?:(?<![\w.])|(?<=[MLCQh]))[-−]?\d[\d,]*\.\d+(?:e[-+]?\d+)?(?!\.?\d)"
TOKEN = re.compile(rf"({PNG}[\w+/=\n]+|{INT16}[\w+/=]*|{DECIMAL})")


def find_difference(stored, new):
    """The first difference of two lists of a cell's outputs, in a line; None if there is none."""
    stored, new = (list(list_texts(outputs)) for outputs in (stored, new))
    kinds = [[kind for kind, _ in texts] for texts in (stored, new)]
    if kinds[0] != kinds[1]:
        return "stored: {}; here: {}".format(*(", ".join(each) or "nothing" for each in kinds))
    for (kind, text), (_, other) in zip(stored, new, strict=True):
        if text != other and (pair := find_differing_parts(text, other)):
            return f"{kind}, stored: {pair[0]!r}; here: {pair[1]!r}"
    return None


def list_texts(outputs):
    """(kind, text) of all that the outputs show."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield output["name"], output["text"]
        for mime, content in sorted(output.get("data", {}).items()):
            text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
            if mime == "image/png":
                text = f"data:image/png;base64,{text.strip()}"
            text = re.sub(SCRIPT, "", text, flags=re.DOTALL)
            yield mime, re.sub(SVG, lambda match: base64.b64decode(match[1]).decode(), text)
        for mime, metadata in sorted(output.get("metadata", {}).items()):
            if "alt" in metadata:
                yield f"alt of {mime}", metadata["alt"]


def find_differing_parts(text, other):
    """The first parts of two texts that differ, with what stands around them; None if none do."""
    parts = [TOKEN.split(x) for x in (text, other)]  # every second part is a token
    for number, pair in enumerate(zip_longest(*parts, fillvalue="")):
        if pair[0] != pair[1] and not (number % 2 and is_near(*pair)):
            same = 0 if number % 2 else len(os.path.commonprefix(pair))
            begins = [len("".join(before[:number])) + same for before in parts]
            both = zip((text, other), begins, strict=True)
            return [" ".join(x[max(0, begin - 30) : begin + 50].split()) for x, begin in both]
    return None


def is_near(*tokens):
    """Whether two tokens show a reader the same."""
    for kind, unpack, is_off, share in (
        (PNG, lambda content: matplotlib.image.imread(io.BytesIO(content)), 8 / 255, OFF_PIXELS),
        (INT16, lambda content: np.frombuffer(content, "<i2").astype(int), 1, 0),
    ):
        if all(token.startswith(kind) for token in tokens):
            x, y = (unpack(base64.b64decode(token.removeprefix(kind))) for token in tokens)
            return x.shape == y.shape and np.mean(abs(x - y) > is_off) <= share
    if not all(re.fullmatch(DECIMAL, token) for token in tokens):
        return False
    texts = [token.strip().replace(",", "").replace("−", "-") for token in tokens]
    x, y = map(Decimal, texts)
    places = [number.as_tuple().exponent for number in (x, y)]
    have_one_form = places[0] == places[1] or len({len(text.strip("-")) for text in texts}) == 1
    return have_one_form and abs(x - y) < Decimal("1.5").scaleb(max(places))


# ------------------------------------------------------------------ in nbval's place
start_kernel = IPyNbFile.setup
fail_cell = IPyNbCell.raise_cell_error


def start_shaken_kernel(notebook):
    """With MF_NOISE the kernel, and no test, finds other_processor's sitecustomize.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", HISTORY.name)  # several workers would lock one history
        if os.environ.get("MF_NOISE"):
            patch.setenv("PYTHONPATH", str(OTHER_PROCESSOR), prepend=os.pathsep)
        start_kernel(notebook)


def compare_outputs(cell, new, stored, skip_compare=None):
    difference = find_difference(stored, new)
    cell.comparison_traceback = [difference]
    return not difference


def fail_in_a_line(cell, message, traceback="", *rest):
    """Note the failure for the summary, too."""
    reason = re.sub(r"\x1b\[[\d;]*m", "", traceback).strip().splitlines()[-1:]
    place = f"{cell.path.name}, code cell {cell.cell_num} (the first is 0)"
    cell.user_properties.append(("line", f"{place}: {' '.join(reason) or message}"))
    fail_cell(cell, message, traceback, *rest)


IPyNbFile.setup = start_shaken_kernel
IPyNbCell.compare_outputs = compare_outputs
IPyNbCell.raise_cell_error = fail_in_a_line

ADVICE = """The stored outputs are what was checked, and what the report shows. If you only ran a
notebook: git checkout notebooks. If you changed one: make refresh. If neither, other packages or
another processor compute something else here."""


def pytest_terminal_summary(terminalreporter):
    failed = terminalreporter.stats.get("failed", [])
    lines = [line for report in failed for name, line in report.user_properties if name == "line"]
    if lines:
        text = "\n".join([*lines, ADVICE])
        terminalreporter.section("cells that differ from what is stored")
        terminalreporter.write_line(text)
        if file := os.environ.get("DIFFERENCES"):
            Path(file).write_text(f"{text}\n", encoding="utf-8")
