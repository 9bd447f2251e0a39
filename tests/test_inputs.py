"""What mf_inputs refuses: every bad call fails at once, with an error that names the argument and the remedy."""

import pytest
import torch
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from mf_core import (
    damped_means,
    gd_factorize_masked,
    reconstruction_loss,
    sgd_factorize,
    sgd_factorize_masked,
    truncated_svd,
)
from mf_data import load_coursework_matrix

A3, M3 = load_coursework_matrix()
both_masked = pytest.mark.parametrize("factorize", [sgd_factorize_masked, gd_factorize_masked])

NAN = A3.clone()
NAN[0, 1] = float("nan")
GOOD = dict(A=A3, M=M3, rank=2)


@both_masked
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (dict(A=A3.numpy()), TypeError, "A is a ndarray.*torch.as_tensor"),
        (dict(A=A3[0]), ValueError, r"A has shape \(3,\).*matrix"),
        (dict(A=A3.half()), TypeError, "float16.*float32"),
        (dict(A=A3.to(torch.complex64)), TypeError, "A is.*complex64"),
        (dict(A=torch.nested.nested_tensor([A3[0]] * 3)), TypeError, "A is nested"),
        (dict(M=M3.to_sparse()), ValueError, "M has layout torch.sparse_coo.*M.to_dense"),
        (dict(M=M3.to("meta")), ValueError, "M is on meta"),
        (dict(rank=10**12), ValueError, "rank is 1000000000000.*memory"),
        (dict(rank=10**30), ValueError, "rank is 1000.*memory"),
        (dict(lr=1e-50), ValueError, "lr is 1e-50 .*float32.*above 0"),
        (dict(lr=10**400), ValueError, "lr is 1000.*finite"),
        (dict(lr=True), TypeError, "lr is True"),
        (dict(weight_decay=1e39), ValueError, "weight_decay is 1e\\+39 .*finite"),
        (dict(weight_decay=10**400), ValueError, "weight_decay is 1000.*finite"),
        (dict(init=(A3[:, :2].to_sparse(), A3[:, :2])), ValueError, r"init\[0\] has layout torch.sparse_coo"),
        (dict(init=(A3[:, :2], A3[:, :2].to("meta"))), ValueError, r"init\[1\] is on meta"),
        (dict(init=(A3[:, :2] + 0j, A3[:, :2])), TypeError, r"init\[0\] is.*complex64"),
        (dict(init=(A3[:, :2].double() * 1e300, A3[:, :2])), ValueError, r"init\[0\] has NaN or inf.*float32"),
        (dict(A=A3.to("meta")), ValueError, "meta.*CPU"),
        (dict(A=NAN), ValueError, r"A\[0, 1\] is nan"),
        (dict(A=A3 / 0), ValueError, r"A\[0, 0\] is inf"),
        (dict(M=None), TypeError, "M is a NoneType"),
        (dict(M=M3[:2]), ValueError, r"M has shape \(2, 3\).*\(3, 3\)"),
        (dict(M=M3 * 2), ValueError, "M has entries other than 0 and 1"),
        (dict(M=M3 * float("nan")), ValueError, "M has entries other than 0 and 1"),
        (dict(M=M3 & False), ValueError, "M observes no entry"),
        (dict(A=A3[:0], M=M3[:0]), ValueError, "A is empty"),
        (dict(rank=0), ValueError, "rank is 0.*at least 1"),
        (dict(rank=2.0), TypeError, "rank is 2.0.*integer"),
        (dict(rank=True), TypeError, "rank is True"),
        (dict(num_epochs=-1), ValueError, "num_epochs is -1"),
        (dict(lr=0), ValueError, "lr is 0.*above 0"),
        (dict(lr=-0.1), ValueError, "lr is -0.1"),
        (dict(lr=float("nan")), ValueError, "lr is nan"),
        (dict(lr="0.1"), TypeError, "lr is '0.1'"),
        (dict(weight_decay=-1), ValueError, "weight_decay is -1.*at least 0"),
        (dict(init=A3), TypeError, "init is a Tensor.*pair"),
        (dict(init=(A3, A3)), ValueError, r"init\[0\] has shape \(3, 3\).*\(3, 2\)"),
        (dict(init=(A3[:, :2], A3[:2, :2])), ValueError, r"init\[1\] has shape \(2, 2\).*\(3, 2\)"),
        (dict(init=(A3[:, :2], NAN[:, :2])), ValueError, r"init\[1\] has NaN"),
        (dict(init=(A3[:, :2], None)), TypeError, r"init\[1\] is a NoneType"),
        (dict(generator=7), TypeError, "generator is a int"),
        (dict(callback=7), TypeError, "callback"),
    ],
)  # fmt: skip
def test_a_bad_call_fails_at_once_and_names_the_argument(factorize, bad, error, words):
    with pytest.raises(error, match=words):
        factorize(**GOOD | bad)


