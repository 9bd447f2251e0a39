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
        "mf_inputs.py",
        "M = M.bool().contiguous()",
        "M = torch.ones(A.shape, dtype=torch.bool)",
        SGD,
        "AssertionError: Tensor-likes are not close",
    ),
    "A is masked, but every cell updated": (
        "mf_core.py",
        "    entries = observed_entries(A, M)",
        "    entries = observed_entries(A * M, torch.ones_like(M))",
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
        "tests/test_notebooks.py::test_the_prediction_is_of_the_movies_row_and_the_users_column",
        "AssertionError",
    ),
    "the error is summed over unrated cells too": (
        "mf_core.py", "observed_entries(A, mask(M, A))\n    return", "observed_entries(A, mask(torch.ones(A.shape), A))\n    return", LOSS, "AssertionError"
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


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, for mistakes to be planted in; what is compiled in it serves all tests."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("data", "notebooks", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "course", "movielens", "unfinished-*")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_known_mistake_is_caught(mistake, project, tmp_path):
    name, right, wrong, check, message = MISTAKES[mistake]
    file = project / name
    text = file.read_text(encoding="utf-8")
    assert text.count(right) >= 1
    # A claim must catch it by itself: stored outputs, which --nbval compares, would be replaced by `make refresh`.
    nbval = ["--nbval-lax" if message.startswith("claim") else "--nbval", "--nbval-current-env"]
    nbval = nbval if check.endswith(".ipynb") else []
    environment = os.environ | {"PYTHONPATH": str(project)}
    if name.startswith("mf_"):
        environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    shutil.copy2(file, tmp_path / "right")
    try:
        file.write_text(text.replace(right, wrong, 1), encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *nbval, check],
            cwd=project, env=environment, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        shutil.copy2(tmp_path / "right", file)
    assert run.returncode == 1 and message in run.stdout, run.stdout + run.stderr
