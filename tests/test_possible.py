"""The page "Are my numbers possible?": it agrees with the ledger, and never refutes a true run."""

import re
import sys

import pytest
import torch
from conftest import ROOT
from test_live import ALGORITHM, seeded

from mf_claims import ledger
from mf_core import reconstruction_loss, sgd_factorize, sgd_factorize_masked, truncated_svd
from mf_data import load_coursework_matrix

sys.path.append(str(ROOT / "report"))
import gathered

SCRIPT = ALGORITHM + (ROOT / "live/possible.js").read_text(encoding="utf-8")
A, M = load_coursework_matrix()
TYPE = """texts => {
    document.querySelector(".clear").click();
    const field = name => document.querySelector(`[name="${name}"]`);
    for (const [name, text] of Object.entries(texts)) field(name).value = text;
    field("A").dispatchEvent(new Event("input", { bubbles: true }));
}"""


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_content(gathered.show_possible(ROOT / "notebooks").removeprefix("```{raw} html"))
    page.add_script_tag(content=SCRIPT)
    yield page
    page.close()


def read_verdicts(page, name=None, counted=True):
    """The verdicts on a field or on all, by default when the seeds are counted."""
    if counted:
        page.wait_for_function("() => !document.body.textContent.includes('Counting')")
    return "\n".join(page.locator(f"[data-about~={name}]" if name else "li").all_text_contents())


def judge(page, counted=False, **texts):
    """All verdicts when these fields alone are filled; their names have hyphens in the page."""
    page.evaluate(TYPE, {name.replace("_", "-"): str(text) for name, text in texts.items()})
    return read_verdicts(page, counted=counted)


def truncated(X, rank):
    U, S, Vh = truncated_svd(X, rank)
    return (U * S) @ Vh


def draw_task(seed):
    """A matrix with four decimals, a rank below its own, and the floor."""
    m, n = torch.randint(2, 7, (2,), generator=seeded(seed)).tolist()
    X = (2e4 * torch.rand(m, n, generator=seeded(seed))).round() / 1e4
    rank = 1 + seed % max(1, min(m, n) - 1)
    return X, rank, reconstruction_loss(X, truncated(X, rank), torch.eye(n))


def test_the_handins_numbers_get_the_verdicts_of_the_ledger(page):
    claims = ledger()
    fields = page.locator("[name]").evaluate_all("all => all.map(e => e.name)")
    for name in claims.keys() & set(fields):
        signs = re.findall("✗|✓", read_verdicts(page, name))
        assert signs and signs.count("✗") == (claims[name].verdict == "refuted")
    for name in ("completed-mse", "low-value"):
        assert str(claims[name].recomputed) in read_verdicts(page, "completed-mse")
    [notebook] = (ROOT / "notebooks").glob("1.2*")
    stored = re.search(r"(\d+) print 0.1223", notebook.read_text(encoding="utf-8"))[1]
    assert f"{stored} of 1,000 seeds" in read_verdicts(page, "sgd-loss")
    X = torch.tensor(claims["completed-matrix"].reported)
    runs = [sgd_factorize_masked(A, M, 2, generator=seeded(seed)) for seed in range(1000)]
    misses = torch.stack([(A - U @ V.T)[M].abs().max() for U, V in runs])
    count = (misses >= (A - X)[M].abs().max() - 5e-5).sum()
    assert f"{count} of 1,000 seeds" in read_verdicts(page, "completed-matrix")
    handin = read_verdicts(page)
    assert handin != judge(page)  # which clears the fields
    page.locator(".example").click()
    assert handin == read_verdicts(page)


@pytest.mark.parametrize("decimals", [2, 4, 7])
def test_rounding_is_never_held_against_a_true_run(page, decimals):
    for seed in range(40):
        X, rank, floor = draw_task(seed)
        U, V = sgd_factorize(X, rank, 300, generator=seeded(seed))
        run = {"sgd_u": U, "sgd_v": V, "sgd_reconstruction": U @ V.T, "svd_loss": floor}
        run |= {"sgd_loss": reconstruction_loss(X, U, V), "svd_matrix": truncated(X, rank)}
        torch.set_printoptions(precision=decimals)
        printed = {name: str(x) for name, x in run.items()}
        torch.set_printoptions(precision=4)
        verdicts = judge(page, A=X, rank=rank, **printed)
        assert verdicts.count("agrees") == 6 and "✗" not in verdicts, verdicts
        below = judge(page, A=X, rank=rank, sgd_loss=f"{abs(floor - 2e-4):.4f}")
        assert ("✗ impossible" in below) == (floor > 2e-4)


def test_a_completion_by_a_seed_is_possible_and_an_exact_one_is_known_by_its_curve(page):
    U, V = sgd_factorize_masked(A, M, 2, generator=seeded(7))
    run = {"completed_matrix": U @ V.T, "completed_mse": ((A - U @ V.T) ** 2).mean()}
    verdicts = judge(page, counted=True, **run)
    assert verdicts.count("✓") == 3 and "✗" not in verdicts
    for x, is_exact in ((2.0, True), (2.01, False)):
        X = A.where(M, torch.tensor([[0, 0, 0], [x, 0, 0], [0, 1.98, 0]]))  # for x = 2, singular
        verdicts = judge(page, completed_matrix=X)
        assert ("They lie on" in verdicts) == ("✗" not in verdicts) == is_exact


X = truncated(A, 2)
WRONG = {
    "an entry": {"sgd_u": X[:, :2], "sgd_v": torch.eye(3)[:, :2], "sgd_reconstruction": X},
    "another loss": {"sgd_reconstruction": X, "sgd_loss": 0.1221},
    "a product of rank 3": {"sgd_reconstruction": A + 1},
    "a digit after an exponent": {"svd_loss": "tensor(1.2187e-01)"},
    "a mean below the floor": {"completed_mse": 0.0134},
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_number_is_refuted(page, mistake):
    assert judge(page, **WRONG[mistake]).count("✗") == 1


UNREADABLE = [
    ("A", "1 2 x", "“x” is not a number"),
    ("A", "1 2 3\n4 5", "row 1 has 3 numbers, and row 2 has 2"),
    ("sgd-v", "1 2\n3 4", "3 rows of 2 numbers are needed here, and there are 2 of 2"),
    ("sgd-loss", "0,1223", "write one like 0.1223"),
    ("completed-mse", "-1", "not negative"),
]


@pytest.mark.parametrize(("name", "text", "message"), UNREADABLE)
def test_what_cannot_be_read_is_named_at_its_field(page, name, text, message):
    verdicts = judge(page, completed_matrix=A, **{name: text})
    assert re.search(f"cannot be read.*{re.escape(message)}", verdicts)
    assert page.locator(f"[name={name}]").get_attribute("aria-invalid") == "true"
