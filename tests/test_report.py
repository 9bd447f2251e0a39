"""The report as `make pages` builds it: links, alt texts, sizes; in Chromium also network, contrast, players and PDF."""

import functools
import html
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections import Counter
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from conftest import in_chromium

import mf_core
from mf_claims import VERDICTS, ledger, scoreboard

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COURSEWORK = [path for path in NOTEBOOKS if path.stem[0] < "5"]
ROWS = {entry.row or name for name, entry in ledger().items()}
AXE = "axe-core@4.14.1"


class Page(HTMLParser):
    """What a page's links, names, pictures, headings and tables are."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.ids, self.pictures, self.headings, self.tables = (
            path,
            [],
            [],
            [],
            [],
            [],
        )
        self.sources, self.figures, self.inside = [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.inside += tag == "article"
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag in ("img", "script", "link", "image"):
            self.sources.append(attributes.get("src") or attributes.get("href") or "")
        if tag == "img" and self.inside:
            self.figures.append(attributes.get("alt"))
        if tag == "img" or attributes.get("role") == "img":
            self.pictures.append(attributes.get("alt") or attributes.get("aria-label") or "")
        if re.fullmatch("h[1-6]", tag) and self.inside:
            self.headings.append(int(tag[1]))
        if tag == "table":
            self.tables.append(False)
        if tag == "th":
            self.tables[-1] = True

    def handle_endtag(self, tag):
        self.inside -= tag == "article"


def make(target, folder, *variables, **options):
    """Run make in the repository; its output. READY is empty: the packages are installed."""
    command = [
        "make",
        "--no-print-directory",
        target,
        f"BUILD={folder}",
        f"BIN={Path(sys.executable).parent}",
        "READY=",
    ]
    options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 300} | options
    done = subprocess.run([*command, *variables], **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_times(file, cells):
    """What nbval measures, as pytest writes it: cells are (notebook, index, seconds)."""
    case = '<testcase classname="notebooks.{}" name="ipynb::Cell {}" time="{}"/>'
    cases = "".join(case.format(*cell) for cell in cells)
    suite = f'<testsuite timestamp="2024-05-06T07:08:09">{cases}</testsuite>'
    file.write_text(f"<testsuites>{suite}</testsuites>")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The report, built as the Makefile does."""
    folder = tmp_path_factory.mktemp("build")
    write_times(folder / "times.xml", [(path.name, 0, 1.5) for path in NOTEBOOKS])
    make("pages", folder)
    return folder


@pytest.fixture(scope="module")
def pages(build):
    """All pages by path, the single page for paper among them."""
    return {
        path: Page(path)
        for path in [*sorted((build / "html").glob("*.html")), build / "paper/index.html"]
    }


def test_there_is_a_page_for_each_part(build):
    names = {path.stem for path in (build / "html").glob("*.html")}
    others = {"answers", "real", "course", "code", "speed", "data", "times", "references", "search"}
    assert names == {"index"} | others | {path.stem for path in NOTEBOOKS}


def test_every_link_inside_the_report_leads_somewhere(pages):
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            target = urlsplit(link)
            if target.scheme:
                continue
            file = (path.parent / unquote(target.path)).resolve() if target.path else path
            assert file.is_file(), f"{path.name}: {link}"
            if target.fragment:
                there = pages.get(file) or Page(file)
                assert unquote(target.fragment) in there.ids, f"{path.name}: {link}"
            checked += 1
    assert checked > 200


def test_nothing_is_loaded_from_outside_and_no_name_is_there_twice(pages):
    for path, page in pages.items():
        assert not [source for source in page.sources if re.match(r"(https?:)?//", source)], path
        assert not [name for name, count in Counter(page.ids).items() if count > 1], path


def test_every_picture_has_a_text_that_stands_for_it(pages):
    for path, page in pages.items():
        assert all(len(text) > 40 for text in page.pictures), path
    assert all(
        pages[path].pictures for path in pages if path.stem[:1].isdigit() or path.stem == "index"
    )


