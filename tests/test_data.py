"""The data sets: what load_ratings and load_coursework_matrix promise, and what they refuse."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mf_data import load_coursework_matrix, load_ratings

MOVIELENS = Path(os.environ.get("MOVIELENS", Path(__file__).resolve().parents[1] / "data/ml-latest-small"))


@pytest.fixture(scope="module")
def synthetic():
    return load_ratings()


def test_the_coursework_matrix_is_the_printed_one_with_two_entries_missing():
    A, M = load_coursework_matrix()
    assert A.dtype == torch.float32 and M.dtype == torch.bool
    assert torch.equal(A[1], torch.tensor([3.3359, 0.0492, 1.8374])) and A[2, 2] == 2.2620
    assert torch.nonzero(~M).tolist() == [[1, 0], [2, 1]]


def test_synthetic_ratings_have_the_size_and_scale_of_the_exercise(synthetic):
    A, M = synthetic.A, synthetic.M
    assert A.shape == M.shape == (1000, 10_000) and A.dtype == torch.float32 and M.dtype == torch.bool
    assert set(A[M].unique().tolist()) == {1, 2, 3, 4, 5} and not A[~M].any()
    assert 0.45 < M.float().mean() < 0.55
    assert M.any(1).all() and M.any(0).all()


def test_synthetic_ratings_are_the_same_on_any_machine(synthetic):
    def digest(X):
        return hashlib.sha256(np.ascontiguousarray(X.numpy())).hexdigest()[:16]

    assert digest(synthetic.A) == "d8681d2838c6b2b5"
    assert digest(synthetic.expected) == "729f194d6b140d46"


def test_another_seed_gives_other_ratings(synthetic):
    other = load_ratings(seed=1)
    assert not torch.equal(other.A, synthetic.A)
    assert other.titles[124] == "A Beautiful Mind" and not other.M[124, 4]


def test_synthetic_titles_say_that_they_are_invented(synthetic):
    titles = synthetic.titles
    assert len(set(titles)) == len(titles) == 1000
    assert titles[124] == "A Beautiful Mind"
    assert all(
        f"[invented {g}]" in t for i, (t, g) in enumerate(zip(titles, synthetic.genres, strict=True)) if i != 124
    )
    assert "synthetic" in synthetic.note.lower()


def test_ratings_scatter_about_the_expected_rating_without_bias(synthetic):
    left = (synthetic.A - synthetic.expected)[synthetic.M]
    assert abs(left.mean()) < 0.001 and 0.7 < left.std() < 0.9
    for low in range(1, 5):
        cell = synthetic.M & (synthetic.expected >= low) & (synthetic.expected < low + 1)
        assert abs((synthetic.A - synthetic.expected)[cell].mean()) < 0.01


def test_popular_movies_are_rated_more_and_better(synthetic):
    count = synthetic.M.sum(1).float()
    assert count.max() > 3 * count.median() / 2 and count.min() < count.median() / 3
    assert torch.corrcoef(torch.stack([count, synthetic.expected.mean(1)]))[0, 1] > 0.3


def test_tastes_go_by_genre(synthetic):
    """Two movies of a genre are more alike to the users than two of different genres."""
    E = synthetic.expected - synthetic.expected.mean(1, keepdim=True) - synthetic.expected.mean(0)
    alike = torch.corrcoef(E)
    genre = np.array(synthetic.genres)
    same = torch.from_numpy(genre[:, None] == genre[None, :]) & ~torch.eye(1000, dtype=torch.bool)
    assert alike[same].mean() > 0.3 > 0.05 > alike[~same].mean()


@pytest.fixture
def movielens(tmp_path):
    """A small folder in MovieLens's format; movie 9 has no rating."""
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n7,3,4.5,0\n2,3,0.5,0\n2,1,5.0,0\n7,8,3.0,0\n", encoding="utf-8"
    )
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n1,"Amélie, or <b>not</b>",Comedy\n3,Three,Drama|War\n8,Eight,Drama\n9,None,Drama\n',
        encoding="utf-8",
    )
    return tmp_path


