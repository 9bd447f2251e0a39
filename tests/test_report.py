"""The report as `make pages` builds it: its pages, and what readers get on screen and on paper."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from functools import cache
from html import escape
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT, in_chromium, run_make

from mf_claims import VERDICTS, scoreboard

AXE = "axe-core@4.14.1"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
KINDS = ["index", "3.1-masked-factorisation", "5.1-held-out-ratings", "answers", "code", "speed"]


@pytest.fixture(scope="module")
def paths(build):
    """The files of the pages; the last is the single page that becomes the PDF."""
    return [*sorted((build / "html").glob("*.html")), build / "paper/index.html"]


@cache
def read(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def values(path, name):
    return [element[name] for element in read(path).select(f"[{name}]")]


def alternatives(path):
    """The texts that stand for its pictures, without the logos on buttons."""
    pictures = read(path).select('img:not([class="still"], [class="photo"], [src^="_static"])')
    return [picture.get("alt") for picture in pictures]


def test_every_link_inside_the_report_leads_to_one_place(paths):
    checked = 0
    for path in paths:
        assert len(values(path, "id")) == len(set(values(path, "id"))), path
        for link in {a["href"] for a in read(path).select('a[href]:not([href*="://"])')}:
            target = urlsplit(link)
            file = (path.parent / unquote(target.path)).resolve() if target.path else path
            assert file.is_file(), f"{path.name}: {link}"
            if target.fragment:
                name, _, state = unquote(target.fragment).partition("?")  # of a figure: #1.1?lr=0.1
                known = values(file, "data-name" if state else "id")
                assert name in known, f"{path.name}: {link}"
            checked += 1
    assert checked > 200


def test_each_figure_has_the_text_that_its_cell_computed(build, paths):
    computed = {}
    notebooks = (build / "source").glob("*.ipynb")
    for notebook in sorted(notebooks, key=lambda path: path.name.removeprefix("course-")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        figures = [output for output in outputs if "image/png" in output.get("data", {})]
        computed[notebook.stem] = [figure["metadata"]["image/png"]["alt"] for figure in figures]
    shown = {path.stem: alternatives(path) for path in paths if path.stem in computed}
    assert shown == computed
    computed.pop("course-4.1")  # which is not in the PDF
    assert alternatives(paths[-1]) == sum(computed.values(), [])


def read_claims(path):
    """The rows of a page's table of claims, by the claim to which the verdict leads."""
    rows = re.findall(r"<tr>.*?</tr>", path.read_text(encoding="utf-8"), re.DOTALL)
    return {re.search(r'#claim-([\w-]+)"', row)[1]: row for row in rows if "#claim-" in row}


def test_the_table_of_claims_is_the_ledger(build):
    rows = read_claims(build / "html/statements.html")
    names = set()
    for claim, recomputed, notebook in scoreboard(build / "source"):
        name = claim.row or claim.name
        names.add(name)
        assert f">{VERDICTS[claim.verdict]}&nbsp;{escape(claim.verdict)}<" in rows[name]
        assert notebook.replace(".ipynb", f".html#claim-{name}") in rows[name]
        for value in (claim.show_reported(), recomputed or ""):
            for figure in np.ravel(value):
                assert figure in rows[name], name
    assert set(rows) == names


def test_the_first_page_has_the_right_number_and_the_impossible_one(build):
    text = " ".join(read(build / "html/index.html").text.split())
    assert "The loss 0.1291 of the truncated SVD is impossible" in text
    assert "The right number is 0.1219." in text


def test_a_figure_is_shown_at_half_its_pixels(build):
    page = (build / "html/4.1-movie-rating.html").read_text(encoding="utf-8")
    [(file, width), *_] = re.findall(r'src="(_images/\w+\.png)"[^>]*width: (\d+)px', page)
    assert plt.imread(build / "html" / file).shape[1] // 2 == int(width)


def test_the_courses_ratings_decide_on_a_page_that_does_not_say_where_they_are(build):
    page = (build / "html/course-4.1.html").read_text(encoding="utf-8")
    for name, verdict in {"rating-prediction": "reproduced", "rating-error": "refuted"}.items():
        row = read_claims(build / "html/statements.html")[name]
        assert verdict in row and f'href="course-4.1.html#claim-{name}"' in row
    assert str(build) not in page and "is not the file that the course published" in page


def test_a_folder_without_the_courses_titles_is_named(tmp_path):
    (tmp_path / "ratings.pt").touch()
    printed = run_make("course", f"BUILD={tmp_path}", f"COURSE={tmp_path}", fails=True)
    assert f"COURSE={tmp_path} has no titles.csv" in printed


@pytest.mark.parametrize(("origin", "address"), [
    ("https://codeberg.org/a/b.git", "https://codeberg.org/a/b"),
    ("git@codeberg.org:a/b.git", "https://codeberg.org/a/b"),
    ("ssh://git@codeberg.org/a/b", "https://codeberg.org/a/b"),
    *[(secret, "") for secret in (
        "https://user:secret@github.com/a/b.git", "https://token@github.com/a/b", "/home/user/a",
        "", "file:///home/user/a", "http://127.0.0.1:3000/a/b.git", "git@server:a.git",
    )],
])  # fmt: skip
def test_an_address_is_named_if_it_is_everybodys(origin, address, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=origin))
    assert runpy.run_path(str(ROOT / "report/conf.py"))["address"] == address


