"""Section 5.2's lists in the page: what the notebook's cells compute, and what a reader does."""

import base64
import html
import json
import random
import re

import nbformat
import pytest
import torch
from conftest import FUZZ, ROOT

NOTEBOOK = nbformat.read(ROOT / "notebooks/5.2-recommendations.ipynb", as_version=4)
SCRIPTS = "".join((ROOT / "live" / name).read_text() for name in ("algorithm.js", "recommend.js"))
OUTPUTS = [output for cell in NOTEBOOK.cells for output in cell.get("outputs", [])]
PAGES = [output.get("data", {}).get("text/html", "") for output in OUTPUTS]
[FIGURE] = [page for page in PAGES if 'class="films"' in page]
DATA = json.loads(re.search(r"<script[^>]*>(.*)</script>", FIGURE, re.S)[1])


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_content(FIGURE)
    page.add_script_tag(content=SCRIPTS)
    yield page
    page.close()


def unpacked(name):
    numbers = torch.frombuffer(bytearray(base64.b64decode(DATA[name]["int16"])), dtype=torch.int16)
    units = torch.tensor(DATA[name]["units"], dtype=torch.float64)
    return (numbers.reshape(len(units), -1).double() * units[:, None]).T


def test_the_page_scores_films_for_random_raters_as_the_notebooks_cell(page):
    [source] = [cell.source for cell in NOTEBOOK.cells if "def newcomer" in cell.source]
    exec(source, names := {"torch": torch, "decay": DATA["decay"]})
    b, U, W = (unpacked(name)[:1000] for name in "bUW")  # fewer films, to be quick
    b = b[:, 0]
    rng = random.Random(0)
    films = [rng.sample(range(len(b)), rng.randint(1, 30)) for _ in range(20 * FUZZ)]
    raters = [[[i, rng.randint(1, 5)] for i in rated] for rated in films]
    expression = "([model, raters]) => raters.map(rated => mf.recommend(model, rated))"
    model = DATA | {"b": b.tolist(), "U": U.tolist(), "W": W.tolist()}
    for rated, scores in zip(raters, page.evaluate(expression, [model, raters]), strict=True):
        films, stars = torch.tensor(rated).T
        levels, added, unmasked = names["newcomer"]((DATA["mu"], b, U, W), films, stars.double())
        expected = [levels + added.sum(1), unmasked.sum(1)]
        reasons = [added, unmasked / W[films].norm(dim=1)]
        for k in range(2):
            computed = torch.tensor([film[k]["score"] for film in scores], dtype=torch.float64)
            torch.testing.assert_close(computed, expected[k], rtol=0, atol=1e-6)
            chosen = torch.tensor([[film[k]["reason"]] for film in scores])
            values = reasons[k].gather(1, chosen)[:, 0]
            torch.testing.assert_close(values, reasons[k].max(1).values)


def reasons(page):
    """The film that each recommendation is because of."""
    return re.findall("because (?:you gave . to|of) (.*?)(?=</small>)", html.unescape(page))


def lists(page):
    expression = "all => all.map(list => [...list.children].map(x => x.firstChild.data.trim()))"
    return page.eval_on_selector_all(".lists ol", expression)


def test_stars_and_a_search_change_the_lists_and_forget_clears_them(page):
    first = lists(page)
    shown = [html.escape(film) for films in first for film in films]
    assert re.findall("<li>(.*?) <small>", FIGURE) == shown  # Python's, before the page computes
    assert reasons(FIGURE) == reasons(page.locator(".lists").inner_html())
    page.locator("[type=search]").fill(DATA["titles"][700])
    page.keyboard.press("ArrowRight")  # from the first star, which has the focus, to the second
    assert page.locator("fieldset >> nth=0").locator(":checked").input_value() == "2"
    assert lists(page) != first
    page.locator("text=Forget all stars").click()
    page.wait_for_function("!document.querySelector('.lists li, .films :checked')")
    page.locator("fieldset label").nth(4).click()
    assert len(lists(page)[0]) == DATA["length"]
