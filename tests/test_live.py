"""The live figures: the page has the bits of mf_core, and moves as a reader moves the controls."""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from conftest import FUZZ, ROOT
from matplotlib.cbook import get_sample_data

import mf_core
from mf_data import load_coursework_matrix

sys.path.append(str(ROOT / "notebooks"))
import figures

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALGORITHM = (ROOT / "live/algorithm.js").read_text(encoding="utf-8")
A, M = load_coursework_matrix()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------ the algorithm, bit for bit
def draw_case(rng):
    """What to factorise, and how: A with its missing entries None, M or None, the settings.

    In some cases the entries stand in lists as well, for the page; in some a start is given.
    """
    rows = range(rng.randint(1, 6))
    columns = range(rng.randint(1, 6))
    share = rng.choice([0.7, 1])
    M = [[rng.random() < share for _ in columns] for _ in rows]
    M[0][0] = True
    largest = rng.choice([5, 5, 5, 5e4])
    A = [[rng.uniform(-1, largest) if M[i][j] else None for j in columns] for i in rows]
    settings = {"rank": rng.randint(1, 8), "num_epochs": round(10 ** rng.uniform(0, 3))}
    settings |= {"lr": 10 ** rng.uniform(-4, 0.3), "seed": rng.randrange(2**32)}
    settings["weight_decay"] = rng.choice([0, 10 ** rng.uniform(-3, 0)])
    if rng.random() < 0.3:
        numbers = (len(rows) + len(columns)) * settings["rank"]
        settings["init"] = [rng.uniform(-1, 1) for _ in range(numbers)]
    if rng.random() < 0.3:
        seen = np.argwhere(M).T
        settings["entries"] = {"rows": seen[0].tolist(), "cols": seen[1].tolist()}
        settings["entries"]["values"] = [A[i][j] for i, j in seen.T]
        settings["entries"]["shape"] = [len(rows), len(columns)]
    return {"A": A, "M": M if share < 1 else None} | settings


def bits(X):
    return np.asarray(X, np.float32).view(np.uint32).tolist()


def run_in_python(case):
    """mf_core's factors and loss, or its message, in the form of RUN_IN_PAGE."""
    A = torch.tensor(np.array(case["A"], np.float32))
    M = torch.ones(A.shape) if case["M"] is None else torch.tensor(case["M"])
    settings = {name: case[name] for name in ("rank", "num_epochs", "lr", "weight_decay")}
    settings["generator"] = seeded(case["seed"])
    if "init" in case:
        start = torch.tensor(np.array(case["init"], np.float32)).view(-1, case["rank"])
        settings |= {"init": start.split(A.shape), "generator": None}
    try:
        U, V = mf_core.sgd_factorize_masked(A, M, **settings)
    except FloatingPointError as error:
        return {"message": str(error)}
    try:
        loss = mf_core.reconstruction_loss(A, U, V, M)
    except FloatingPointError:  # the factors are finite, but not their loss in float32
        loss = np.inf
    return {"U": bits(U), "V": bits(V), "loss": bits(loss)}


RUN_IN_PAGE = """cases => {
  const bits = numbers => [...new Uint32Array(Float32Array.from(numbers).buffer)];
  return cases.map(({ init, ...settings }) => {
    const start = init && Float32Array.from(init);
    try {
      const { U, V, loss } = mf.sgd({ init: start, ...settings });
      if (String(start) !== String(init && Float32Array.from(init))) return "init has changed";
      return { U: U.map(bits), V: V.map(bits), loss: bits([loss])[0] };
    } catch (error) {
      return { message: error.message };
    }
  });
}"""


def run_script(browser, expression, argument, script=ALGORITHM):
    page = browser.new_page()
    page.add_script_tag(content=script)
    result = page.evaluate(expression, argument)
    page.close()
    return result


@pytest.fixture(scope="module")
def cases():
    """Random cases, and what mf_core computes."""
    rng = random.Random(0)
    cases = [draw_case(rng) for _ in range(600 * FUZZ)]
    return cases, [run_in_python(case) for case in cases]


def test_the_page_has_the_bits_of_mf_core_and_its_messages(browser, cases):
    settings, expected = cases
    assert 0.1 < np.mean(["message" in result for result in expected]) < 0.6
    assert run_script(browser, RUN_IN_PAGE, settings) == expected