def test_a_notebook_opens_where_the_repository_is(build):
    links = values(build / "html/3.1-masked-factorisation.html", "href")
    path = "notebooks/3.1-masked-factorisation.ipynb"
    colab = "https://colab.research.google.com/github/owner/name/blob/HEAD/"
    binder = "https://mybinder.org/v2/gh/owner/name/HEAD?urlpath=lab/tree/"
    assert {colab + path, binder + path, "https://github.com/owner/name"} < set(links)
    assert "colab." not in (build / "html/course-4.1.html").read_text(encoding="utf-8")


def test_the_notebooks_of_the_zip_import_what_is_in_it(build, tmp_path):
    shutil.unpack_archive(build / "html/matrix-factorisation.zip", tmp_path)
    folder = tmp_path / "matrix-factorisation/notebooks"
    program = "import sys, mf_data, mf_paths\n"
    program += "mf_data.load_ratings(), open(mf_paths.LIVE / 'live.css')\n"
    for notebook in sorted(folder.glob("*.ipynb")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        [imports, *_] = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        program += "".join(imports) + "\n"
    program += "print([sys.modules[name].__file__ for name in sys.modules if name[:3] == 'mf_'])"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.stdout.count(".py") == run.stdout.count(str(folder)) > 4, run.stderr


DRAWN = """() => document.fonts.ready.then(() => {
    const formulas = [...document.querySelectorAll("math")].filter(e => e.checkVisibility());
    return {
        width: document.documentElement.scrollWidth,
        icons: document.fonts.check('900 16px "Font Awesome 7 Free"'),
        images: [...document.images].every(e => e.complete && e.naturalWidth > 0),
        formulas: formulas.every(e => e.getBoundingClientRect().height > 5),
    };
})"""


@in_chromium
def test_every_page_is_drawn_on_a_phone_without_a_network(browser, build, paths):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    for path in paths[:-1]:
        page.goto(path.as_uri())
        drawn = page.evaluate(DRAWN)
        assert drawn.pop("width") <= 390, path.name
        assert all(drawn.values()), (path.name, drawn)
    page.close()
    assert not problems
    inside = ((build / "html").as_uri(), "data:", "blob:")
    assert not [url for url in requests if not url.startswith(inside)]


@pytest.fixture(scope="module")
def axe():
    """The accessibility checker axe-core, by npm."""
    folder = ROOT / "build/axe"
    if not (folder / "package/axe.min.js").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", "--fetch-retries=0", "--fetch-timeout=10000", AXE]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"npm gets no axe-core: {error}")
        [archive] = folder.glob("*.tgz")
        shutil.unpack_archive(archive, folder)
    return folder / "package/axe.min.js"


RUN_AXE = """async rules => {
    // A drawing is one image, whose label is checked outside of it.
    const page = {include: ["html"], exclude: ["svg"]};
    const result = await axe.run(page, {runOnly: rules, resultTypes: ["violations"]});
    const nodes = result.violations.flatMap(violation => violation.nodes);
    return {passed: result.passes.length, problems: nodes.map(e => [e.html, e.failureSummary])};
}"""


@in_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong(browser, build, paths, axe, theme):
    pages, rules = paths[:-1], WCAG
    if theme == "dark":  # which differs in its colours alone
        pages, rules = [build / f"html/{name}.html" for name in KINDS], ["color-contrast"]
    tab = browser.new_page(color_scheme=theme)
    problems = []
    for path in pages:
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.dataset.theme") == theme
        tab.add_script_tag(path=axe)
        result = tab.evaluate(RUN_AXE, rules)
        assert result["passed"] > 0
        problems += [(path.name, *problem) for problem in result["problems"]]
    tab.close()
    assert not problems


@in_chromium
def test_the_pdf_is_tagged_a4_with_an_outline_and_the_answers_are_one_page(build):
    report = (build / "report.pdf").read_bytes()
    assert b"/StructTreeRoot" in report and b"/Outlines" in report
    assert b"file:" not in report  # no link to a folder of this machine
    a4 = re.findall(rb"/MediaBox \[0 0 59[45][.\d]* 84[12][.\d]*\]", report)
    assert 20 < len(a4) == report.count(b"/MediaBox") <= 80
    pages = re.findall(rb"/Type /Page\b(?!s)", (build / "answers.pdf").read_bytes())
    assert len(pages) == 1


@in_chromium
def test_the_contents_have_page_numbers_and_there_are_the_sections(browser, paths):
    contents = paths[-1].read_text(encoding="utf-8")
    entries = re.findall(r'<a href="#([^"]+)">[^\n]*?</a><span class="page">(\d+)<', contents)
    numbers = [int(number) for _, number in entries]
    assert len(numbers) == contents.count('class="page"') and numbers == sorted(numbers)
    tab = browser.new_page()
    tab.goto(paths[-1].as_uri())
    name, number = entries[len(entries) // 2]
    assert f"/{name} [".encode() in tab.pdf(page_ranges=number, prefer_css_page_size=True)
    tab.close()


ON_PAPER = """() => {
    const find = (query, isWrong) => [...document.querySelectorAll(query)]
        .filter(e => e.checkVisibility() && isWrong(e)).map(e => e.outerHTML.slice(0, 150));
    return {
        controls: find("button, input, nav, form, .headerlink", () => true),
        cut: find("pre", e => e.scrollWidth > e.clientWidth + 1),
        folded: find("details:not(.hide) > p", e => e.offsetHeight < 5),
    };
}"""


@in_chromium
def test_on_paper_nothing_is_dead_cut_off_or_folded(browser, paths):
    page = browser.new_page(viewport={"width": 640, "height": 900})  # what A4's margins leave
    page.goto(paths[-1].as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(ON_PAPER) == {"controls": [], "cut": [], "folded": []}
    page.close()
