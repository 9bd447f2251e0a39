"""The page "Are my numbers possible?": it agrees with the ledger, and never refutes a true run."""

import re
import sys

import pytest
import torch
from conftest import FUZZ, ROOT
from test_live import ALGORITHM, seeded

from mf_claims import ledger
from mf_core import reconstruction_loss, sgd_factorize, sgd_factorize_masked, truncated_svd
from mf_data import load_coursework_matrix

sys.path.append(str(ROOT / "report"))
import gathered

SCRIPT = ALGORITHM + (ROOT / "live/possible.js").read_text(encoding="utf-8")
A, M = load_coursework_matrix()
RUNS = 40 * FUZZ
JUDGE = """list => list.map(texts => {
    document.querySelector(".clear").click();
    const field = name => document.querySelector(`[name="${name.replaceAll("_", "-")}"]`);
    for (const [name, text] of Object.entries(texts)) field(name).value = text;
    field("A").dispatchEvent(new Event("input", { bubbles: true }));
    return [...document.querySelectorAll("li")].map(item => item.textContent).join("\\n");
})"""


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_content(gathered.show_possible(ROOT / "notebooks").removeprefix("```{raw} html"))
    page.add_script_tag(content=SCRIPT)
    yield page
    page.close()


def read_verdicts(page, name=None):
    """The verdicts on a field or on all, when the seeds are counted."""
    page.wait_for_function("() => !document.body.textContent.includes('⟳')")
    return "\n".join(page.locator(f"[data-about~={name}]" if name else "li").all_text_contents())


def judge_all(page, fields):
    """For each dict of fields, all verdicts when these alone are filled; nothing is counted yet."""
    return page.evaluate(JUDGE, [{name: str(x) for name, x in texts.items()} for texts in fields])


def judge(page, **texts):
    """The verdicts when these fields alone are filled and the seeds are counted."""
    judge_all(page, [texts])
    return read_verdicts(page)


def truncated(X, rank):
    U, S, Vh = truncated_svd(X, rank)
    return (U * S) @ Vh


def draw_task(seed):
    """The exercise, or a matrix with four decimals, a rank below its own, and a mask; the floor."""
    m, n = torch.randint(2, 7, (2,), generator=seeded(seed)).tolist()
    X = (2e4 * torch.rand(m, n, generator=seeded(seed))).round() / 1e4
    mask = torch.rand(m, n, generator=seeded(seed)) < 0.8
    mask[0, 0] = True
    rank = 1 + seed % max(1, min(m, n) - 1)
    X, mask, rank = (A, M, 2) if seed % 2 else (X, mask, rank)
    return X, mask, rank, reconstruction_loss(X, truncated(X, rank), torch.eye(X.shape[1]))


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


def printed(x, decimals):
    torch.set_printoptions(precision=decimals)
    text = str(x)
    torch.set_printoptions(precision=4)
    return text


def rows_of(x, entry, row):
    rows = x.reshape(-1, x.shape[-1] if x.ndim else 1).tolist()
    return row.join(entry.join(f"{y:.4f}" for y in numbers) for numbers in rows)


FORMS = {
    "two decimals": lambda x: printed(x, 2),
    "four decimals": lambda x: printed(x, 4),
    "seven decimals": lambda x: printed(x, 7),
    "a label": lambda x: f"U, {x}",
    "all digits": lambda x: str([x.item()] if x.ndim == 0 else x.tolist()),
    "NumPy": lambda x: str(x.numpy()),
    "np.float32": lambda x: repr(list(map(list, x.numpy())) if x.ndim else x.numpy()[()]),
    "LaTeX": lambda x: r"\begin{pmatrix}" + rows_of(x, " & ", r" \\ ") + r"\end{pmatrix}",
    "semicolons": lambda x: rows_of(x, ", ", "; "),
    "dashes": lambda x: rows_of(x, " ", "\n").replace("-", "–"),
}
MEANINGS = [
    lambda errors: (errors**2).sum(),
    lambda errors: (errors**2).mean(),
    lambda errors: errors.norm(),
    lambda errors: (errors**2).mean().sqrt(),
]


