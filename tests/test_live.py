"""The page computes what Python computes: live.js beside mf_core, bit for bit; and the report's live figures, played with."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import in_chromium
from matplotlib.cbook import get_sample_data
from test_report import make

import mf_core
from mf_data import load_coursework_matrix

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "notebooks" / "live.js"
pytestmark = in_chromium


def random_case(rng):
    """What to factorise, and how: A with its missing entries None, M (None for all), and the settings."""
    m, n = rng.randint(1, 6), rng.randint(1, 6)
    M = [[rng.random() < 0.7 for _ in range(n)] for _ in range(m)]
    M[rng.randrange(m)][rng.randrange(n)] = True
    M = M if rng.random() < 0.6 else None
    A = [[float(np.float32(rng.uniform(-1, 5))) for _ in range(n)] for _ in range(m)]
    A = [
        [x if M is None or M[i][j] else None for j, x in enumerate(row)] for i, row in enumerate(A)
    ]
    epochs = round(10 ** rng.uniform(0, 3.477))
    settings = {"rank": rng.randint(1, 8), "num_epochs": epochs, "lr": 10 ** rng.uniform(-4, 0.3)}
    return {"A": A, "M": M, "seed": rng.randrange(2**32), **settings}


def bits(X):
    return np.asarray(X, np.float32).view(np.uint32).tolist()


def in_python(case):
    """mf_core's results, in the form of `in_page`."""
    A, generator = torch.tensor(np.array(case["A"], np.float32)), torch.Generator()
    M = torch.ones(A.shape) if case["M"] is None else torch.tensor(case["M"])
    settings = (case["rank"], case["num_epochs"], case["lr"])
    generator.manual_seed(case["seed"])
    try:
        U, V = mf_core.sgd_factorize_masked(A, M, *settings, generator=generator)
    except FloatingPointError as error:
        return {"message": str(error)}
    try:
        loss = mf_core.reconstruction_loss(A, U, V, M)
    except FloatingPointError:  # the factors are finite, but not their loss in float32
        loss = float("inf")
    return {"U": bits(U), "V": bits(V), "loss": bits(loss), "epoch": case["num_epochs"]}


IN_PAGE = """cases => {
  const bits = x => [...new Uint32Array(Float32Array.from(x).buffer)];
  return cases.map(settings => {
    try {
      const { U, V, loss, epoch } = mf.sgd(settings);
      return { U: U.map(bits), V: V.map(bits), loss: bits([loss])[0], epoch };
    } catch (error) {
      return { message: error.message };
    }
  });
}"""


def in_page(browser, cases, script):
    page = browser.new_page()
    page.add_script_tag(content=script)
    results = page.evaluate(IN_PAGE, cases)
    page.close()
    return results


@pytest.fixture(scope="module")
def cases():
    rng = random.Random(0)
    return [random_case(rng) for _ in range(1200)]


@pytest.fixture(scope="module")
def expected(cases):
    return [in_python(case) for case in cases]


@pytest.fixture(scope="module")
def script():
    return SCRIPT.read_text(encoding="utf-8")


def test_the_cases_cover_what_the_page_lets_a_reader_do(cases, expected):
    diverged = sum("message" in result for result in expected)
    assert 100 < diverged < 1000 and {case["rank"] for case in cases} == set(range(1, 9))
    assert 100 < sum(case["M"] is None for case in cases) < 1000
    assert max(case["num_epochs"] for case in cases) > 2900


def test_the_page_has_the_bits_of_mf_core(browser, cases, expected, script):
    assert in_page(browser, cases, script) == expected