def stored_texts(notebook):
    """The texts that stand for the notebook's figures, as its cells computed them."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    return [figure["metadata"]["image/png"]["alt"] for figure in figures]


def test_each_figure_has_the_text_that_is_stored_with_it(build, pages):
    stored = [stored_texts(path) for path in NOTEBOOKS]
    assert all(stored)
    shown = [pages[build / f"html/{path.stem}.html"].figures for path in NOTEBOOKS]
    assert shown == stored
    assert pages[build / "paper/index.html"].figures == sum(stored, [])


def test_headings_are_in_order_and_tables_have_headers(pages):
    for path, page in pages.items():
        if path.stem == "search":
            continue
        assert page.headings[0] == 1 and page.headings.count(1) == 1, path
        assert all(after <= before + 1 for before, after in pairwise(page.headings)), path
        assert all(page.tables), path


def test_the_report_is_light(build):
    megabyte = 2**20
    files = [path for path in (build / "html").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10 * megabyte
    for path in (build / "html").glob("*.html"):
        pictures = [
            path.parent / source for source in Page(path).sources if source.startswith("_images")
        ]
        assert (
            path.stat().st_size + sum(picture.stat().st_size for picture in pictures) < 2 * megabyte
        ), path


def words(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def rows_of_claims(page):
    """The text of each row of a page's table of claims, by the claim to which its verdict leads."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.read_text(encoding="utf-8"), re.DOTALL)
    links = [(re.search(r'#claim-([\w-]+)"', row), row) for row in rows]
    return {found[1]: row for found, row in links if found}


def test_the_first_page_shows_every_claim_and_the_answer_sheet_every_figure_as_recomputed(build):
    for page, figures_only in (("index", False), ("answers", True)):
        shown = rows_of_claims(build / f"html/{page}.html")
        expected = [
            (entry, value)
            for entry, value, _ in scoreboard()
            if not figures_only or entry.reported is not None
        ]
        assert set(shown) == {entry.row or entry.name for entry, _ in expected}
        for entry, value in expected:
            row = shown[entry.row or entry.name]
            assert entry.verdict.split()[0] in row
            figures = [entry.show_reported(), value or []]
            for text in [x for figure in figures for x in np.array(figure).flatten().tolist()]:
                assert text in row, (page, entry.name)
        assert shown["sgd-u"].count("<math") == 6 and shown["sgd-u"].count("0.1223") == 2


def test_what_the_verdicts_mean_stands_above_the_table(build):
    before, _, _ = words(build / "html/index.html").partition(f"{len(ROWS)} statements;")
    for verdict, sign in VERDICTS.items():
        assert re.search(f"{sign} {verdict} *: ", before.replace("’", "'")), verdict


def test_the_first_page_names_findings_with_computed_figures_and_offers_each_notebook(build):
    text = words(build / "html/index.html")
    findings, _, _ = text.partition("What was found")[2].partition("The reported figures")
    for name in ("svd-loss", "completed-mse"):
        entry = ledger()[name]
        assert entry.show_reported() in findings and entry.show(entry.recomputed) in findings
    downloads = [path.name for path in (build / "html/_downloads").rglob("*.ipynb")]
    assert sorted(downloads) == [path.name for path in NOTEBOOKS]


def test_every_public_function_is_shown_with_its_docstring_and_one_click_from_its_source(build):
    text = (build / "html/code.html").read_text(encoding="utf-8")
    source = (build / "html/_modules/mf_core.html").read_text(encoding="utf-8")
    for name in mf_core.__all__:
        first_line = html.escape(getattr(mf_core, name).__doc__.splitlines()[0])
        assert f'href="_modules/mf_core.html#{name}"' in text and first_line in text
        assert f'id="{name}"' in source
    assert "_sgd_epochs" in source and "_gd_rows" in source


def test_the_answer_sheet_has_what_the_exercise_asks_for(build):
    sheet = (build / "html/answers.html").read_text(encoding="utf-8")
    text = html.unescape(words(build / "html/answers.html"))
    for path in COURSEWORK:
        assert f"<h2>{path.stem[:3]} " in sheet
    for part in ("def sgd_factorize(", "def sgd_factorize_masked(", "U =", "V =", "U V^T =", "loss =",
                 "torch.linalg.svd(A)", "Eckart", "observed", "missing", "Beautiful Mind"):  # fmt: skip
        assert part in text, part
    assert text.count("tensor(") >= 5