def test_the_page_draws_the_numbers_of_torch(browser):
    seeds = [0, 7, 2**32 - 1]
    drawn = run_script(browser, "seeds => seeds.map(seed => [...mf.rand(seed, 2000)])", seeds)
    assert drawn == [torch.rand(2000, generator=seeded(seed)).tolist() for seed in seeds]


MISTAKES = {
    "a product is not rounded": ("fround(u[k] * v[k])", "u[k] * v[k]"),
    "the error is not rounded": ("fround(a - dot)", "a - dot"),
    "weight decay is not rounded": ("fround(weight_decay)", "weight_decay"),
    "V does not decay": ("fround(decay * v[k])", "0"),
    "a given start is changed": ("init.slice()", "init"),
    "V's update takes the old U": ("fround(step * u[k])", "fround(step * (u[k] - step * v[k]))"),
    "the start of V is that of U": ("row(m + j)", "row(j)"),
    "the mask is ignored": ("M && !M[i][j]", "false"),
    "the loss is summed in float32": ("total += error * error", "total = fround(total + error**2)"),
    "a divergence is named an epoch late": ("${epoch} of", "${epoch + 1} of"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_script_is_noticed(mistake, browser, cases):
    right, wrong = MISTAKES[mistake]
    assert ALGORITHM.count(right) == 1
    settings, expected = (column[:100] for column in cases)
    assert run_script(browser, RUN_IN_PAGE, settings, ALGORITHM.replace(right, wrong)) != expected


# ------------------------------------------------------------------ what a notebook stores
def show_figure(monkeypatch, opened_by=None):
    """The output of a cell that shows a figure, whose description looks like HTML."""
    outputs = []
    with monkeypatch.context() as patch:
        patch.setattr(figures, "display", lambda data, raw: outputs.append(data["text/html"]))
        for name in figures.OPENED_BY_A_READER:
            patch.delenv(name, raising=False)
        if opened_by:
            patch.setenv(opened_by, "lesson.ipynb")
        fig, ax = plt.subplots()
        lines = {name: ax.plot([], [])[0] for name in ("curve", "floor", "U", "V")}
        limits = {"lr": (0.01, 0, 1), "rank": (2, 1, 3), "epochs": (9, 0, 9), "seed": (0, 0, 9)}
        controls = [figures.slider(name, *values) for name, values in limits.items()]
        words = {"alt": "</script><b>", "status": "<i>", "caption": ""}
        data = {"play": "epochs", "A": A.tolist(), "floors": [1.0, 0.1, 0.0]}
        figures.live("learning", [fig], lines, controls, **words, **data)
    return outputs[0]


@pytest.mark.parametrize("name", figures.OPENED_BY_A_READER)
def test_only_a_notebook_that_a_reader_has_opened_gets_script_and_style(monkeypatch, name):
    stored = show_figure(monkeypatch)
    assert re.findall("<(script|style)(.*?)>", stored) == [("script", ' type="application/json"')]
    opened = show_figure(monkeypatch, opened_by=name)
    assert opened.startswith(stored)
    for file in figures.LIVE_FILES:
        assert (ROOT / "live" / file).read_text(encoding="utf-8") in opened


def test_a_description_is_shown_as_text(browser, monkeypatch):
    page = browser.new_page()
    page.set_content(show_figure(monkeypatch))
    assert page.text_content(".status") == "<i>"
    page.set_content(show_figure(monkeypatch, opened_by="JPY_SESSION_NAME"))
    label = page.get_attribute(".drawing", "aria-label")
    assert label == f"</script><b> {page.text_content('.status')}" and "Loss" in label
    page.close()


# ------------------------------------------------------------------ in the report
FIGURES = {"index": 1, "1.1": 1, "1.2": 1, "2.1": 2, "3.1": 2, "5.1": 1}  # by page
ASK_FIRST = {"index", "1.1", "1.2", "3.1"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of the report's pages."""
    folder = tmp_path_factory.mktemp("report")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-c", "report"]
    for command in (["make", "source", f"BUILD={folder}"], [*sphinx, folder / "source", folder]):
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.fixture
def open_page(browser, pages):
    """A function that opens a page of the report and gives its live figures; no script may fail."""
    problems = []

    def open_page(name, state="", **options):
        page = browser.new_context(**options).new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        [path] = pages.glob(f"{name}*.html")
        page.goto(path.as_uri() + state)
        return page, page.locator("figure.live").all()

    yield open_page
    for context in browser.contexts:
        context.close()
    assert problems == []


def status_of(figure):
    return figure.locator(".status").text_content()


def press(figure, name, key):
    """The status after a key is pressed on a control."""
    figure.locator(f"[name='{name}']").press(key)
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
    """The coordinates of each line that moves."""
    paths = figure.locator("[data-name]").evaluate_all("all => all.map(e => e.getAttribute('d'))")
    return [[float(x) for x in re.findall(r"-?\d+\.\d", path)] for path in paths]


def numbers_of(figure, cells):
    return [float(text) for text in figure.locator(cells).all_text_contents()]


@pytest.mark.parametrize("name", FIGURES)
def test_on_paper_is_what_python_drew_and_on_screen_no_answer_before_a_guess(open_page, name):
    _, still = open_page(name, java_script_enabled=False)
    page, live = open_page(name)
    assert len(still) == len(live) == FIGURES[name]
    if name in ASK_FIRST:
        assert status_of(live[0]) == "Guess first."
        assert "Guess first." in live[0].locator(".drawing").get_attribute("aria-label")
        for answer in ("figcaption", "[data-name=ends]", "[data-name=share]", "[id$=finding]"):
            assert not any(part.is_visible() for part in live[0].locator(answer).all())
    page.emulate_media(media="print")
    page.wait_for_function("!document.body.textContent.includes('Guess first.')")
    for before, after in zip(still, live, strict=True):
        assert after.locator("figcaption").is_visible()
        assert not after.locator("form").is_visible() and not before.locator("form").is_visible()
        for selector in (".status", "td.product", "td.error"):
            texts = before.locator(selector).all_text_contents()
            assert after.locator(selector).all_text_contents() == texts
        label = after.locator(".drawing").get_attribute("aria-label")
        assert label == before.locator(".drawing").get_attribute("aria-label")
        lines = zip(points_of(before), points_of(after), strict=True)
        same = [(drawn, redrawn) for drawn, redrawn in lines if len(drawn) == len(redrawn)]
        assert same  # the others have more points in the page
        for drawn, redrawn in same:
            assert drawn == pytest.approx(redrawn, abs=0.11)


def test_learning_is_guessed_and_moves_by_keyboard(open_page):
    _, [figure] = open_page("1.1", reduced_motion="reduce")

    def loss(rank, epochs, lr, seed):
        U, V = mf_core.sgd_factorize(A, rank, epochs, lr, generator=seeded(seed))
        return f"{mf_core.reconstruction_loss(A, U, V):.4f}"

    slow, fast = (loss(2, 3000, lr, 0) for lr in (0.005, 0.05))
    ends = f"wrong: the loss ends at {slow} with lr = 0.005 and at {fast} with lr = 0.05. "
    assert f"{ends}Loss {fast} after 3,000 epochs" in guess(figure, "five times as much")
    reset(figure, "Guess first.")
    for name in ("rank", "seed", "epochs"):
        status = press(figure, name, "ArrowRight")
    shown = f"Loss {loss(3, 1, 0.01, 1)} after 1 epoch; the floor at rank 3 is 0.0000."
    assert status == shown and figure.locator("figcaption").is_visible()
    press(figure, "epochs", "End")
    with pytest.raises(FloatingPointError) as error:
        loss(3, 3000, 1.0, 1)
    assert press(figure, "lr", "End") == f"Stopped: {error.value}."
    assert figure.locator("[data-name=U]").get_attribute("d") == ""
    press(figure, "lr", "Home")
    assert figure.locator("[name=lr]").evaluate("e => e.ariaValueText") == "0.0001"


def test_a_thousand_seeds_give_the_notebooks_share(open_page):
    _, [figure] = open_page("1.2")
    stored = figure.locator(".counted").text_content()
    hits = re.search(r"\d+(?= print)", stored)[0]
    assert f"wrong: {hits} of 1,000 seeds print 0.1223." in guess(figure, "over 10%")
    assert figure.locator(".counted").text_content() == stored
    U, V = mf_core.sgd_factorize(A, 2, generator=seeded(999))
    loss = f"loss {mf_core.reconstruction_loss(A, U, V):.4f}; the floor is 0.1219."
    assert press(figure, "seed", "End") == f"Seed 999 after 1,000 epochs: {loss}"
    assert numbers_of(figure, "td.error") == pytest.approx((A - U @ V.T).ravel(), abs=6e-5)
    press(figure, "epochs", "Home")
    figure.locator(".run").click()
    figure.locator(".counted", has_text="1,000 seeds, 0 epochs each: 0 print").wait_for()


def test_no_slider_brings_a_matrix_of_rank_2_below_the_floor(open_page):
    _, [figure, _] = open_page("2.1")
    floor = torch.linalg.svdvals(A.double())[2] ** 2
    settings = {"turn": 0, "tilt": 0, "first": 0.8, "second": 0.8}
    best = np.inf
    for name, value in (("turn", 35), ("tilt", -53.5), ("first", 1), ("second", 1), ("turn", -10)):
        figure.locator(f"[name={name}]").fill(str(value))
        settings[name] = value
        turn, tilt = np.radians([settings["turn"], settings["tilt"]])
        w = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
        level = np.array([-np.sin(turn), np.cos(turn), 0])
        factors = settings["first"], settings["second"]
        V = torch.tensor(np.stack([level, np.cross(w, level)])).T
        U = A.double() @ V * torch.tensor(factors)
        loss = mf_core.reconstruction_loss(A.double(), U, V)
        best = min(best, loss, 1e9 if name != "turn" else loss)
        above = f"Loss {loss:.4f}, {loss - floor:.4f} above the floor 0.1219"
        length = np.linalg.norm(A.double().numpy() @ w)
        assert status_of(figure).startswith(above)
        assert status_of(figure).endswith(f"{best:.4f}. A makes w {length:.4f} long.")
        assert numbers_of(figure, "td.product") == pytest.approx((U @ V.T).ravel(), abs=6e-5)
        assert loss > floor
    assert best - floor < 0.001
    reset(figure, "best so far 20.2565")


def test_the_photograph_is_the_truncated_svd_and_a_second_script_starts_nothing_twice(open_page):
    page, [_, figure] = open_page("2.1")
    page.add_script_tag(path=ROOT / "live/figures.js")
    photo = plt.imread(get_sample_data("grace_hopper.jpg", asfileobj=False))
    G = torch.tensor(photo[::4, ::4]).float().mean(2) / 255
    data = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data]"
    for key, rank in (("Home", 1), ("ArrowRight", 2), ("End", 128)):
        U, S, Vh = mf_core.truncated_svd(G, rank)
        loss = mf_core.reconstruction_loss(G, U * S, Vh.T)
        share = rank * (sum(G.shape) + 1) / G.numel()
        status = f"Rank {rank}: loss {loss:.2f}, {share:.0%} of the numbers."
        assert press(figure, "rank", key) == status
        pixels = torch.tensor(figure.locator("canvas").evaluate(data)[::4]).view(G.shape)
        assert (pixels - 255 * ((U * S) @ Vh).clamp(0, 1)).abs().max() < 0.6


def describe_completion(A, M, seed=0, epochs=1000, lr=0.01, is_exercise=True):
    """What the figures of section 3.1 should say, computed by mf_core."""
    U, V = mf_core.sgd_factorize_masked(A, M, 2, epochs, lr, generator=seeded(seed))
    X = U.double() @ V.double().T
    observed = mf_core.reconstruction_loss(A, U, V, M)
    hidden = mf_core.reconstruction_loss(A, U, V, ~M)
    pair = f"x = {X[1, 0]:.4f}, y = {X[2, 1]:.4f}; " if is_exercise else ""
    errors = f"{observed:.4f} on the observed entries, {hidden:.4f} on the hidden ones."
    return f"Seed {seed} after {epochs:,} epochs: {pair}squared error {errors}"


def test_a_guess_is_judged_by_the_run_of_its_seed(open_page):
    page, [figure, _] = open_page("3.1", reduced_motion="reduce")
    data = json.loads(figure.locator("script").text_content())
    nearest = set()
    for seed in range(8):
        assert page.evaluate("location.hash") in ("", f"#seed={seed}", f"#seed={seed}&epochs=1000")
        U, V = mf_core.sgd_factorize_masked(A, M, 2, generator=seeded(seed))
        end = (U @ V.T)[[1, 2], [0, 1]]
        mark = "ABC"[(torch.tensor(data["marks"]) - end).norm(dim=1).argmin()]
        rightly = "right" if mark == "B" else "wrong"
        verdict = f"You guessed “B”, and that is {rightly}: the run ended nearest to {mark}. "
        assert guess(figure, "B") == verdict + describe_completion(A, M, seed)
        assert figure.locator("figcaption").is_visible()
        nearest.add(mark)
        assert press(figure, "seed", "ArrowRight") == "Guess first."
    assert nearest == set("ABC")


def test_an_entry_can_be_hidden_shown_and_typed_anew(open_page):
    _, [_, fields] = open_page("3.1")
    seen = M.clone()
    seen[1, 0] = True
    fields.locator("td").nth(4).locator("label").click()
    assert status_of(fields) == describe_completion(A, seen, is_exercise=False)
    seen[0, 0] = False
    assert press(fields, "m00", "Space") == describe_completion(A, seen, is_exercise=False)
    reset(fields, describe_completion(A, M))
    typed = A.clone()
    typed[2, 2] = 1.1
    fields.locator("[name=a22]").fill("1.1")
    assert status_of(fields) == describe_completion(typed, M)
    U, V = mf_core.sgd_factorize_masked(typed, M, 2, generator=seeded(0))
    assert numbers_of(fields, ".completed") == pytest.approx((U @ V.T).ravel(), abs=1e-4)
    fields.locator("[name=a22]").fill("")
    assert status_of(fields) == "Stopped: one of the nine fields holds no number."


# ------------------------------------------------------------------ on real ratings
@pytest.fixture(scope="module")
def lesson():
    """The names that the cells of section 5.1 define until it makes its choices."""
    names = {}
    [path] = (ROOT / "notebooks").glob("5.1*.ipynb")
    for cell in nbformat.read(path, as_version=4).cells:
        if "tried" in cell.source:
            return names
        if cell.cell_type == "code" and "curves" not in cell.source:
            exec(cell.source, names)


TRAIN_IN_PAGE = """(figure, [rank, num_epochs, lr, weight_decay, seed]) => {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const parts = mf.residuals(mf.unpack(data.ratings, data.shape), data.mu, data.damping);
  const init = mf.smallStart(data.shape, rank, seed);
  const run = mf.sgd({ entries: parts.fitting, rank, num_epochs, lr, weight_decay, init });
  const bits = numbers => [...new Uint32Array(Float32Array.from(numbers).buffer)];
  return {
    parts: Object.values(parts).map(part => [[...part.rows], [...part.cols], bits(part.values)]),
    factors: [run.U, run.V].map(rows => rows.map(bits)),
    errors: Object.values(parts).map(part => mf.rmse(part, run.U, run.V)),
  };
}"""


def test_on_real_ratings_the_page_has_the_notebooks_residuals_and_factors(open_page, lesson):
    _, [figure] = open_page("5.1")
    rank, num_epochs, lr, weight_decay, seed = settings = (12, 2, 0.05, 0.03, 7)
    result = figure.evaluate(TRAIN_IN_PAGE, settings)
    base = lesson["base"]
    residuals = [lesson["stored"](lesson["A"] - base, lesson[part]) for part in ("fit", "valid")]
    lists = [[*R.indices().tolist(), bits(R.values())] for R in residuals]
    assert result["parts"] == lists
    lesson["seed"] = seed
    U, V = lesson["factors"](lesson["A"], lesson["fit"], base, rank, weight_decay, lr, num_epochs)
    assert result["factors"] == [bits(U), bits(V)]
    errors = [lesson["rmse_of"](R, U, V) for R in residuals]
    assert result["errors"] == pytest.approx(errors, abs=1e-6)


def describe_training(lesson, rank, decay, step, seed):
    """What the figure of section 5.1 should say of a run of 100 epochs."""
    lesson["seed"] = seed
    fitting, validation = lesson["learn"](rank, decay, step, 100, patience=100).iloc[-1]
    early = lesson["learn"](rank, decay, step, 100)["validation"]
    parts = f"{fitting:.4f} on the fitting part, {validation:.4f} on the validation part"
    low = f"lowest validation error {early.min():.4f} at epoch {early.idxmin()}"
    mark = f"epoch {len(early)}, {low}" if len(early) < 100 else "not yet"
    return f"Epoch 100: RMSE {parts}. Early stopping: {mark}."


def test_train_lets_the_curves_grow_can_be_paused_and_ends_as_the_notebook(open_page, lesson):
    page, [figure] = open_page("5.1")
    before = points_of(figure)
    press(figure, "rank", "ArrowLeft")
    assert press(figure, "seed", "ArrowRight") == "Not trained yet: press Train."
    train = figure.locator(".play", has_text="Train")
    train.click()
    figure.locator(".status", has_text=re.compile("Epoch [2-9]")).wait_for()
    figure.locator(".play", has_text="Pause").click()
    paused = status_of(figure)
    page.wait_for_timeout(200)
    assert status_of(figure) == paused and "Epoch 100" not in paused
    train.click()
    train.wait_for()
    assert status_of(figure) == describe_training(lesson, 9, 0.1, 0.02, 1)
    [old_fitting, fitting, old_validation, validation, stop] = points_of(figure)
    assert [old_fitting, old_validation] == [before[1], before[3]]
    assert len(fitting) > 100 and fitting != before[1] and validation != before[3]
    assert stop[0] != before[4][0]
    press(figure, "step", "End")
    train.click()
    with pytest.raises(FloatingPointError) as error:
        lesson["learn"](9, 0.1, 0.2, 100)
    assert status_of(figure) == f"Stopped: {error.value}."


def test_without_motion_the_curves_of_a_guess_grow_by_ten_epochs(open_page, lesson):
    page, [figure] = open_page("5.1", reduced_motion="reduce")
    page.evaluate("""() => {
      window.shown = [];
      const status = document.querySelector(".live .status");
      const record = () => shown.push(status.textContent);
      new MutationObserver(record).observe(status, { childList: true });
    }""")
    run = describe_training(lesson, 10, 0.5, 0.02, 0)
    assert re.search(f"wrong: .* end at 0.815 and 0.866. {run}", guess(figure, "both fall"))
    epochs = [re.match(r"Epoch (\d+)", text) for text in page.evaluate("shown")]
    assert [int(match[1]) for match in epochs if match] == list(range(10, 101, 10))


def test_a_link_leads_to_a_state_and_the_address_follows(open_page):
    page, [ends, fields] = open_page("3.1", "#seed=7&epochs=1000&2.lr=0.1&2.m10=1&2.a00=2")
    typed = A.clone()
    typed[0, 0] = 2
    seen = M.clone()
    seen[1, 0] = True
    assert status_of(ends) == describe_completion(A, M, seed=7)
    assert status_of(fields) == describe_completion(typed, seen, lr=0.1, is_exercise=False)
    press(ends, "seed", "ArrowRight")
    assert "seed=8&" in page.url and "2.a00=2" in page.url
    fields.locator("button[type=reset]").click()
    page.wait_for_function("location.hash == '#seed=8&epochs=1000'")
    page.evaluate("location.hash = '#seed=9'")
    ends.locator(".status", has_text="Seed 9 ").wait_for()


def test_play_lets_the_epochs_go_by_and_can_be_paused(open_page):
    page, [figure] = open_page("index")
    play = figure.locator(".play")
    epochs = figure.locator("[name=epochs]")
    play.click()
    page.wait_for_function("e => e.value > 20", arg=epochs.element_handle())
    play.click()
    passed = int(epochs.input_value())
    assert 20 < passed < 1000
    assert status_of(figure) == describe_completion(A, M, epochs=passed)
    play.click()
    figure.locator(".play", has_text="Play").wait_for()
    assert status_of(figure) == describe_completion(A, M)


def test_without_motion_play_goes_step_by_step(open_page):
    _, [figure] = open_page("index", reduced_motion="reduce")
    for epochs in ("0", "100", "200"):
        figure.locator(".play").click()
        assert figure.locator("[name=epochs]").input_value() == epochs
        assert figure.locator(".play").text_content() == "Play"


# ------------------------------------------------------------------ in JupyterLab
@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab on copies of the notebooks, with settings of its own."""
    for folder in ("notebooks", "live"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    settings = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    server = subprocess.Popen(command, env=os.environ | settings)
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api")
            break
        except OSError:
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}/lab/tree/notebooks"
    server.terminate()
    server.wait(30)


def test_a_figure_moves_in_jupyterlab_when_its_cell_has_run(browser, lab):
    page = browser.new_page()
    page.set_default_timeout(180_000)  # milliseconds, for a slow machine
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{lab}/1.1-gradient-factorisation.ipynb?reset")
    session = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session"
    page.wait_for_function(f"{session}?.kernel?.status == 'idle'")
    page.evaluate("jupyterapp.commands.execute('runmenu:run-all')")
    figure = page.locator("figure.live")
    figure.locator("form:not([hidden])").wait_for()
    first = status_of(figure)
    address = page.url
    assert press(figure, "seed", "ArrowRight") != first
    assert page.url == address and problems == []
    page.close()
