"""Section 5.2's lists in the page: what the notebook's cells compute, and what a reader does."""

import base64
import html
import json
import random
import re

import nbformat
import pandas as pd
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


def test_the_page_has_the_notebooks_lists_and_reasons(page):
    """For random raters of well-known films; and Python's still lists before the page computes."""
    names = {"torch": torch, "decay": DATA["decay"], "length": DATA["length"]} | {"pd": pd}
    b, U, W = map(unpacked, "bUW")
    count = torch.zeros(len(b))
    count[DATA["popular"]] = torch.arange(len(DATA["popular"]), 0, -1.0)
    titles = DATA["titles"]
    names |= {"titles": titles, "model": (DATA["mu"], b[:, 0], U, W), "M": count[:, None]}
    names["well_known"] = slice(None)
    for cell in NOTEBOOK.cells:
        if re.search("^def (newcomer|scores_for|why|recommend)", cell.source, re.M):
            exec(cell.source, names)
    rng = random.Random(1)
    for rated in [
        DATA["mine"],
        *([[i, rng.randint(1, 5)] for i in rng.sample(range(300), n)] for n in (1, 3, 9)),
    ]:
        lists = names["recommend"]({titles[i]: stars for i, stars in rated})
        page_lists = page.evaluate(
            "([rated, model]) => mf.listsOf(model, rated)",
            [rated, DATA | {"b": b[:, 0].tolist(), "U": U.tolist(), "W": W.tolist()}],
        )
        for name, why, computed in zip(
            lists.columns[[0, 3]], lists.columns[[2, 4]], page_lists, strict=True
        ):
            assert [titles[film["film"]] for film in computed] == lists[name].tolist()
            for film, reason, stars in zip(computed, lists[why], lists["stars"], strict=True):
                assert film["note"] == (
                    f"{stars:.1f} stars, {reason}" if why == "why (1)" else reason
                )


def lists(page):
    expression = "all => all.map(x => [x.firstChild.data.trim(), x.lastChild.textContent])"
    return page.eval_on_selector_all(".lists li", expression)


def test_a_film_is_found_by_a_plain_title_and_its_stars_can_be_taken_back(page):
    first = lists(page)
    stored = re.findall("<li>(.*?) <small>(.*?)</small>", FIGURE)
    assert [tuple(map(html.unescape, pair)) for pair in stored] == list(map(tuple, first))
    page.locator("[type=search]").fill("nonexistent")
    assert "No film of these" in page.locator(".hits").text_content()
    page.locator("[type=search]").fill("the MATRIX")
    page.keyboard.press("Enter")
    row = page.locator("fieldset >> nth=0")
    assert row.locator("legend").text_content() == "Matrix, The (1999)"
    page.keyboard.press("ArrowLeft")  # from its five stars, which have the focus, to four
    assert row.locator(":checked").input_value() == "4" and lists(page) != first
    row.locator("button").click()
    assert "for 4 films" in page.locator(".status").text_content()
    assert not row.locator(":checked").count()
    page.locator("circle >> nth=7").hover()
    assert page.locator(".map output").text_content() in DATA["titles"]
    page.locator("text=Forget all stars").click()
    page.wait_for_function("!document.querySelector('.lists li, .films :checked')")
    page.locator("fieldset label").nth(4).click()
    assert len(lists(page)) == 2 * DATA["length"]
    assert "the same for 1 and for 5" in page.locator(".status").text_content()
