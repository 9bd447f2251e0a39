"""The page computes what Python computes: live.js beside mf_core, bit for bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import in_chromium

import mf_core

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
    loss = mf_core.reconstruction_loss(A, U, V, M)
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
    "a product of the dot product is not rounded": ("f(U[i][k] * V[j][k])", "U[i][k] * V[j][k]"),
    "a sum of the dot product is not rounded": ("f(dot + f(U[i][k] * V[j][k]))", "dot + f(U[i][k] * V[j][k])"),
    "the error is not rounded": ("f(A[i][j] - dot)", "A[i][j] - dot"),
    "lr times the error is not rounded": ("f(lr * e)", "lr * e"),
    "lr is not rounded": ("lr = f(lr)", "lr = lr"),
    "U's step is not rounded": ("f(step * V[j][k])", "step * V[j][k]"),
    "V's step is not rounded": ("f(step * U[i][k])", "step * U[i][k]"),
    "the loss is summed in single precision": ("total += e * e", "total = f(total + e * e)"),
    "V is updated with the old U": (
        "U[i][k] += f(step * V[j][k]);", "const old = U[i][k]; U[i][k] += f(step * V[j][k]); V[j][k] += f(step * old); continue;"
    ),
    "V is drawn before U": ("U = rows(0, m), V = rows(m, n)", "V = rows(0, n), U = rows(n, m)"),
    "the mask is ignored": ("if (M && !M[i][j]) continue;\n          let dot", "let dot"),
    "a divergence is noticed an epoch late": ("epoch + 1} of", "epoch + 2} of"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_script_is_noticed(mistake, browser, cases, expected, script):
    right, wrong = MISTAKES[mistake]
    assert script.count(right) == 1
    some = [case for case in cases if case["num_epochs"] < 300][:300]
    page = in_page(browser, some, script.replace(right, wrong))
    assert page != [in_python(case) for case in some]
