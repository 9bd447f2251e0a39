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


def test_the_page_has_the_notebooks_lists_and_reasons_for_random_raters(page):
    b, U, W = map(unpacked, "bUW")
    b, titles, popular = b[:, 0], DATA["titles"], DATA["popular"]
    count = torch.zeros(len(b))  # of a film's raters: the order of the best-known is what counts
    count[popular] = torch.arange(len(popular), 0, -1.0)
    names = {"torch": torch, "pd": pd, "titles": titles, "model": (DATA["mu"], b, U, W)}
    names |= {"M": count[:, None], "well_known": slice(None)}
    names |= {"decay": DATA["decay"], "length": DATA["length"]}
    for cell in NOTEBOOK.cells:
        if re.search("^def (newcomer|scores_for|why|recommend)", cell.source, re.M):
            exec(cell.source, names)
    rng = random.Random(0)
    counts = [1, 2, 3, 5, 9, 20] * FUZZ
    raters = [[[i, rng.randint(1, 5)] for i in rng.sample(range(300), n)] for n in counts]
    script = "([data, all]) => all.map(rated => mf.listsOf(mf.modelOf(data), rated))"
    for rated, computed in zip(raters, page.evaluate(script, [DATA, raters]), strict=True):
        table = names["recommend"]({titles[i]: stars for i, stars in rated})
        highest, stars, why, probable, why_too = (table[name].tolist() for name in table)
        notes = [f"{x:.1f} stars, {reason}" for x, reason in zip(stars, why, strict=True)]
        expected = [*zip(highest, notes, strict=True), *zip(probable, why_too, strict=True)]
        shown = [(titles[film["film"]], film["note"]) for one in computed for film in one]
        assert shown == expected


def lists(page):
    expression = "all => all.map(x => [x.firstChild.data.trim(), x.lastChild.textContent])"
    return page.eval_on_selector_all(".lists li", expression)


def test_a_film_is_found_by_a_plain_title_and_its_stars_can_be_taken_back(page):
    first = lists(page)
    stored = re.findall("<li>(.*?) <small>(.*?)</small>", FIGURE)
    assert [tuple(map(html.unescape, pair)) for pair in stored] == list(map(tuple, first))
    page.locator("[type=search]").fill("nonexistent")
    assert "None found among" in page.locator(".hits").text_content()
    plain = {"alien": "Alien (1979)", "schindlers": "Schindler's List (1993)"}
    plain |= {"spiderman": "Spider-Man (2002)", "e.t.": "E.T. the Extra-Terrestrial (1982)"}
    for typed, found in plain.items():
        page.locator("[type=search]").fill(typed)
        assert page.locator(".hits button >> nth=0").text_content() == found
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
