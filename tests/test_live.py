"""The live figures: the page has the bits of mf_core, and moves as a reader moves the controls."""

import os
import random
import re
import socket
import subprocess
import sys
import time

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from conftest import FUZZ, ROOT
from matplotlib.cbook import get_sample_data
from test_notebooks import cells_of, leading_to, of_section

import mf_core
from mf_data import load_coursework_matrix

ALGORITHM = (ROOT / "live/algorithm.js").read_text(encoding="utf-8")
A, M = load_coursework_matrix()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------ the algorithm, bit for bit
def draw_case(rng):
    """A with its missing entries None, its mask M, and the settings."""
    rows, columns = range(rng.randint(1, 6)), range(rng.randint(1, 6))
    M = [[i + j == 0 or rng.random() < 0.8 for j in columns] for i in rows]
    largest = rng.choice([5, 5, 5, 5e4])
    A = [[rng.uniform(-1, largest) if seen else None for seen in row] for row in M]
    case = {"A": A, "M": M, "rank": rng.randint(1, 8), "seed": rng.randrange(2**32)}
    case |= {"num_epochs": round(10 ** rng.uniform(0, 3)), "lr": 10 ** rng.uniform(-4, 0.3)}
    return case | {"weight_decay": rng.choice([0, 10 ** rng.uniform(-3, 0)])}


def bits(X):
    return np.asarray(X, np.float32).view(np.uint32).tolist()


def run_in_python(case):
    """mf_core's factors, or its message, in the form of RUN_IN_PAGE."""
    A, M = torch.tensor(np.array(case["A"], np.float32)), torch.tensor(case["M"])
    settings = {name: case[name] for name in ("rank", "num_epochs", "lr", "weight_decay")}
    try:
        factors = mf_core.sgd_factorize_masked(A, M, **settings, generator=seeded(case["seed"]))
        return [bits(X) for X in factors]
    except FloatingPointError as error:
        return str(error)


BITS = "const bits = numbers => [...new Uint32Array(Float32Array.from(numbers).buffer)];"
RUN_IN_PAGE = f"""cases => cases.map(settings => {{
  {BITS}
  try {{
    const {{ U, V }} = mf.sgd(settings);
    return [U.map(bits), V.map(bits)];
  }} catch (error) {{
    return error.message;
  }}
}})"""


def run_script(browser, expression, argument, script=ALGORITHM):
    page = browser.new_page()
    page.add_script_tag(content=script)
    result = page.evaluate(expression, argument)
    page.close()
    return result


def test_the_page_has_the_bits_of_mf_core_and_its_messages(browser):
    rng = random.Random(0)
    cases = [draw_case(rng) for _ in range(600 * FUZZ)]
    expected = [run_in_python(case) for case in cases]
    assert run_script(browser, RUN_IN_PAGE, cases) == expected


# ------------------------------------------------------------------ in the report
FIGURES = {"index": 2, "1.1": 1, "1.2": 1, "2.1": 2, "3.1": 1, "4.1": 1, "5.1": 1}  # by page


@pytest.fixture
def open_page(browser, build):
    """A function that opens a page of the report and gives its live figures; no script may fail."""
    problems = []

    def open_page(name, state="", **options):
        page = browser.new_context(**options).new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda line: problems.append(line.text) if line.type == "error" else None
        )
        [path] = (build / "html").glob(f"{name}*.html")
        page.goto(path.as_uri() + state)
        return page, page.locator("figure.live").all()

    yield open_page
    for context in browser.contexts:
        context.close()
    assert problems == []


def status_of(figure):
    return " ".join(figure.locator(".status").text_content().split())


def put(figure, **settings):
    """The status with these settings; a slider in powers of ten gets the power."""
    for name, x in settings.items():
        figure.locator(f"[name='{name}']").fill(str(x))
    return status_of(figure)


def guess(figure, choice):
    """The verdict on the guess; the choice is pressed, and one button is marked as right."""
    button = figure.get_by_role("button", name=choice, exact=True)
    button.press("Enter")
    figure.locator(".status em", has_text=": ").wait_for()
    assert figure.locator(".guess [aria-pressed=true]").text_content() == choice
    right = figure.locator(".guess .right").text_content()
    verdict = figure.locator(".status em").text_content()
    assert verdict.startswith("Right: " if right == choice else "Wrong: ")
    return verdict