def test_a_section_without_a_marked_answer_is_refused(tmp_path):
    show_answers = runpy.run_path(str(ROOT / "report/gathered.py"))["show_answers"]
    for path in NOTEBOOKS:
        (tmp_path / path.name).write_text(path.read_text().replace('"answer"', '"other"'))
    with pytest.raises(ValueError, match="1.1-gradient-factorisation.ipynb: no cell is tagged"):
        show_answers(tmp_path)


def test_times_are_those_of_the_last_execution(build, tmp_path):
    assert "Measured on 2024-05-06" in words(build / "html/times.html")
    show_times = runpy.run_path(str(ROOT / "report/gathered.py"))["show_times"]
    measured = tmp_path / "times.xml"
    assert show_times(measured, ROOT / "notebooks").startswith("Not measured")
    notebook = "2.1-truncated-svd.ipynb"
    write_times(measured, [(notebook, 0, 1.25), (notebook, 1, 40.5)])
    text = re.sub(r">\s+<", "><", show_times(measured, ROOT / "notebooks"))
    assert "2024-05-06" in text and "torch 2." in text
    assert '<a href="2.1-truncated-svd.html">2.1-truncated-svd</a></td><td>41.8<' in text
    assert "<td>[2]</td><td><code>A, _ = load_coursework_matrix()</code></td><td>40.5<" in text


def test_every_work_that_a_notebook_names_is_among_the_references(build):
    text = words(build / "html/references.html")
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        reading = "".join(cells[-1]["source"])
        for surname, year in re.findall(r"^- ([^,]+), .*?\((\d{4})\)", reading, re.M):
            assert re.search(rf"{surname}[^\[\]]*{year}", text), (path.name, surname)


def test_nothing_of_an_earlier_build_is_left_in_the_source_folder(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/9.9-renamed-since.ipynb").touch()
    make("source", tmp_path)
    names = {path.name for path in (tmp_path / "source").iterdir()}
    pages = {path.name for path in (ROOT / "report").glob("*.md")} | {"data.md"}
    assert names == pages | {"bench.txt"} | {path.name for path in NOTEBOOKS}


@pytest.fixture
def commands(tmp_path):
    """A folder for PATH with the few commands that `make pages` takes, and no browser."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name in ("make", "sh", "rm", "mkdir", "cp", "ls"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def make_without_sphinx(folder, commands):
    """What `make pages` says at its end, with these commands and a program that does nothing as Sphinx."""
    variables = ("SPHINX=:", f"PYTHON={sys.executable}")
    (folder / "html").mkdir()
    (folder / "html/index.html").touch()
    output = make("pages", folder, *variables, env=os.environ | {"PATH": str(commands)})
    return output.partition("The report is made:")[2].split("\n")


def test_without_chromium_no_pdf_is_named_or_left_from_an_earlier_build(tmp_path, commands):
    pdfs = [tmp_path / "report.pdf", tmp_path / "answers.pdf"]
    for pdf in pdfs:
        pdf.touch()
    said = make_without_sphinx(tmp_path, commands)
    assert not [pdf for pdf in pdfs if pdf.exists()]
    assert str(tmp_path / "html/index.html") in said and ".pdf" not in "".join(said)
    assert "install the package chromium" in said[-2]


@pytest.mark.parametrize(
    "browser", ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
)
def test_chromium_is_found_by_each_of_its_names(tmp_path, commands, browser):
    (commands / browser).write_text(
        '#!/bin/sh\nfor word; do case $word in --print-to-pdf=*) : > "${word#*=}"; esac; done\n'
    )
    (commands / browser).chmod(0o755)
    said = make_without_sphinx(tmp_path, commands)
    made = {str(tmp_path / name) for name in ("html/index.html", "report.pdf", "answers.pdf")}
    assert set(said) - {""} == made


# -------------------------------------------------------------------------------------------------------- in Chromium
@pytest.fixture(scope="module")
def served(build):
    """The address of the report on a web server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=build / "html")
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@in_chromium
@pytest.mark.parametrize("way", ["file", "server"])
def test_no_request_leaves_the_machine_and_all_is_shown(browser, build, served, way):
    address = served if way == "server" else (build / "html").as_uri()
    page = browser.new_page(color_scheme="dark", viewport={"width": 390, "height": 800})
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    for path in sorted((build / "html").glob("*.html")):
        page.goto(f"{address}/{path.name}")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name
        assert page.evaluate(
            "document.fonts.ready.then(() => document.fonts.check('900 16px \"Font Awesome 7 Free\"'))"
        )
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), (
            path.name
        )
        formulas = "[...document.querySelectorAll('math')].filter(m => m.checkVisibility())"
        assert page.evaluate(f"{formulas}.every(m => m.getBoundingClientRect().height > 5)"), (
            path.name
        )
        assert path.stem[:1].isalpha() or page.evaluate(f"{formulas}.length") > 5
    page.close()
    assert len(requests) > 50 and not problems
    assert not [url for url in requests if not url.startswith((address, "data:"))]


