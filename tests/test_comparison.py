"""The comparison of notebooks' outputs: what may differ between processors, and what may not."""

import base64
import io
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.comparison import find_difference


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(mime, content, **metadata):
    return {"output_type": "display_data", "data": {mime: content}, "metadata": metadata}


def in_base64(content):
    return base64.b64encode(content).decode()


def picture(brightness, size=(20, 30)):
    png = io.BytesIO()
    plt.imsave(png, np.full(size, brightness), vmin=0, vmax=1, cmap="gray")
    return in_base64(png.getvalue())


def svg(x):
    drawing = f'<svg xmlns=""><path d="M{x} 3.5"/></svg>'.encode()
    return shown("text/html", f'<img src="data:image/svg+xml;base64,{in_base64(drawing)}">')


def packed(number):
    numbers = np.array([5, number], "<i2").tobytes()
    return shown("text/html", f'{{"U":{{"int16":"{in_base64(numbers)}"}}}}')


FIGURE = "<figure>1.5</figure>"
SCRIPT = "\n<style>x</style><script>y</script>"
WITHIN = '<figure>1.5<script>{"mu":1}</script></figure>'
SAME = {
    "a last digit": (printed("loss 0.1219, 3"), printed("loss 0.1220, 3")),
    "a carry and its column": (printed("[ 9.9999, 1.0]"), printed("[10.0000, 1.0]")),
    "the sign of nothing": (printed("[-0.0000]"), printed("[ 0.0000]")),
    "an exponent": (printed("1.3e-05"), printed("1.2e-05")),
    "a coordinate": (svg("12.3"), svg("12.4")),
    "a packed number": (packed(100), packed(101)),
    "a shade": (shown("image/png", picture(0.5)), shown("image/png", picture(0.502))),
    "the script of a run": (shown("text/html", FIGURE), shown("text/html", FIGURE + SCRIPT)),
}
DIFFERENT = {
    "two units": (printed("0.0013 and 0.1219"), printed("0.0015 and 0.1219")),
    "digits exchanged": (printed("0.1219"), printed("0.1291")),
    "a whole number": (printed("34 seeds"), printed("35 seeds")),
    "another word": (printed("0.1 at most"), printed("0.1 at least")),
    "fewer decimals": (printed("0.1219"), printed("0.12")),
    "a row more": (printed("0.1\n0.2\n"), printed("0.1\n0.2\n0.3\n")),
    "an output less": (printed("0.1"), None),
    "two units of a coordinate": (svg("12.3"), svg("12.5")),
    "two packed units": (packed(100), packed(102)),
    "half the brightness": (shown("image/png", picture(0.5)), shown("image/png", picture(0.25))),
    "another size": (shown("image/png", picture(1)), shown("image/png", picture(1, (20, 31)))),
    "a figure's words": (
        shown("image/png", picture(1), **{"image/png": {"alt": "loss 0.12"}}),
        shown("image/png", picture(1), **{"image/png": {"alt": "loss 0.22"}}),
    ),
    "a script within the figure": (shown("text/html", FIGURE), shown("text/html", WITHIN)),
}


@pytest.mark.parametrize("name", SAME)
def test_a_processor_may_change(name):
    stored, new = SAME[name]
    assert find_difference([stored], [new]) is None


@pytest.mark.parametrize("name", DIFFERENT)
def test_nothing_may_change(name):
    stored, new = DIFFERENT[name]
    line = find_difference([stored], [new] if new else [])
    assert "stored: " in line and "here: " in line and "\n" not in line


SHAKES = "import torch\nprint({torch.ones(9).sum().item() for _ in range(99)} != {9.0})"


def test_a_run_shakes_kernels_alone_and_names_a_cell_that_differs(tmp_path):
    (tmp_path / "test_bits.py").write_text(f"{SHAKES}\ndef test(): assert torch.ones(9).sum() == 9")
    cells = []
    for source, text in [(SHAKES, "True\n"), ("print(0.12)", "0.15\n"), ("1 / 0", "x")]:
        cells.append(new_code_cell(source, execution_count=1))
        cells[-1].outputs.append(new_output("stream", text=text))
    nbformat.write(new_notebook(cells=cells), tmp_path / "lesson.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "tests.comparison", "--nbval", "-q", "--tb=no"]
    command += ["--nbval-current-env", f"--rootdir={tmp_path}", tmp_path]
    environment = os.environ | {"MF_NOISE": "1", "DIFFERENCES": str(tmp_path / "lines")}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "2 failed, 2 passed" in run.stdout, run.stdout
    first, second, *_ = (tmp_path / "lines").read_text().splitlines()
    assert first.startswith("lesson.ipynb, code cell 1") and "stored: '0.15'; here: '0.12'" in first
    assert second.startswith("lesson.ipynb, code cell 2") and "ZeroDivisionError" in second