@pytest.mark.parametrize("form", FORMS)
def test_no_true_run_is_called_wrong_in_any_form(page, form):
    runs = []
    for seed in range(RUNS):
        X, mask, rank, floor = draw_task(seed)
        U, V = sgd_factorize(X, rank, 300, generator=seeded(seed))
        Y, Z = sgd_factorize_masked(X, mask, rank, 300, generator=seeded(seed))
        squared_error = MEANINGS[seed % 4]
        run = {"sgd_u": U, "sgd_v": V, "sgd_reconstruction": U @ V.T, "svd_loss": floor}
        run |= {"sgd_loss": squared_error(X - U @ V.T), "svd_matrix": truncated(X, rank)}
        run |= {"completed_matrix": Y @ Z.T, "completed_mse": squared_error(X - Y @ Z.T)}
        task = {"A": X, "M": mask, "rank": rank}
        runs.append(task | {name: FORMS[form](x) for name, x in run.items()})
    for verdicts in judge_all(page, runs):
        assert verdicts.count("agrees") == 7 and not re.search("[✗?]", verdicts), verdicts


def test_no_loss_below_the_floor_is_possible(page):
    tasks = [draw_task(seed) for seed in range(RUNS)]
    below = [f"{abs(floor - 2e-4):.4f}" for *_, floor in tasks]
    typed = [
        {"A": X, "rank": rank, "sgd_loss": text}
        for (X, _, rank, _), text in zip(tasks, below, strict=True)
    ]
    for verdicts, (*_, floor) in zip(judge_all(page, typed), tasks, strict=True):
        assert ("✗ impossible" in verdicts) == (floor > 2e-4), verdicts


def test_a_completion_by_a_seed_is_possible_and_an_exact_one_is_known_by_its_curve(page):
    U, V = sgd_factorize_masked(A, M, 2, generator=seeded(7))
    run = {"completed_matrix": U @ V.T, "completed_mse": ((A - U @ V.T) ** 2).mean()}
    verdicts = judge(page, **run)
    assert verdicts.count("✓") == 3 and "✗" not in verdicts
    for x, is_exact in ((2.0, True), (2.01, False)):
        X = A.where(M, torch.tensor([[0, 0, 0], [x, 0, 0], [0, 1.98, 0]]))  # for x = 2, singular
        verdicts = judge(page, completed_matrix=X)
        assert ("They lie on" in verdicts) == ("✗" not in verdicts) == is_exact


PRODUCT = "[[.3569,.5944,.1518],[2.0766,.0496,1.8330],[2.9367,1.2342,2.2678]]"  # of a masked run
SAID = [
    ({"sgd_loss": 0.12241275608539581}, "✓ possible: [0-9]+ of 1,000 seeds print 0.1224"),
    ({"sgd_loss": 0.0135}, "As the mean of the squares it is what [0-9]+ of 1,000 seeds print"),
    ({"sgd_loss": 0.3492}, "As the root of the sum of squares it is what [0-9]+ of 1,000 seeds"),
    *[({"svd_loss": loss}, "V stands in the place of Vᵀ") for loss in (1.1324, 31.2495, 33.9710)],
    ({"completed_matrix": truncated(A, 2)}, "as a run in which nothing is hidden"),
    (
        {"completed_matrix": PRODUCT, "completed_mse": 2.0825},
        "2.0825 is the sum of the squares",
    ),
    (
        {"completed_matrix": A, "completed_mse": 9},
        "mean of the observed entries in the gaps .* 0.5662",
    ),
    ({"completed_matrix": A - 2, "completed_mse": 36}, "sum of the squares .* better: 5.0959"),
]


@pytest.mark.parametrize(("typed", "words"), SAID)
def test_what_a_number_is_is_said(page, typed, words):
    judge_all(page, [typed])
    page.locator("li", has_text=re.compile(words)).first.wait_for(timeout=20_000)


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