def address_of(page):
    return page.evaluate("location.hash")  # page.url is late


def cells_in(figure):
    """The numbers of the grid, without those wanted."""
    texts = figure.locator(".cells span").all_text_contents()
    return torch.tensor([float(text.replace("−", "-")) for text in texts]).view(3, 3)


def drag(page, figure, ends):
    """Drags from one place to another, in shares of the plot's width and height."""
    handle = figure.locator("svg[role=slider]").first
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    (x, y), *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ends]
    page.mouse.move(x, y)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place)
    page.mouse.up()


@pytest.mark.parametrize("name", FIGURES)
def test_a_page_has_stills_for_paper_and_acts_at_once_on_the_screen(open_page, name):
    page, still = open_page(name, java_script_enabled=False)
    assert len(still) == FIGURES[name]
    for figure in still:
        assert figure.locator("img.still").first.is_visible()
        assert figure.locator("figcaption").is_visible()
        assert not figure.locator("form").is_visible()
    page, live = open_page(name, color_scheme="dark")
    for figure in live:
        assert not figure.locator("img.still").first.is_visible()
        assert status_of(figure) and figure.locator(".plots path").count() > 0
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.dataset.theme == 'light'")
    assert all(figure.locator("img.still").first.is_visible() for figure in live)
    assert not page.locator("figure.live :is(form, .stage, .status)").first.is_visible()


