"""The drawings of the live figures, and what a cell gives to the page."""

import base64
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT
from matplotlib.colors import to_hex

import mf_figures
from mf_figures import SCRIPT, live, packed


def shown_by(monkeypatch, *arguments, **options):
    """The HTML that a live figure displays."""
    outputs = []
    monkeypatch.setattr(mf_figures, "display", lambda data, raw: outputs.append(data["text/html"]))
    live(*arguments, **options)
    return outputs[0]


def test_a_figure_brings_its_script_and_words_are_no_html(monkeypatch):
    words = {"alt": "</script><b>", "status": "<b>", "caption": "<b>"}
    page = shown_by(monkeypatch, "photo", [], {}, [], **words)
    stored = re.sub(SCRIPT, "", page, flags=re.DOTALL)
    [element] = re.findall("<(?:script|style|b)\\b.*?>", stored.replace("<\\/script><b>", ""))
    data = stored.split(element)[1].split("</script>")[0]
    assert json.loads(data)["alt"] == words["alt"]
    for file in mf_figures.LIVE_FILES:
        assert (ROOT / "live" / file).read_text(encoding="utf-8") in page.removeprefix(stored)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_line_stands_where_matplotlib_has_it(monkeypatch, scale):
    """In the still image, and by the box and the ends of axes that the page is told."""
    fig, ax = plt.subplots()
    [line] = ax.plot([1, 10, 100], [3, 7, 5], color="#D55E00")
    ax.set(xscale=scale)
    words = {"alt": "", "status": "", "caption": ""}
    page = shown_by(monkeypatch, "learning", [fig], {"curve": line}, [], **words)
    places = ax.transData.transform(line.get_xydata())  # in dots of the screen, from below
    expected = [(72 / fig.dpi * x, 72 / fig.dpi * (fig.bbox.height - y)) for x, y in places]
    layer = json.loads(page.split('"layers": ')[1].split(',\n"alt"')[0])["curve"]
    left, top, width, box_height = layer["box"]
    (low, high, is_log), (bottom, above, _) = layer["across"], layer["up"]
    image = base64.b64decode(re.search(r"svg\+xml;base64,([\w+/=]+)", page)[1]).decode()
    path, color = (re.search(rf' {name}="([^"]*)"[^>]*>', image.split("data-name")[1])[1]
                   for name in ("d", "stroke"))  # fmt: skip
    drawn = np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)
    np.testing.assert_allclose(drawn, expected, atol=0.06)
    assert color == to_hex(line.get_color())
    for (x, y), point in zip(line.get_xydata(), expected, strict=True):
        place = np.log10(x) if is_log else x
        across = left + width * (place - low) / (high - low)
        down = top + box_height - box_height * (y - bottom) / (above - bottom)
        assert (across, down) == pytest.approx(point, abs=1e-3)


def test_packed_vectors_unpack_to_the_matrix():
    G = torch.rand(12, 9, generator=torch.Generator().manual_seed(0))
    data = packed(*torch.linalg.svd(G, full_matrices=False))
    U, V = (
        np.frombuffer(base64.b64decode(data[name]["int16"]), "<i2").reshape(9, -1) * data["unit"]
        for name in "UV"
    )
    np.testing.assert_allclose(U.T @ V, G, atol=2e-3)
