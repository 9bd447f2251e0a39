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
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from mf_figures import SCRIPT

OTHER_PROCESSOR = Path(__file__).with_name("other_processor")
SVG = r"data:image/svg\+xml;base64,([\w+/=]+)"
OFF_PIXELS = 2e-4  # of a picture: a last digit decides where an edge falls, too
# The spaces before a number make columns; the letters are those of an SVG's paths.
TOKEN = re.compile(
    r"data:image/png;base64,(?P<png>[\w+/=\n]+)"
    r'|"int16":"(?P<int16>[\w+/=]*)"'
    r"|(?P<decimal> *(?:(?<![\w.])|(?<=[MLCQh]))[-−]?\d[\d,]*\.\d+(?:e[-+]?\d+)?(?!\.?\d))"
)


def find_difference(stored, new):
    """The first difference of two lists of a cell's outputs, in a line; None if there is none."""
    stored, new = (list(list_texts(outputs)) for outputs in (stored, new))
    kinds = [[kind for kind, _ in texts] for texts in (stored, new)]
    if kinds[0] != kinds[1]:
        return (
            f"stored: {', '.join(kinds[0]) or 'nothing'}; here: {', '.join(kinds[1]) or 'nothing'}"
        )
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
    matches = [list(TOKEN.finditer(x)) for x in (text, other)]
    begins = [0, 0]
    for match, other_match in zip(*matches, strict=False):
        gaps = text[begins[0] : match.start()], other[begins[1] : other_match.start()]
        if gaps[0] != gaps[1]:
            break
        if match[0] != other_match[0] and not is_near(match, other_match):
            return tuple(
                shorten(m.string[max(0, m.start() - 30) : m.end() + 20])
                for m in (match, other_match)
            )
        begins = match.end(), other_match.end()
    rests = text[begins[0] :], other[begins[1] :]
    if rests[0] == rests[1]:
        return None
    same = len(os.path.commonprefix(rests))
    return tuple(shorten(rest[max(0, same - 30) : same + 50]) for rest in rests)


def shorten(text, length=100):
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length]}…"


def is_near(match, other):
    """Whether two tokens show a reader the same."""
    kind = match.lastgroup
    if kind != other.lastgroup:
        return False
    if kind == "decimal":
        x, y = Decimal(match[0]), Decimal(other[0])
        same_form = x.decimals == y.decimals or x.digits == y.digits
        return same_form and abs(x.value - y.value) < 1.5 * max(x.place, y.place)
    contents = [base64.b64decode(m[kind]) for m in (match, other)]
    if kind == "int16":
        vectors = [np.frombuffer(content, "<i2").astype(int) for content in contents]
        return (
            len(vectors[0]) == len(vectors[1]) and abs(vectors[0] - vectors[1]).max(initial=0) <= 1
        )
    pictures = [matplotlib.image.imread(io.BytesIO(content)) for content in contents]
    if pictures[0].shape != pictures[1].shape:
        return False
    return (abs(pictures[0] - pictures[1]) > 8 / 255).mean() < OFF_PIXELS


class Decimal:
    """A printed decimal: its value, and one unit of its last place."""

    def __init__(self, text):
        text = text.strip().replace(",", "").replace("−", "-")
        mantissa, _, exponent = text.partition("e")
        self.value = float(text)
        self.decimals = len(mantissa.partition(".")[2])
        self.digits = len(mantissa.strip("-"))
        self.place = 10.0 ** (int(exponent or 0) - self.decimals)


# ------------------------------------------------------------------ in nbval's place
start_kernel = IPyNbFile.setup
fail_cell = IPyNbCell.raise_cell_error


def start_shaken_kernel(notebook):
    """With MF_NOISE the kernel, and no test, finds other_processor's sitecustomize.py."""
    with pytest.MonkeyPatch.context() as patch:
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