@in_chromium
def test_the_search_finds_a_word_and_code_can_be_copied(browser, build):
    page = browser.new_page()
    page.goto((build / "html/search.html").as_uri() + "?q=hyperbola")
    page.wait_for_selector("#search-results a[href*='3.1-masked']")
    page.goto((build / "html/1.1-gradient-factorisation.html").as_uri())
    assert (
        page.locator("div.cell_input button.copybtn").count()
        == page.locator("div.cell_input pre").count()
        > 10
    )
    assert page.locator("div.cell_output button.copybtn").count() == 0
    page.close()


@pytest.fixture(scope="module")
def axe():
    """The accessibility checker axe-core, by npm."""
    folder = ROOT / "build" / "axe"
    script = folder / "package" / "axe.min.js"
    if not script.is_file():
        if not shutil.which("npm"):
            pytest.skip("no npm here, and so no axe-core")
        folder.mkdir(parents=True, exist_ok=True)
        quick = ["--fetch-retries=0", "--fetch-timeout=10000"]
        try:
            packed = subprocess.run(
                ["npm", "pack", "--silent", *quick, AXE],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=20,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm gets no axe-core within 20 seconds")
        if packed.returncode:
            pytest.skip(f"npm can't get axe-core: {packed.stderr[-200:] or packed.stdout[-200:]}")
        shutil.unpack_archive(folder / packed.stdout.split()[-1], folder)
    return script


@in_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong(browser, build, axe, theme):
    page = browser.new_page(color_scheme=theme)
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = []
    for path in sorted((build / "html").glob("*.html")):
        page.goto(path.as_uri())
        page.add_script_tag(path=axe)
        result = page.evaluate("rules => axe.run(document, rules)", rules)
        assert result["passes"]
        found += [
            (path.name, v["id"], node["html"][:150], node["failureSummary"])
            for v in result["violations"]
            for node in v["nodes"]
        ]
    page.close()
    assert not found


def works_by_keyboard_and_mouse(page, player):
    """What the player says of its first, second and last frame, reached with keys and with the button."""
    slider, button, said = (player.locator(part) for part in ("input", ".play", ".said"))
    last = slider.get_attribute("max")
    drawing = player.locator("svg").first.inner_html
    shown = {last: (said.text_content(), drawing())}
    for key, frame in (("Home", "0"), ("ArrowRight", "1")):
        slider.press(key)
        assert slider.input_value() == frame
        assert slider.evaluate("e => e.ariaValueText") == said.text_content()
        shown[frame] = (said.text_content(), drawing())
    assert len({text for text, _ in shown.values()}) == 3
    assert len({picture for _, picture in shown.values()}) == 3
    button.click()
    assert button.text_content() == "Pause"
    page.wait_for_function("i => i.value == i.max", arg=slider.element_handle())
    page.wait_for_function("e => e.textContent == 'Play'", arg=button.element_handle())
    assert (said.text_content(), drawing()) == shown[last]
    return [shown[frame][0] for frame in ("0", "1", last)]


@in_chromium
def test_a_player_moves_what_it_was_given(browser, tmp_path):
    sys.path.insert(0, str(ROOT / "notebooks"))
    import matplotlib.pyplot as plt
    import moving

    fig, (left, right) = plt.subplots(1, 2)
    (line,), (dots,) = left.plot([], []), right.plot([], [], "o")
    left.set(xlim=(0, 1), ylim=(0, 1))
    right.set(xlim=(0.1, 10), ylim=(0.1, 10), xscale="log", yscale="log")
    frames = {
        line: [[(0, 0)], [(0, 0), (1, 0.5)], [(0, 0), (1, 1)]],
        dots: [[(0.1, 0.1)], [(1, 1)], [(10, 10)]],
    }
    with pytest.raises(ValueError, match="has 3 frames, but there are 2 captions"):
        moving.player(fig, frames, ["a", "b"], "alt")
    captions, shown = ["one", "</script>", "<b>three"], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving, "display", lambda bundle, raw: shown.append(bundle["text/html"]))
        moving.player(fig, frames, captions, "a line and a dot")
    (tmp_path / "player.html").write_text(f"<!doctype html><meta charset=utf-8>{shown[0]}")
    page = browser.new_page()
    page.goto((tmp_path / "player.html").as_uri())
    assert works_by_keyboard_and_mouse(page, page.locator(".live")) == captions
    for key, part in (("Home", 0), ("ArrowRight", 0.5), ("End", 1)):
        page.locator("input").press(key)
        for layer in page.locator("svg svg").all():
            x, y, width, height = map(float, layer.get_attribute("viewBox").split())
            path = re.findall(r"[\d.]+", layer.locator("path").get_attribute("d"))
            if len(path) == 3:  # the dot; the line ends where its last point is
                at = [float(z) for z in path[:2]]
                assert at == pytest.approx([x + part * width, y + (1 - part) * height], abs=0.2)
            else:
                at = [float(z) for z in path[-2:]]
                end = (
                    [x + width, y + height / 2]
                    if part == 0.5
                    else [x + part * width, y + (1 - part) * height]
                )
                assert at == pytest.approx(end, abs=0.2)
    page.close()


