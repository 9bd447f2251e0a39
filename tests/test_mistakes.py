"""The checks can fail: known mistakes, each planted in a copy of the project, and the check that must catch it there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SGD = "tests/test_core.py::test_masked_sgd_follows_the_courseworks_loop_from_the_same_seed"
SVD = "tests/test_core.py::test_truncated_svd_of_the_coursework_leaves_the_square_of_the_last_singular_value"
LOSS = "tests/test_core.py::test_loss_is_the_sum_of_squares_of_the_coursework"
MISTAKES = {
    "the mask is ignored": (
        "mf_core.py",
        "return M.detach().cpu().contiguous()",
        "return torch.tensor([[M[r][c] is not 0 for c in range(M.shape[1])] for r in range(M.shape[0])])",
        SGD,
        "AssertionError: Tensor-likes are not close",
    ),
    "A is masked, but every cell updated": (
        "mf_core.py",
        "return _sgd(A, _mask(M, A), rank",
        "return _sgd(A * M, _everywhere(A), rank",
        SGD,
        "AssertionError: Tensor-likes are not close",
    ),
    "V is updated with the old U[i]": (
        "mf_core.py",
        "                U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]\n                V[j, k] += lr * e * U[i, k]",
        "                old = U[i, k]\n"
        "                U[i, k] += lr * e * V[j, k] - lr * w * U[i, k]\n                V[j, k] += lr * e * old",
        SGD,
        "AssertionError: Tensor-likes are not close",
    ),
    "A has 2.02620 for 2.2620": (
        "data/coursework.toml", "2.2620]", "2.02620]", "notebooks/2.1-truncated-svd.ipynb", "claim svd-loss: computed"
    ),
    "V for its transpose in the truncated SVD": (
        "mf_core.py", "Vh[:rank].clone()", "Vh.T[:rank].clone()", SVD, "AssertionError"
    ),
    "nothing is truncated": (
        "notebooks/2.1-truncated-svd.ipynb", "S_cut[-1] = 0", "S_cut[-1]", "notebooks/2.1-truncated-svd.ipynb",
        "claim svd-loss: computed 0.0000",
    ),
    "movie and user are exchanged": (
        "notebooks/4.1-movie-rating.ipynb", "U[movie] @ V[user]", "U[user] @ V[movie]",
        "notebooks/4.1-movie-rating.ipynb", "mismatch 'stdout'",
    ),
    "the error is summed over unrated cells too": (
        "mf_core.py", "_everywhere(A) if M is None else _mask(M, A)", "_everywhere(A)", LOSS, "AssertionError"
    ),
    "the mean squared error is against the zero-filled matrix": (
        "notebooks/3.1-masked-factorisation.ipynb",
        r'claim(\"completed-mse\").check(((report - A)',
        r'claim(\"completed-mse\").check(((report - A * M)',
        "notebooks/3.1-masked-factorisation.ipynb",
        "claim completed-mse: computed 0.6512",
    ),
    "a tolerance is so wide that 0 would pass": (
        "data/claims.toml",
        "recomputed = 0.1219\ntolerance = 5e-5",
        "recomputed = 0.1219\ntolerance = 0.2",
        "tests/test_claims.py::test_no_tolerance_is_so_wide_that_zero_would_pass",
        "AssertionError: svd-loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_known_mistake_is_caught(mistake, tmp_path):
    file, right, wrong, check, message = MISTAKES[mistake]
    for part in ("data", "notebooks", "tests"):
        shutil.copytree(
            ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "ml-*", "ratings.pt")
        )
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert text.count(right) >= 1
    (tmp_path / file).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    # A claim must catch it by itself: stored outputs, which --nbval compares, would be replaced by `make refresh`.
    nbval = ["--nbval-lax" if message.startswith("claim") else "--nbval", "--nbval-current-env"]
    nbval = nbval if check.endswith(".ipynb") else []
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *nbval, check],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1 and message in run.stdout, run.stdout + run.stderr