def test_the_other_functions_name_the_argument_too():
    for call, error, words in [
        (lambda: sgd_factorize(NAN, 2), ValueError, r"A\[0, 1\] is nan"),
        (lambda: truncated_svd(A3, 4), ValueError, "rank is 4.*3 at most"),
        (lambda: truncated_svd(A3, 0), ValueError, "rank is 0"),
        (lambda: truncated_svd(NAN, 2), ValueError, r"A\[0, 1\] is nan"),
        (lambda: reconstruction_loss(A3, A3[:, :2], A3[:, :1]), ValueError, "V has shape"),
        (lambda: reconstruction_loss(A3, A3[:2, :2], A3[:, :2]), ValueError, "U has shape"),
        (lambda: reconstruction_loss(NAN, A3, A3), ValueError, r"A\[0, 1\] is nan"),
        (lambda: damped_means(A3, M3, -1), ValueError, "damping is -1"),
        (lambda: damped_means(A3, M3, 10**400), ValueError, "damping is 1000"),
        (
            lambda: reconstruction_loss(A3, A3[:, :0], A3[:, :0]),
            ValueError,
            r"U has shape \(3, 0\).*rank",
        ),
        (lambda: damped_means(A3, M3 & False, 1), ValueError, "M observes no entry"),
    ]:
        with pytest.raises(error, match=words):
            call()