@in_chromium
def test_every_player_of_the_report_works_without_python(browser, build):
    page, played = browser.new_page(viewport={"width": 390, "height": 800}), 0
    for path in sorted((build / "html").glob("[1-9]*.html")):
        page.goto(path.as_uri())
        for player in page.locator(".live:has([name=frame])").all():
            works_by_keyboard_and_mouse(page, player)
            played += 1
    assert played
    page.close()


@in_chromium
def test_the_pdf_is_tagged_a4_with_contents_and_without_dead_controls(browser, build):
    pdf = (build / "report.pdf").read_bytes()
    assert b"/StructTreeRoot" in pdf and b"/Marked true" in pdf and b"/Outlines" in pdf
    sides = [tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", pdf)]
    assert len(sides) > 20 and all(
        abs(w - 595.3) < 1 and abs(h - 841.9) < 1 for _, _, w, h in sides
    )
    page = browser.new_page()
    page.goto((build / "paper/index.html").as_uri())
    page.emulate_media(media="print")
    assert page.locator(".contents a").count() > 40
    controls = page.locator("button, input, nav, form, .headerlink").all()
    assert controls and not [control.inner_html() for control in controls if control.is_visible()]
    for answer in page.locator("details").all():
        text = answer.locator("p").first
        assert "hide" in (answer.get_attribute("class") or "") or text.bounding_box()["height"] > 5
    wide = "[...document.querySelectorAll('pre')].filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)"
    page.set_viewport_size({"width": 640, "height": 900})  # about what the margins of A4 leave
    assert page.evaluate(f"{wide}.map(e => e.innerText)") == []
    page.close()


@in_chromium
def test_the_answer_sheet_is_one_page_on_paper(build):
    pages = re.findall(rb"/Type /Page\b(?!s)", (build / "answers.pdf").read_bytes())
    assert len(pages) == 1
