"""The live figures: the page has the bits of mf_core, and moves as a reader moves the controls."""

import base64
import json
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
FIGURES = {"index": 1, "1.1": 1, "1.2": 1, "2.1": 2, "3.1": 2, "5.1": 1}  # by page


@pytest.fixture
def open_page(browser, build):
    """A function that opens a page of the report and gives its live figures; no script may fail."""
    problems = []

    def open_page(name, state="", **options):
        page = browser.new_context(**options).new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        [path] = (build / "html").glob(f"{name}*.html")
        page.goto(path.as_uri() + state)
        return page, page.locator("figure.live").all()

    yield open_page
    for context in browser.contexts:
        context.close()
    assert problems == []


def status_of(figure):
    return figure.locator(".status").text_content()


def put(figure, **settings):
    """The status with these settings; a slider in powers of ten gets the power."""
    for name, x in settings.items():
        figure.locator(f"[name='{name}']").fill(str(x))
    return status_of(figure)


def guess(figure, choice):
    """The status when the guess is judged."""
    figure.get_by_role("button", name=choice, exact=True).press("Enter")
    figure.locator(".status", has_text=f"You guessed “{choice}”, and that is").wait_for()
    return status_of(figure)


def reset(figure, status):
    figure.locator("button[type=reset]").click()
    figure.locator(".status", has_text=status).wait_for()


def points_of(figure):
    """The coordinates of each line that moves, in the drawings or in the still images of them."""
    paths = figure.locator("[data-name]").evaluate_all("all => all.map(e => e.getAttribute('d'))")
    for still in figure.locator(".still").all():
        svg = base64.b64decode(still.get_attribute("src").split(",")[1]).decode()
        paths += re.findall(r'data-name="[^>]* d="([^"]*)"', svg)
    return [[float(x) for x in re.findall(r"-?\d+\.\d", path)] for path in paths]


def matrix_of(figure, cells):
    numbers = [float(text) for text in figure.locator(cells).all_text_contents()]
    return torch.tensor(numbers).view(3, 3)


@pytest.mark.parametrize("name", FIGURES)
def test_on_paper_is_what_python_drew_and_on_screen_no_answer_before_a_guess(open_page, name):
    _, still = open_page(name, java_script_enabled=False)
    page, live = open_page(name)
    assert len(still) == len(live) == FIGURES[name]
    if name not in ("2.1", "5.1"):
        label = live[0].locator(".drawing").get_attribute("aria-label")
        assert status_of(live[0]) == "Guess first." and label.endswith(status_of(live[0]))
        hidden = live[0].locator("figcaption, [data-name=ends], [data-name=share], [id$=finding]")
        assert not any(part.is_visible() for part in hidden.all())
    page.emulate_media(media="print")
    page.wait_for_function("!document.body.textContent.includes('Guess first.')")
    for before, after in zip(still, live, strict=True):
        for selector in (".status", "td.product", "td.error"):
            texts = before.locator(selector).all_text_contents()
            assert after.locator(selector).all_text_contents() == texts
        for figure in (before, after):
            assert figure.locator("figcaption").is_visible()
            assert not figure.locator("form").is_visible()
        lines = list(zip(points_of(before), points_of(after), strict=True))
        same = [(drawn, redrawn) for drawn, redrawn in lines if len(drawn) == len(redrawn)]
        assert same  # the others have more points in the page, or hardly fewer
        assert all(len(redrawn) >= 0.9 * len(drawn) for drawn, redrawn in lines)
        for drawn, redrawn in same:
            assert drawn == pytest.approx(redrawn, abs=0.11)


def factorise(rank=2, epochs=1000, lr=0.01, seed=0):
    return mf_core.sgd_factorize(A, rank, epochs, lr, generator=seeded(seed))


def loss_of(factors):
    return f"{mf_core.reconstruction_loss(A, *factors):.4f}"


def test_learning(open_page):
    _, [figure] = open_page("1.1", reduced_motion="reduce")
    slow, fast = (loss_of(factorise(epochs=3000, lr=lr)) for lr in (0.005, 0.05))
    verdict = f"wrong: the loss ends at {slow} with lr = 0.005 and at {fast} with lr = 0.05. "
    assert verdict in guess(figure, "five times the rate, 0.05")
    shown = f"Loss {loss_of(factorise(3, 1001, seed=1))} after 1,001 epochs; the floor at rank 3"
    assert put(figure, epochs=1001, rank=3, lr=-2, seed=1) == f"{shown} is 0.0000."
    with pytest.raises(FloatingPointError) as error:
        factorise(3, 1001, 1.0, 1)
    assert put(figure, lr=0) == f"Stopped: {error.value}."


