"""The drawings of the live figures, and what a cell gives to the page."""

import base64
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT

import mf_figures
from mf_figures import SCRIPT, live, packed_svd


def shown_by(monkeypatch, *arguments, **options):
    """The HTML that a live figure displays."""
    outputs = []
    monkeypatch.setattr(mf_figures, "display", lambda data, raw: outputs.append(data["text/html"]))
    live(*arguments, **options)
    return outputs[0]


def test_a_figure_brings_its_script_and_words_are_no_html(monkeypatch):
    words = {"alt": "<b>", "caption": "<b>", "name": "x", "note": "</script><b>"}
    page = shown_by(monkeypatch, "photo", [], [], **words)
    stored = re.sub(SCRIPT, "", page, flags=re.DOTALL)
    [element] = re.findall("<(?:script|style|b)\\b.*?>", stored.replace("<\\/script><b>", ""))
    data = stored.split(element)[1].split("</script>")[0]
    assert json.loads(data)["note"] == words["note"]
    for file in mf_figures.LIVE_FILES:
        assert (ROOT / "live" / file).read_text(encoding="utf-8") in page.removeprefix(stored)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_page_is_told_what_matplotlib_draws(monkeypatch, scale):
    """The ends of the axes, the points of what stands still, and how each line looks."""
    fig, ax = plt.subplots()
    look = {"color": "#D55E00", "ms": 9, "label": "a run"}
    ax.plot([1, 10, 100], [3, 7, 5], "o", gid="run", **look)
    ax.axhline(4, color="black", linestyle="--", label="floor")
    ax.set(xscale=scale, xlim=(1, 200), ylim=(2, 9), xlabel="epoch")
    words = {"alt": "", "caption": "", "name": "x"}
    page = shown_by(monkeypatch, "stages", [fig], [], **words)
    [axes] = json.loads(page.split('application/json">')[1].split("</script>")[0])["axes"]
    assert axes["across"] == {"label": "epoch", "ends": [1, 200], "log": scale == "log"}
    assert axes["up"]["ends"] == [2, 9]
    run, floor = axes["lines"]
    assert (run["name"], run["marker"], run["color"], run["width"]) == ("run", "o", "#d55e00", 9)
    assert (floor["dash"], floor["label"], floor["color"]) == ("7 4", "floor", "currentColor")
    np.testing.assert_allclose(np.array(floor["points"])[:, 1], 4)


def test_packed_vectors_unpack_to_the_matrix():
    G = torch.rand(12, 9, generator=torch.Generator().manual_seed(0))
    data = packed_svd(*torch.linalg.svd(G, full_matrices=False))
    U, V = (
        np.frombuffer(base64.b64decode(data[name]["int16"]), "<i2").reshape(9, -1)
        * data[name]["units"][0]
        for name in "UV"
    )
    np.testing.assert_allclose(U.T @ V, G, atol=2e-3)