INDEX, ONE = [[0], [1]], [1.0]
unchecked = dict(check_invariants=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: torch.sparse_coo_tensor([[0, 0, 1], [1, 1, 0]], [1.0, 2.0, 3.0], (2, 2)),
            "A stores an entry twice",
        ),
        (
            lambda: torch.sparse_coo_tensor(INDEX, [float("nan")], (2, 2)),
            "A stores NaN or infinity",
        ),
        (lambda: torch.sparse_coo_tensor(torch.empty(2, 0), [], (2, 2)), "A stores no entry"),
        (
            lambda: torch.sparse_coo_tensor([[2**40], [0]], ONE, (2, 2), **unchecked),
            "A is a malformed",
        ),
        (
            lambda: torch.sparse_coo_tensor([[-1], [0]], ONE, (2, 2), **unchecked),
            "A is a malformed",
        ),
        (
            lambda: torch.sparse_coo_tensor(
                [[1, 0], [0, 0]], [1.0, 2.0], (2, 2), is_coalesced=True, **unchecked
            ),
            "A is a malformed",
        ),
        *(
            (
                lambda i=i, j=j: torch.sparse_coo_tensor(
                    [i, j], [1.0] * len(i), (2, 2), is_coalesced=True, **unchecked
                ),
                "A is a malformed",
            )
            for i, j in (
                ([-1], [0]),
                ([2], [0]),
                ([0], [-1]),
                ([0], [2]),
                ([0, 1], [0, -1]),
                ([0, 1], [2, 1]),
            )
        ),
        (  # -1 in the row below is the same place, counted row by row
            lambda: torch.sparse_coo_tensor([[1, 0], [-1, 1]], [1.0, 2.0], (2, 2), **unchecked),
            "A is a malformed",
        ),
        (
            lambda: torch.sparse_coo_tensor([[1]], [[1.0, 2.0]], (2, 2)),
            "A is sparse in one dimension",
        ),
        (
            lambda: torch.sparse_csr_tensor([0, 1, 2], [0, 7], [1.0, 2.0], (2, 2), **unchecked),
            "A is a malformed",
        ),
        (
            lambda: torch.sparse_csr_tensor([0, 2, 2], [1, 0], [1.0, 2.0], (2, 2), **unchecked),
            "A is a malformed",
        ),
        (
            lambda: torch.sparse_csr_tensor([0, 2, 2], [1, 1], [1.0, 2.0], (2, 2), **unchecked),
            "A is a malformed",
        ),
        (
            lambda: torch.sparse_csr_tensor([0, 1, 4, 0], [], [], (3, 3), **unchecked),
            "A is a malformed sparse tensor: the row pointers fall",
        ),
        (
            lambda: torch.sparse_csr_tensor(
                [0, 6, 0, 6, 6], [0] * 6, [1.0] * 6, (4, 4), **unchecked
            ),
            "A is a malformed",
        ),
        (lambda: A3.to_sparse_csc(), "A has layout torch.sparse_csc.*COO or sparse CSR"),
    ],
)
def test_a_bad_sparse_tensor_is_refused(make, words):
    A = make()
    for call in (
        lambda: sgd_factorize(A, 1, 1),
        lambda: sgd_factorize_masked(A, None, 1, 1),
        lambda: damped_means(A, None, 1),
        lambda: reconstruction_loss(A, torch.ones(A.shape[0], 1), torch.ones(A.shape[1], 1)),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_where_a_sparse_tensor_or_its_mask_is_not_taken_the_remedy_is_named():
    sparse = A3.to_sparse()
    for call, words in [
        (lambda: sgd_factorize_masked(sparse, M3, 1), "M is given with a sparse A.*M=None"),
        (lambda: gd_factorize_masked(sparse, None, 1), "A has layout torch.sparse_coo.*A.to_dense"),
        (lambda: truncated_svd(sparse, 1), "A has layout torch.sparse_coo.*A.to_dense"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


@st.composite
def sparse_tensors(draw):
    """COO or CSR with whatever indices, sound or not: torch is told not to look."""
    count, number = draw(st.integers(0, 4)), st.integers(-1, 3) | st.sampled_from([2**31, 2**40])
    values = [1.0 + k for k in range(count)]
    indices = [draw(st.lists(number, min_size=count, max_size=count)) for _ in range(2)]
    if draw(st.booleans()):
        flag = draw(st.booleans())
        return torch.sparse_coo_tensor(torch.tensor(indices, dtype=torch.int64), values, (3, 3), is_coalesced=flag,
                                       check_invariants=False)  # fmt: skip
    rows = draw(st.lists(st.integers(-1, 4), min_size=4, max_size=4))
    rows = sorted([0, *rows[:2], count]) if draw(st.booleans()) else rows
    return torch.sparse_csr_tensor(torch.tensor(rows), torch.tensor(indices[1], dtype=torch.int64), values, (3, 3),
                                   check_invariants=False)  # fmt: skip


@examples(150)
@given(sparse_tensors())
def test_any_sparse_tensor_is_refused_by_name_or_means_what_its_dense_form_means(A):
    start = torch.ones(3, 1), torch.ones(3, 1)
    try:
        U, V = sgd_factorize(A, 1, 2, init=start)
    except ValueError as error:
        assert str(error).startswith("A ")
        return
    if A.layout == torch.sparse_csr:
        rows = torch.repeat_interleave(torch.arange(3), A.crow_indices().diff())
        index = torch.stack([rows, A.col_indices()])
    else:
        index = A._indices()
    dense, M = torch.zeros(3, 3), torch.zeros(3, 3)
    dense[tuple(index)], M[tuple(index)] = A.values() if A.layout == torch.sparse_csr else A._values(), 1.0  # fmt: skip
    assert M.sum() == index.shape[1]  # each entry once, in its place
    expected = sgd_factorize_masked(dense, M, 1, 2, init=start)
    assert torch.equal(U, expected[0]) and torch.equal(V, expected[1])