def test_a_thousand_seeds_give_pytorchs_share(open_page):
    _, [figure] = open_page("1.2")
    losses = [loss_of(factorise(epochs=3000, seed=seed)) for seed in range(1000)]
    hits = losses.count("0.1223")
    assert f"wrong: {hits} of 1,000 seeds print 0.1223." in guess(figure, "more seeds")
    assert f" {hits} print 0.1223" in figure.locator(".counted").text_content()
    U, V = factorise(epochs=500, seed=999)
    shown = f"Seed 999 after 500 epochs: loss {loss_of((U, V))}; the floor is 0.1219."
    assert put(figure, epochs=500, seed=999) == shown
    colors = figure.locator("td.error").evaluate_all("all => all.map(e => e.style.background)")
    above = [color.startswith("rgba(0, 114, 178") for color in colors]  # blue, and orange below 0
    assert above == (A - U @ V.T > 0).flatten().tolist()
    assert (matrix_of(figure, "td.error") - (A - U @ V.T)).abs().max() < 6e-5


def test_a_matrix_of_rank_2_stays_above_the_floor(open_page):
    _, [figure, _] = open_page("2.1")
    floor = torch.linalg.svdvals(A.double())[2] ** 2
    settings = {"turn": 0, "tilt": 0, "first": 0.8, "second": 0.8}
    losses = []
    for name, x in [("turn", 35), ("tilt", -53.5), ("first", 1), ("second", 1), ("tilt", 10)]:
        settings[name] = x
        turn, tilt = np.radians([settings["turn"], settings["tilt"]])
        w = torch.tensor([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
        level = torch.tensor([-np.sin(turn), np.cos(turn), 0])
        V = torch.stack([level, torch.linalg.cross(w, level)], 1)
        U = A.double() @ V * torch.tensor([settings["first"], settings["second"]])
        losses.append(mf_core.reconstruction_loss(A.double(), U, V))
        above = f"Loss {losses[-1]:.4f}, {losses[-1] - floor:.4f} above the floor 0.1219; best"
        length = f"A makes w {(A.double() @ w).norm():.4f} long."
        assert put(figure, **{name: x}) == f"{above} so far {min(losses):.4f}. {length}"
        assert (matrix_of(figure, "td.product") - U @ V.T).abs().max() < 6e-5
    assert 0 < min(losses) - floor < 0.001


def test_the_photograph_is_the_truncated_svd(open_page):
    _, [_, figure] = open_page("2.1")
    photo = plt.imread(get_sample_data("grace_hopper.jpg", asfileobj=False))
    G = torch.tensor(photo[::4, ::4]).float().mean(2) / 255
    data = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data]"
    for rank in (1, 2, 128):
        U, S, Vh = mf_core.truncated_svd(G, rank)
        loss = mf_core.reconstruction_loss(G, U * S, Vh.T)
        words = f"loss {loss:.2f}, {rank * (sum(G.shape) + 1) / G.numel():.0%} of the numbers."
        assert put(figure, rank=rank) == f"Rank {rank}: {words}"
        pixels = torch.tensor(figure.locator("canvas").evaluate(data)[::4]).view(G.shape)
        assert (pixels - 255 * ((U * S) @ Vh).clamp(0, 1)).abs().max() < 0.6


def describe_completion(A, M, seed=0, epochs=1000, lr=0.01, is_exercise=True):
    """What the figures of section 3.1 should say, and the product."""
    U, V = mf_core.sgd_factorize_masked(A, M, 2, epochs, lr, generator=seeded(seed))
    X = U.double() @ V.double().T
    observed = mf_core.reconstruction_loss(A, U, V, M)
    hidden = mf_core.reconstruction_loss(A, U, V, ~M)
    pair = f"x = {X[1, 0]:.4f}, y = {X[2, 1]:.4f}; " if is_exercise else ""
    errors = f"{observed:.4f} on the observed entries, {hidden:.4f} on the hidden ones."
    return f"Seed {seed} after {epochs:,} epochs: {pair}squared error {errors}", X


def test_a_guess_is_judged_by_the_run_of_its_seed(open_page):
    _, [figure, _] = open_page("3.1", reduced_motion="reduce")
    marks = torch.tensor(json.loads(figure.locator("script").text_content())["marks"])
    nearest = set()
    for seed in range(8):
        assert put(figure, seed=seed) == "Guess first."
        status, X = describe_completion(A, M, seed)
        mark = "ABC"[(marks - X[[1, 2], [0, 1]]).norm(dim=1).argmin()]
        rightly = "right" if mark == "B" else "wrong"
        verdict = f"You guessed “B”, and that is {rightly}: the run ended nearest to {mark}. "
        assert guess(figure, "B") == verdict + status
        assert figure.locator("figcaption").is_visible()
        nearest.add(mark)
    assert nearest == set("ABC")
    reset(figure, "Guess first.")


def test_a_link_leads_to_a_state_the_address_follows_and_entries_can_be_changed(open_page):
    page, [ends, fields] = open_page("3.1", "#seed=7&epochs=1000&2.lr=0.1&2.m10=1&2.a00=2")
    typed, seen = A.clone(), M.clone()
    typed[0, 0] = 2
    seen[1, 0] = True
    assert status_of(ends) == describe_completion(A, M, seed=7)[0]
    assert status_of(fields) == describe_completion(typed, seen, lr=0.1, is_exercise=False)[0]
    put(ends, seed=8)
    assert "seed=8&" in page.url and "2.a00=2" in page.url
    reset(fields, describe_completion(A, M)[0])
    page.wait_for_function("location.hash == '#seed=8&epochs=1000'")
    page.evaluate("location.hash = '#seed=9'")
    ends.locator(".status", has_text="Seed 9 ").wait_for()
    fields.locator("td").nth(4).locator("label").click()
    status, X = describe_completion(typed, seen, is_exercise=False)
    assert put(fields, a00=2) == status
    assert (matrix_of(fields, ".completed") - X).abs().max() < 6e-5
    assert put(fields, a22="") == "Stopped: one of the nine fields holds no number."


def test_play_lets_the_epochs_go_by_and_can_be_paused(open_page):
    page, [figure] = open_page("index")
    play = figure.locator(".play")
    epochs = figure.locator("[name=epochs]")
    play.click()
    page.wait_for_function("e => e.value > 20", arg=epochs.element_handle())
    play.click()
    passed = int(epochs.input_value())
    assert 20 < passed < 1000
    assert status_of(figure) == describe_completion(A, M, epochs=passed)[0]
    play.click()
    figure.locator(".play", has_text="Play").wait_for()
    assert status_of(figure) == describe_completion(A, M)[0]


# ------------------------------------------------------------------ on real ratings
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
  const parts = mf.residuals(mf.unpack(data.ratings, data.shape), data.damping);
  const init = mf.smallStart(data.shape, rank, seed);
  const run = mf.sgd({{ entries: parts.fitting, rank, num_epochs, lr, weight_decay, init }});
  return [run.U, run.V].map(rows => rows.map(bits));
}}"""


def describe_training(lesson, rank, decay, step, seed):
    """What the figure of section 5.1 should say of a run of 100 epochs."""
    lesson["seed"] = seed
    fitting, validation = lesson["learn"](rank, decay, step, 100, patience=100).iloc[-1]
    early = lesson["learn"](rank, decay, step, 100)["validation"]
    parts = f"{fitting:.4f} on the fitting part, {validation:.4f} on the validation part"
    low = f"lowest validation error {early.min():.4f} at epoch {early.idxmin()}"
    mark = f"epoch {len(early)}, {low}" if len(early) < 100 else "not yet"
    return f"Epoch 100: RMSE {parts}. Early stopping: {mark}."


def test_training_has_the_bits_of_the_notebook(open_page, lesson):
    page, [figure] = open_page("5.1")
    rank, decay, step, num_epochs, seed = settings = 9, 0.1, 0.02, 2, 1
    lesson["seed"] = seed
    parts = lesson["A"], lesson["fit"], lesson["base"]
    factors = lesson["factors"](*parts, rank, decay, step, num_epochs)
    assert figure.evaluate(TRAIN_IN_PAGE, settings) == [bits(X) for X in factors]
    assert put(figure, rank=rank, seed=seed) == "Not trained yet: press Train."
    train = figure.locator(".play", has_text="Train")
    train.click()
    train.wait_for(state="detached")
    train.wait_for()
    assert status_of(figure) == describe_training(lesson, rank, decay, step, seed)
    page.emulate_media(reduced_motion="reduce")
    put(figure, rank=10, seed=0)
    verdict, run = guess(figure, "both fall").split("0.866. ")
    assert "wrong" in verdict and run == describe_training(lesson, 10, 0.5, step, 0)


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
    figure.locator("[name=epochs]").press("ArrowRight")
    assert "after 1 epoch;" in status_of(figure) and page.url == before