@pytest.mark.parametrize("name", FIGURES)
def test_on_a_telephone_nothing_is_too_small_or_too_wide(open_page, name):
    page, figures = open_page(name, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    sizes = "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    for figure in figures:
        assert min(figure.locator("svg text, small").evaluate_all(sizes)) >= 11
        height = figure.locator(".status").evaluate(
            "e => e.offsetTop + 40 - e.closest('figure').offsetTop"
        )
        assert height < 844


def factorise(rank=2, epochs=1000, lr=0.01, seed=0, **options):
    return mf_core.sgd_factorize(A, rank, epochs, lr, generator=seeded(seed), **options)


def loss_of(factors):
    return f"{mf_core.reconstruction_loss(A, *factors):.4f}"


def test_the_stages(open_page):
    page, [figure] = open_page("1.1", "#1.1?seed=3&lr=0.02&epoch=120")
    U, V = factorise(epochs=120, lr=0.02, seed=3)
    assert status_of(figure).startswith(f"Epoch 120: loss {loss_of((U, V))}.")
    assert (cells_in(figure) - U @ V.T).abs().max() < 6e-4
    drawn = figure.locator("[data-name=length]").get_attribute("d")
    places = np.array(re.findall(r"([\d.]+) ([\d.]+)", drawn), float)
    assert np.hypot(*np.diff(places, axis=0).T).max() < 5  # pixels: the curve is drawn finely
    drag(page, figure, [(0.3, 0.5), (0.5, 0.5)])
    epoch = int(re.search(r"epoch=(\d+)", address_of(page))[1])
    assert 300 < epoch < 600
    factors = factorise(epochs=epoch, lr=0.02, seed=3)
    assert status_of(figure).startswith(f"Epoch {epoch}: loss {loss_of(factors)}.")
    figure.locator("svg[role=slider]").first.press("ArrowLeft")
    assert status_of(figure).startswith(f"Epoch {epoch - 10}: ")
    figure.locator("summary").click()
    assert loss_of(factorise(3, epoch - 10, 0.02, 3)) in put(figure, rank=3)


SINGULAR = "cases => cases.map(mf.singularValues)"


def test_the_singular_values_are_lapacks(browser):
    X = torch.randn(200, 3, 3, dtype=torch.float64, generator=seeded(0)) ** 3
    X[:100, 2] = X[:100, :2].sum(1)  # of rank 2
    found = torch.tensor(run_script(browser, SINGULAR, X.tolist()), dtype=torch.float64)
    torch.testing.assert_close(found, torch.linalg.svdvals(X), rtol=1e-9, atol=1e-7)


def test_a_run_that_overflows_is_shown_as_far_as_it_goes(open_page):
    _, [figure] = open_page("1.1")
    with pytest.raises(FloatingPointError, match=r"in epoch (\d+) of 1000") as error:
        factorise(lr=0.32)
    last = int(re.search(r"in epoch (\d+)", str(error.value))[1]) - 1
    assert put(figure, lr=-0.5).startswith(f"Epoch {last}: loss ")
    assert "The numbers run away." in status_of(figure)
    assert len(figure.locator("[data-name=loss]").get_attribute("d")) > 10
    assert cells_in(figure).isfinite().all()


def test_half_the_rate_takes_twice_as_long(open_page):
    _, [figure] = open_page("1.1")
    assert guess(figure, "as many").startswith("Wrong: ")
    assert figure.locator(".guess .right").text_content() == "twice as many"
    assert figure.locator("[data-name=before]").get_attribute("d")  # both runs are drawn


def test_a_thousand_seeds_give_pytorchs_share_and_say_how_far_they_are(open_page):
    page, [figure] = open_page("1.2")
    losses = [loss_of(factorise(epochs=3000, seed=seed)) for seed in range(1000)]
    hits = losses.count("0.1223")
    figure.get_by_role("button", name="more seeds").press("Enter")
    assert "with more to come" in status_of(figure)
    assert f" and {hits} after 3,000 epochs." in guess(figure, "more seeds")
    U, V = factorise(epochs=500, seed=999)
    shown = f"Seed 999 after 500 epochs: loss {loss_of((U, V))}; the floor is 0.1219."
    assert put(figure, epochs=500, seed=999).startswith(shown)
    assert (cells_in(figure) - U @ V.T).abs().max() < 6e-4
    reset = figure.locator("button[type=reset]")
    reset.click()
    figure.locator(".status", has_text="Seed 0 after 1,000 epochs").wait_for()
    drag(page, figure, [(0.3, 0.5), (0.95, 0.5)])
    worst = max(range(1000), key=lambda seed: mf_core.reconstruction_loss(A, *factorise(seed=seed)))
    assert status_of(figure).startswith(f"Seed {worst} ")


def test_a_matrix_of_rank_2_stays_above_the_floor(open_page):
    page, [figure, _] = open_page("2.1")
    floor = torch.linalg.svdvals(A.double())[2] ** 2
    for turn, tilt in [(0, 0), (35, -53.5), (-80, 20)]:
        a, b = np.radians([turn, tilt])
        w = torch.tensor([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
        B = A.double() @ (torch.eye(3) - torch.outer(w, w))
        loss = mf_core.reconstruction_loss(A.double(), B, torch.eye(3, dtype=torch.float64))
        length = (A.double() @ w).norm()
        said = put(figure, turn=turn, tilt=tilt)
        assert said.startswith(f"A makes w {length:.4f} long; ") and f"² = {loss:.4f}." in said
        assert ("of the floor, 0.1219" in said) == (loss - floor < 0.0005)
        assert (cells_in(figure) - B).abs().max() < 6e-4
        orange = "all => all.map(e => e.style.cssText.includes('--below'))"
        assert figure.locator(".cells > *").evaluate_all(orange) == (B < -1e-6).flatten().tolist()
    drag(page, figure, [(0.5, 0.3), (0.45, 0.4)])
    assert "turn=-80" not in address_of(page)


def test_the_photograph_is_the_truncated_svd(open_page):
    _, [_, figure] = open_page("2.1")
    photo = plt.imread(get_sample_data("grace_hopper.jpg", asfileobj=False))
    G = torch.tensor(photo[::4, ::4]).float().mean(2) / 255
    data = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data]"
    for rank in (1, 2, 128):
        U, S, Vh = mf_core.truncated_svd(G, rank)
        loss = mf_core.reconstruction_loss(G, U * S, Vh.T)
        share = f"{rank * (sum(G.shape) + 1) / G.numel():.0%}"
        assert put(figure, rank=rank).startswith(f"Rank {rank}: {share} of the photograph's")
        assert f"loss {loss:.2f}." in status_of(figure)
        pixels = torch.tensor(figure.locator("canvas").evaluate(data)[::4]).view(G.shape)
        assert (pixels - 255 * ((U * S) @ Vh).clamp(0, 1)).abs().max() < 0.6


def complete(A, M, seed, epochs=4000, lr=0.01):
    U, V = mf_core.sgd_factorize_masked(A, M, 2, epochs, lr, generator=seeded(seed))
    return U.double() @ V.double().T


@pytest.mark.parametrize("gaps", ["10 21", "00 01", "21", "01 10 22", ""])
def test_a_completion_is_that_of_mf_core_for_any_gaps(open_page, gaps):
    """Also that so many epochs fit all but the gaps, where there are two or more."""
    _, [figure] = open_page("3.1", f"#3.1?open={gaps.replace(' ', '+')}&seed=7")
    seen = torch.ones(3, 3, dtype=torch.bool)
    for i, j in gaps.split():
        seen[int(i), int(j)] = False
    X = complete(A, seen, 7)
    assert (cells_in(figure) - X).abs().max() < 6e-4
    pressed = figure.locator(".cells button").evaluate_all("all => all.map(e => e.ariaPressed)")
    assert pressed == [str(not shown).lower() for shown in seen.flatten().tolist()]
    if len(gaps) > 3:
        assert (X - A)[seen].abs().max() < 0.005
        assert "and fits the other" in status_of(figure)


def test_with_one_gap_the_exact_value_and_the_end_of_the_run_are_told_apart(open_page):
    _, [figure] = open_page("3.1")
    figure.locator(".cells button").nth(3).click()
    X = A.double().clone()
    X[2, 1] = 0
    at_0 = torch.linalg.det(X)
    X[2, 1] = 1
    exact = f"{at_0 / (at_0 - torch.linalg.det(X)):.2f}".replace("-", "−")
    assert f"Exactly one value fits the other eight: {exact}." in status_of(figure)
    assert "this run is not there: the others hardly hold it" in status_of(figure)


def test_the_dot_stays_on_the_curve_and_a_new_start_takes_its_place(open_page):
    page, [figure] = open_page("3.1")
    drag(page, figure, [(0.5, 0.5), (0.4, 0.3)])
    assert status_of(figure).startswith("You chose ")
    assert torch.linalg.det(cells_in(figure)).abs() < 0.02
    assert (cells_in(figure) - A)[M].abs().max() < 6e-4
    chosen = cells_in(figure)
    figure.locator("svg[role=slider]").press("ArrowRight")
    moved = cells_in(figure)
    assert moved[1, 0] > chosen[1, 0] and torch.linalg.det(moved).abs() < 0.02
    between = put(figure, seed=2.5)
    assert between.startswith("This start leads to ") and "at=" not in address_of(page)
    assert (cells_in(figure) - A)[M].abs().max() < 0.005


def test_a_link_leads_to_a_state_the_address_follows_and_entries_can_be_typed(open_page):
    page, [figure] = open_page("3.1", "#3.1?seed=7&lr=0.02&a00=2")
    typed = A.clone()
    typed[0, 0] = 2
    assert (cells_in(figure) - complete(typed, M, 7, lr=0.02)).abs().max() < 6e-4
    figure.locator("summary").click()
    put(figure, seed=8, a00=f"{A[0, 0]:.4f}")
    figure.locator("[name=seed]").press("ArrowRight")
    page.wait_for_function("location.hash.startsWith('#3.1?') && !location.hash.includes('a00')")
    assert "seed=8.02" in address_of(page)
    assert put(figure, a22="") == "Stopped: one of the nine fields holds no number."
    figure.locator("button[type=reset]").click()
    page.wait_for_function("location.hash == ''")
    page.evaluate("location.hash = '#3.1?seed=9'")
    page.wait_for_function("document.querySelector('[name=seed]').value == 9")
    assert (cells_in(figure) - complete(A, M, 9)).abs().max() < 6e-4


# ------------------------------------------------------------------ on real ratings
def test_three_starts_predict_what_the_notebook_prints(open_page):
    page, [figure] = open_page("4.1", "#4.1?epoch=1000")
    [printed] = re.findall(r"predictions: ([\d., ]+)\n", page.content())
    assert f"Epoch 1,000: the three starts predict {printed} stars." in status_of(figure)
    page.get_by_role("link", name="fifty times").click()
    put(figure, seed=1)
    drag(page, figure, [(0.5, 0.5), (0.99, 0.5)])
    *stars, apart = page.get_by_role("row", name="rate 0.0005").inner_text().split()[-4:]
    assert f"predict {', '.join(stars)} stars. They are {apart} apart" in status_of(figure)


@pytest.fixture(scope="module")
def lesson():
    """The names of section 5.1's function `learn`, and of what it needs."""
    names = {}
    for cell in leading_to("def learn(", cells_of(of_section("5.1"))):
        exec(cell.source, names)
    return names


TRAIN_IN_PAGE = f"""(figure, [rank, weight_decay, lr, num_epochs, seed]) => {{
  {BITS}
  const data = JSON.parse(figure.querySelector("script").textContent);
  const parts = mf.residuals(mf.unpackRatings(data.ratings, data.shape), data.damping);
  const init = mf.smallStart(data.shape, rank, seed);
  const run = mf.sgd({{ entries: parts.fitting, rank, num_epochs, lr, weight_decay, init }});
  return [run.U, run.V].map(rows => rows.map(bits));
}}"""


def describe_training(lesson, rank, decay, lr, seed):
    """What the figure of section 5.1 should say of a run of 100 epochs."""
    lesson["seed"] = seed
    fitting, validation = lesson["learn"](rank, decay, lr, 100, patience=100).iloc[-1]
    early = lesson["learn"](rank, decay, lr, 100)["validation"]
    parts = f"{fitting:.4f} on the fitting part, {validation:.4f} on the validation part"
    low = f"lowest validation error {early.min():.4f} at epoch {early.idxmin()}"
    mark = f"epoch {len(early)}, {low}" if len(early) < 100 else "not yet"
    return f"Epoch 100: RMSE {parts}. Early stopping: {mark}."


def test_training_has_the_bits_of_the_notebook(open_page, lesson):
    page, [figure] = open_page("5.1")
    rank, decay, lr, num_epochs, seed = settings = 9, 0.1, 0.02, 2, 1
    lesson["seed"] = seed
    parts = lesson["A"], lesson["fit"], lesson["base"]
    factors = lesson["factors"](*parts, rank, decay, lr, num_epochs)
    assert figure.evaluate(TRAIN_IN_PAGE, settings) == [bits(X) for X in factors]
    assert put(figure, rank=rank, seed=seed) == "Not trained yet: press Train."
    train = figure.locator(".play", has_text="Train")
    train.click()
    train.wait_for(state="detached")
    train.wait_for()
    assert status_of(figure) == describe_training(lesson, rank, decay, lr, seed)
    page.emulate_media(reduced_motion="reduce")
    put(figure, rank=10, seed=0)
    assert "Wrong: the two errors begin at 0." in guess(figure, "both fall")
    said = describe_training(lesson, 10, 0.5, lr, 0)
    assert status_of(figure).endswith(said.split(" Early")[0])


# ------------------------------------------------------------------ in JupyterLab
@pytest.fixture
def lab(tmp_path):
    """The address of a notebook in JupyterLab: 1.1's figure as stored, and the cells it needs."""
    notebook = nbformat.read(of_section("1.1"), as_version=4)
    notebook.cells = leading_to("live(", cells_of(of_section("1.1")))
    nbformat.write(notebook, tmp_path / "figure.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    env = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    server = subprocess.Popen(command, env=env)
    yield f"http://127.0.0.1:{port}/lab/tree/figure.ipynb?reset"
    server.terminate()
    server.wait(30)


def test_in_jupyterlab_a_figure_stands_still_until_its_cell_has_run(browser, lab):
    from playwright.sync_api import Error

    page = browser.new_page(
        viewport={"width": 1200, "height": 8000}
    )  # cells out of sight are not drawn
    page.set_default_timeout(100_000)  # milliseconds, for a slow machine
    while True:
        try:
            page.goto(lab)
            break
        except Error:  # the server is not up yet; the test's own timeout ends this
            time.sleep(0.5)
    session = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session"
    page.wait_for_function(f"{session}?.kernel?.status == 'idle'")
    page.locator("img.still").first.wait_for()  # JupyterLab does not trust this notebook
    figure = page.locator("figure")
    assert not figure.locator("button").first.is_visible()
    page.evaluate("jupyterapp.commands.execute('runmenu:run-all')")
    figure.locator("form").wait_for()
    before = page.url
    figure.locator("[name=seed]").press("ArrowRight")
    factors = factorise(epochs=250, seed=1)
    assert f"Epoch 250: loss {loss_of(factors)}." in status_of(figure) and page.url == before