def test_the_page_has_the_bits_of_the_simplest_processor(browser, cases, script, tmp_path):
    """numba then compiles for the instructions that all processors of this kind have."""
    program = "import json, sys, test_live as t; print(json.dumps([*map(t.in_python, json.load(sys.stdin))]))"
    simplest = {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(cases), cwd=ROOT / "tests", env=os.environ | simplest, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert in_page(browser, cases, script) == json.loads(run.stdout)


MISTAKES = {
    "a product of the dot product is not rounded": ("f(u[k] * v[k])", "u[k] * v[k]"),
    "a sum of the dot product is not rounded": ("f(dot + f(u[k] * v[k]))", "dot + f(u[k] * v[k])"),
    "the error is not rounded": ("f(A[i][j] - dot)", "A[i][j] - dot"),
    "lr times the error is not rounded": ("f(lr * e)", "lr * e"),
    "lr is not rounded": ("lr = f(lr)", "lr = lr"),
    "U's step is not rounded": ("f(step * v[k])", "step * v[k]"),
    "V's step is not rounded": ("f(step * u[k])", "step * u[k]"),
    "the loss is summed in single precision": ("total += e * e", "total = f(total + e * e)"),
    "V is updated with the old U": (
        "u[k] += f(step * v[k]);", "const old = u[k]; u[k] += f(step * v[k]); v[k] += f(step * old); continue;"
    ),
    "V is drawn before U": ("U = rows(0, m), V = rows(m, n)", "V = rows(0, n), U = rows(n, m)"),
    "the mask is ignored": ("if (M && !M[i][j]) continue;\n          const u", "const u"),
    "a divergence is noticed an epoch late": ("epoch + 1} of", "epoch + 2} of"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_script_is_noticed(mistake, browser, cases, expected, script):
    right, wrong = MISTAKES[mistake]
    assert script.count(right) == 1
    some = [k for k, case in enumerate(cases) if case["num_epochs"] < 300][:300]
    found = in_page(browser, [cases[k] for k in some], script.replace(right, wrong))
    assert found != [expected[k] for k in some]


# ---------------------------------------------------------------------------------------------------------- in the report
A, M = load_coursework_matrix()
LIVE = {"index": 1, "1.1": 1, "1.2": 1, "2.1": 1, "3.1": 2}  # live figures by page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The addresses of the report's pages, opened from disk."""
    folder = tmp_path_factory.mktemp("build")
    make("pages", folder, "CHROMIUM=")
    return {path.stem.split("-")[0]: path.as_uri() for path in (folder / "html").glob("*.html")}


@pytest.fixture
def open_page(browser, report):
    """A function that opens a page of the report and gives its live figures; no script may fail meanwhile."""
    problems, contexts = [], []

    def open_page(name, state="", **options):
        context = browser.new_context(**options)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(report[name] + state)
        contexts.append(context)
        return page, page.locator("figure.live").all()

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def said(figure):
    return figure.locator(".said").text_content()


def slide(figure, name, key):
    figure.locator(f"[name='{name}']").press(key)
    return said(figure)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def completion_said(A, M, seed=0, epochs=1000, lr=0.01, exercise=True):
    """What the figures of section 3.1 should say, computed by mf_core."""
    U, V = mf_core.sgd_factorize_masked(A, M, 2, epochs, lr, generator=seeded(seed))
    X, observed = (U.double() @ V.double().T), mf_core.reconstruction_loss(A, U, V, M)
    pair = f"x = {X[1, 0]:.4f}, y = {X[2, 1]:.4f}; " if exercise else ""
    hidden = mf_core.reconstruction_loss(A, U, V, ~M)
    errors = f"{observed:.4f} on the observed entries, {hidden:.4f} on the hidden ones."
    return f"Seed {seed} after {epochs:,} epochs: {pair}squared error {errors}"


def loss_said(seed, epochs, loss):
    return f"Seed {seed} after {epochs:,} epochs: loss {loss:.4f}; the floor is 0.1219."


@pytest.mark.parametrize("name", LIVE)
def test_python_and_the_page_draw_the_same_first_state(open_page, name):
    _, still = open_page(name, java_script_enabled=False)
    _, live = open_page(name)
    assert len(still) == len(live) == LIVE[name]
    for before, after in zip(still, live, strict=True):
        assert not before.locator("form").is_visible() and after.locator("form").is_visible()
        assert (
            before.locator("svg").first.is_visible() and before.locator("figcaption").is_visible()
        )
        assert len(said(before)) > 30 and said(before) == said(after)
        for part in ("td.product", "td.error", ".counted"):
            texts = [figure.locator(part).all_text_contents() for figure in (before, after)]
            assert texts[0] == texts[1]
        same = 0
        for path in before.locator("[data-name]").all():
            layer = path.get_attribute("data-name")
            drawn = [
                figure.locator(f"[data-name={layer}]").get_attribute("d")
                for figure in (before, after)
            ]
            first, second = (
                [float(x) for x in re.findall(r"-?[\d.]+", d.replace("h.01", ""))] for d in drawn
            )
            if len(first) == len(second) and layer not in ("ends", "floor"):
                assert first == pytest.approx(second, abs=0.11), layer
                same += 1
        assert same >= 1
        label = after.locator(".drawing").get_attribute("aria-label")
        assert label == before.locator(".drawing").get_attribute("aria-label")
        assert said(after) in label


def test_learning_by_keyboard(open_page):
    _, [figure] = open_page("1.1")
    U, V = mf_core.sgd_factorize(A, 3, 1001, generator=seeded(1))
    slide(figure, "rank", "ArrowRight"), slide(figure, "seed", "ArrowRight")
    text = slide(figure, "epochs", "ArrowRight")
    loss = mf_core.reconstruction_loss(A, U, V)
    assert text == f"Loss {loss:.4f} after 1,001 epochs; the floor at rank 3 is 0.0000."
    with pytest.raises(FloatingPointError) as message:
        mf_core.sgd_factorize(A, 3, 1001, 1.0, generator=seeded(1))
    assert slide(figure, "lr", "End") == f"Stopped: {message.value}."
    assert figure.locator("[data-name=U]").get_attribute("d") == ""
    slide(figure, "lr", "Home")
    U, V = mf_core.sgd_factorize(A, 1, 1001, 0.0001, generator=seeded(1))
    text = slide(figure, "rank", "Home")
    assert text.startswith(f"Loss {mf_core.reconstruction_loss(A, U, V):.4f} after")
    assert figure.locator("[name=lr]").evaluate("e => e.ariaValueText") == "0.0001"


def test_a_thousand_seeds_run_in_the_page_give_the_notebooks_share(open_page):
    page, [figure] = open_page("1.2")
    losses = [
        mf_core.reconstruction_loss(A, *mf_core.sgd_factorize(A, 2, generator=seeded(s)))
        for s in range(1000)
    ]
    right = sum(round(loss.item(), 4) == 0.1223 for loss in losses)
    expected = f"1,000 seeds, 1,000 epochs each: {right} print 0.1223, which is {right / 10:.1f}%."
    counted, share = figure.locator(".counted"), figure.locator("[data-name=share]")
    assert counted.text_content() == expected
    first = share.get_attribute("d")
    counted.evaluate(
        "e => { window.seen = [];"
        " new MutationObserver(() => seen.push(e.textContent)).observe(e, { childList: true }); }"
    )
    figure.locator(".run").click()
    page.wait_for_function("seen.some(text => !text.startsWith('1,000'))")
    U, V = mf_core.sgd_factorize(A, 2, generator=seeded(999))
    assert slide(figure, "seed", "End") == loss_said(
        999, 1000, mf_core.reconstruction_loss(A, U, V)
    )
    page.wait_for_function("seen.at(-1).startsWith('1,000')")
    assert counted.text_content() == expected
    drawn = [
        [float(x) for x in re.findall(r"[\d.]+", d)] for d in (first, share.get_attribute("d"))
    ]
    assert drawn[0] == pytest.approx(drawn[1], abs=0.11)
    product = [float(text) for text in figure.locator("td.product").all_text_contents()]
    assert product == pytest.approx((U @ V.T).flatten().tolist(), abs=1e-4)
    error = [float(text) for text in figure.locator("td.error").all_text_contents()]
    assert error == pytest.approx((A - U @ V.T).flatten().tolist(), abs=1e-4)


def test_the_photograph_is_that_of_the_truncated_svd_at_every_rank(open_page):
    page, [figure] = open_page("2.1")
    photo = plt.imread(get_sample_data("grace_hopper.jpg", asfileobj=False))
    G = torch.tensor(photo[::4, ::4]).float().mean(2) / 255
    pixels = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data].filter((_, p) => p % 4 == 0)"
    for key, rank in (("Home", 1), ("ArrowRight", 2), ("End", 128)):
        U, S, Vh = mf_core.truncated_svd(G, rank)
        loss = mf_core.reconstruction_loss(G, U * S, Vh.T)
        share = rank * (sum(G.shape) + 1) / G.numel()
        assert (
            slide(figure, "rank", key)
            == f"Rank {rank}: loss {loss:.2f}, {share:.0%} of the numbers."
        )
        shown = torch.tensor(figure.locator("canvas").evaluate(pixels)).view(G.shape)
        assert (shown - 255 * ((U * S) @ Vh).clamp(0, 1)).abs().max() < 0.6


def test_an_entry_can_be_hidden_shown_and_typed_anew(open_page):
    _, [ends, fields] = open_page("3.1")
    fields.locator("td").nth(4).locator("label").click()  # of entry [1, 0]: shown
    now = M.clone()
    now[1, 0] = True
    assert said(fields) == completion_said(A, now, exercise=False)
    fields.locator("[name=m00]").press("Space")  # hidden, by keyboard
    now[0, 0] = False
    assert said(fields) == completion_said(A, now, exercise=False)
    assert fields.locator(".drawing").evaluate("e => e.style.opacity") == "0.2"
    fields.locator("button[type=reset]").click()
    fields.page.wait_for_function(
        "e => e.style.opacity == 1", arg=fields.locator(".drawing").element_handle()
    )
    fields.locator("[name=a22]").fill("1.5")
    other = A.clone()
    other[2, 2] = 1.5
    assert said(fields) == completion_said(other, M)
    U, V = mf_core.sgd_factorize_masked(other, M, 2, generator=seeded(0))
    shown = [float(text) for text in fields.locator(".completed").all_text_contents()]
    assert shown == pytest.approx((U @ V.T).flatten().tolist(), abs=1e-4)
    fields.locator("[name=a22]").fill("")
    assert said(fields) == "Stopped: one of the nine fields holds no number."
    assert said(ends) == completion_said(A, M)


def test_a_link_leads_to_a_state_and_the_address_follows(open_page):
    page, [ends, fields] = open_page("3.1", "#seed=7&2.lr=0.1&2.m10=1&2.a00=2")
    other, seen = A.clone(), M.clone()
    other[0, 0], seen[1, 0] = 2, True
    assert said(ends) == completion_said(A, M, seed=7)
    assert said(fields) == completion_said(other, seen, lr=0.1, exercise=False)
    slide(ends, "seed", "ArrowRight")
    assert "seed=8&" in page.url and "2.a00=2" in page.url
    fields.locator("button[type=reset]").click()
    page.wait_for_function("location.hash == '#seed=8'")
    assert said(fields) == completion_said(A, M)
    page.evaluate("location.hash = '#seed=9'")
    page.wait_for_function(
        "e => e.textContent.startsWith('Seed 9')", arg=ends.locator(".said").element_handle()
    )
    page.reload()
    assert said(page.locator("figure.live").first) == completion_said(A, M, seed=9)


def test_play_lets_the_epochs_go_by_and_can_be_paused(open_page):
    page, [figure] = open_page("index")
    play, slider = figure.locator(".play"), figure.locator("[name=epochs]")
    play.click()
    page.wait_for_function("e => e.value > 20", arg=slider.element_handle())
    play.click()
    assert play.text_content() == "Play"
    epochs = int(slider.input_value())
    assert 20 < epochs < 1000 and said(figure) == completion_said(A, M, epochs=epochs)
    play.click()
    page.wait_for_function("e => e.value == 1000", arg=slider.element_handle())
    page.wait_for_function("e => e.textContent == 'Play'", arg=play.element_handle())
    assert said(figure) == completion_said(A, M)


def test_without_motion_play_goes_step_by_step(open_page):
    _, [figure] = open_page("index", reduced_motion="reduce")
    seen = []
    for _ in range(3):
        figure.locator(".play").click()
        seen.append(figure.locator("[name=epochs]").input_value())
    assert seen == ["0", "100", "200"] and figure.locator(".play").text_content() == "Play"


def test_touch_moves_a_slider_on_a_phone(open_page):
    page, [figure] = open_page("index", viewport={"width": 390, "height": 800}, has_touch=True)
    seed = figure.locator("[name=seed]")
    seed.tap()
    assert seed.input_value() != "0" and said(figure) == completion_said(
        A, M, seed=int(seed.input_value())
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