def test_movielens_rows_are_movies_and_columns_users_in_the_order_of_their_numbers(movielens):
    ratings = load_ratings("movielens", movielens)
    assert ratings.A.tolist() == [[5.0, 0.0], [0.5, 4.5], [0.0, 3.0]]
    assert torch.equal(ratings.M, ratings.A > 0)
    assert ratings.titles == ["Amélie, or <b>not</b>", "Three", "Eight"]
    assert ratings.source == "movielens" and "cite" in ratings.note


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("ratings.csv", "4.5", "6.5", "ratings.csv.*outside.*line 2"),
        ("ratings.csv", "7,8,3.0", "7,8,nan", "ratings.csv has 'nan' on line 5: rating needs a number"),
        ("ratings.csv", "7,8,3.0", "7,8,", "ratings.csv has an empty field on line 5"),
        ("ratings.csv", "7,8,3.0", "7.5,8,3", "line 5: userId needs a whole number"),
        ("movies.csv", "9,None", "8,None", "movies.csv has a second line.*line 5"),
        ("ratings.csv", "2,1,5.0", "2,3,5.0", "ratings.csv.*second rating.*line 4"),
        ("ratings.csv", "7,8,", "7,88,", "ratings.csv.*movies.csv does not have.*line 5"),
        ("ratings.csv", "rating,", "stars,", "ratings.csv has no column rating"),
        ("movies.csv", "title", "name", "movies.csv has no column title"),
    ],
)
def test_a_broken_movielens_file_is_refused_with_its_line(movielens, file, old, new, words):
    text = (movielens / file).read_text(encoding="utf-8")
    assert old in text
    (movielens / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        load_ratings("movielens", movielens)


def test_an_empty_or_missing_movielens_file_is_refused(movielens):
    (movielens / "ratings.csv").write_text("")
    with pytest.raises(ValueError, match=r"ratings.csv is not a CSV file"):
        load_ratings("movielens", movielens)
    (movielens / "ratings.csv").unlink()
    with pytest.raises(FileNotFoundError, match="ratings.csv is missing.*data/README.md"):
        load_ratings("movielens", movielens)


@pytest.mark.skipif(not MOVIELENS.is_dir(), reason="no data/ml-latest-small; set MOVIELENS to where it is")
def test_the_real_movielens_has_its_published_size():
    ratings = load_ratings("movielens", MOVIELENS)
    assert ratings.A.shape == (9724, 610) and ratings.M.sum() == 100_836
    assert sum("Beautiful Mind" in title for title in ratings.titles) == 1


@pytest.fixture
def course(tmp_path):
    """A small folder in the course's format, the titles out of order."""
    torch.save(torch.tensor([[0.0, 5.0], [1.0, 0.0], [3.0, 2.0]]), tmp_path / "ratings.pt")
    (tmp_path / "titles.csv").write_text("movie,name\n1,One\n0,Zero\n2,Two\n")
    return tmp_path


def test_course_zeros_are_not_ratings(course):
    ratings = load_ratings("course", course)
    assert ratings.M.tolist() == [[False, True], [True, False], [True, True]]
    assert ratings.titles == ["Zero", "One", "Two"]


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("owned",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Evil(), "not a tensor"),
        ({"a": torch.ones(2)}, "two-dimensional float tensor"),
        (torch.ones(3), "two-dimensional float tensor"),
        (torch.ones(3, 2, dtype=torch.int64), "two-dimensional float tensor"),
        (torch.full((3, 2), 6.0), "other than 0"),
        (torch.full((3, 2), float("nan")), "other than 0"),
        (torch.ones(4, 2), "one line for each of the 4 movies"),
    ],
)
def test_a_broken_course_file_is_refused_and_no_pickle_is_run(course, monkeypatch, content, words):
    monkeypatch.chdir(course)
    torch.save(content, "ratings.pt")
    with pytest.raises(ValueError, match=words):
        load_ratings("course", course)
    assert not Path("owned").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04"])
def test_a_course_file_of_other_bytes_is_refused(course, content):
    (course / "ratings.pt").write_bytes(content)
    with pytest.raises(ValueError, match="ratings.pt is not a tensor"):
        load_ratings("course", course)


def test_wrong_arguments_are_named():
    for call, words in [
        (lambda: load_ratings("netflix"), "source is 'netflix'.*'movielens'"),
        (lambda: load_ratings("movielens"), "path is missing"),
        (lambda: load_ratings(path="x"), "path is 'x'"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
