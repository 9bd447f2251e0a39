"""The data sets: what load_ratings and load_coursework_matrix promise, and what they refuse."""

import hashlib
import http.server
import io
import os
import re
import signal
import struct
import subprocess
import tempfile
import threading
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import MOVIELENS, examples, with_movielens
from hypothesis import given
from hypothesis import strategies as st

import mf_data
import mf_files
from mf_core import damped_means, reconstruction_loss
from mf_data import download_ratings, load_coursework_matrix, load_ratings, load_start


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
    assert (
        A.shape == M.shape == (1000, 10_000) and A.dtype == torch.float32 and M.dtype == torch.bool
    )
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
        f"[invented {g}]" in t
        for i, (t, g) in enumerate(zip(titles, synthetic.genres, strict=True))
        if i != 124
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


# ------------------------------------------------------------------------------------------------------------ MovieLens

RATINGS = "userId,movieId,rating,timestamp\n7,3,4.5,0\n2,3,0.5,0\n2,1,5.0,0\n7,8,3.0,0\n"
MOVIES = (  # a title over two lines; movie 9 has no rating
    'movieId,title,genres\n1,"Amélie, or\n<b>not</b>",Comedy\n3,"""Three"" $5",Drama|War\n8,Eight,Drama\n9,None,Drama\n'
)


@pytest.fixture
def movielens(tmp_path):
    (tmp_path / "ratings.csv").write_text(RATINGS, encoding="utf-8")
    (tmp_path / "movies.csv").write_text(MOVIES, encoding="utf-8")
    return tmp_path


def zipped(file, members, compression=zipfile.ZIP_DEFLATED):
    """A zip file with these (name, content) pairs."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file


@pytest.fixture
def archive(tmp_path):
    return zipped(
        tmp_path / "ml.zip",
        [("ml/ratings.csv", RATINGS), ("ml/movies.csv", MOVIES), ("ml/README.txt", "")],
    )


def same(a, b):
    """Whether two records are equal; whether their tables are dense or sparse does not matter."""
    return torch.equal(a.A.to_dense(), b.A.to_dense()) and (a.titles, a.genres) == (
        b.titles,
        b.genres,
    )


def test_movielens_rows_are_movies_and_columns_users_in_the_order_of_their_numbers(movielens):
    ratings = load_ratings("movielens", movielens)
    assert (
        ratings.A.tolist() == [[5.0, 0.0], [0.5, 4.5], [0.0, 3.0]]
        and ratings.A.dtype == torch.float32
    )
    assert torch.equal(ratings.M, ratings.A > 0)
    assert ratings.titles == ["Amélie, or\n<b>not</b>", '"Three" $5', "Eight"]
    assert ratings.genres == ["Comedy", "Drama|War", "Drama"]
    assert ratings.source == "movielens" and "cite" in ratings.note


def test_a_zip_is_read_without_unpacking_it_wherever_the_files_are_in_it(movielens, archive):
    before = sorted(movielens.iterdir())
    assert same(load_ratings("movielens", archive), load_ratings("movielens", movielens))
    assert sorted(movielens.iterdir()) == before
    flat = zipped(movielens / "flat.zip", [("movies.csv", MOVIES), ("ratings.csv", RATINGS)])
    assert same(load_ratings("movielens", flat), load_ratings("movielens", movielens))


def test_a_table_too_large_for_dense_comes_as_a_sparse_one_that_mf_core_takes(
    movielens, archive, monkeypatch
):
    dense = load_ratings("movielens", movielens)
    monkeypatch.setattr(mf_data, "MAX_CELLS", 5)
    sparse = load_ratings("movielens", archive)
    assert sparse.A.layout == torch.sparse_coo and sparse.A.is_coalesced() and sparse.M is None
    assert same(sparse, dense)
    U, V = torch.ones(3, 1), torch.ones(2, 1)
    assert reconstruction_loss(sparse.A, U, V) == reconstruction_loss(dense.A, U, V, dense.M)
    for a, b in zip(
        damped_means(sparse.A, None, 5), damped_means(dense.A, dense.M, 5), strict=True
    ):
        assert torch.allclose(a, b)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "ratings.csv",
            "4.5",
            "6.5",
            "ratings.csv has '6.5' on line 2: rating needs a number from 0.5 to 5",
        ),
        (
            "ratings.csv",
            "7,8,3.0",
            "7,8,nan",
            "ratings.csv has 'nan' on line 5: rating needs a number",
        ),
        ("ratings.csv", "7,8,3.0", "7,8,inf", "'inf' on line 5: rating"),
        ("ratings.csv", "7,8,3.0", "7,8,0", "'0' on line 5: rating"),
        ("ratings.csv", "7,8,3.0", "7,8,", "ratings.csv has an empty field on line 5"),
        ("ratings.csv", "7,8,3.0,0", "7,8,3.0,", "an empty field on line 5: timestamp"),
        ("ratings.csv", "7,8,3.0", "7,8,5.5", "'5.5' on line 5: rating"),
        ("ratings.csv", "7,8,3.0", "7,8,3\0", "ratings.csv has a NUL character on line 5"),
        ("ratings.csv", "7,8,3.0", "7.5,8,3", "'7.5' on line 5: userId needs a whole number"),
        ("ratings.csv", "7,8,3.0", "-7,8,3", "'-7' on line 5: userId needs a whole number from 0"),
        ("ratings.csv", "7,8,3.0", "4294967298,8,3", "'4294967298' on line 5: userId"),
        ("ratings.csv", "7,8,3.0", "7," + "8" * 5000 + ",3", "'888.* on line 5: movieId"),
        ("ratings.csv", "2,1,5.0", "2,3,5.0", "ratings.csv.*second rating.*line 4"),
        ("ratings.csv", "7,8,", "7,88,", "ratings.csv.*movies.csv lacks.*line 5"),
        (
            "ratings.csv",
            "7,3,4.5,0",
            "7,3,4.5,0,1",
            "ratings.csv has 5 fields on line 2; it needs 4",
        ),
        (
            "ratings.csv",
            RATINGS[32:],
            "1,7,3,4.5,0\n1,2,3,0.5,0\n",
            "ratings.csv has 5 fields on line 2; it needs 4",
        ),
        ("ratings.csv", "7,8,3.0,0\n", "7,8", "ratings.csv has 2 fields on line 5; it needs 4"),
        (
            "ratings.csv",
            "rating,",
            "stars,",
            "ratings.csv has no column rating; its first line needs userId,movieId,r",
        ),
        ("ratings.csv", RATINGS[32:], "", "ratings.csv has no rating"),
        ("ratings.csv", RATINGS, "", "ratings.csv has no column userId, movieId, rating"),
        ("movies.csv", MOVIES, "", "movies.csv has no column movieId, title, genres"),
        ("movies.csv", "title", "name", "movies.csv has no column title"),
        ("movies.csv", "9,None", "8,None", "movies.csv has a second line for movieId 8, line 6"),
        ("movies.csv", "Eight", "", "movies.csv has an empty field on line 5: title"),
        ("movies.csv", "Eight", "Eight, The", "movies.csv has 4 fields on line 5"),
        ("movies.csv", "8,Eight", "1_0,Eight", "movies.csv has '1_0' on line 5"),
        ("movies.csv", "8,Eight", '8,"Eight', "movies.csv cannot be read .*unexpected end of data"),
        ("movies.csv", "Eight", '"Eight"s', "movies.csv cannot be read .*expected after"),
        ("movies.csv", "Eight,Drama", "Eight,Dr\0ma", "movies.csv has a NUL character on line 5"),
        ("ratings.csv", "7,8,3.0,0", "7,8,3.0,\0", "ratings.csv has a NUL character on line 5"),
        ("ratings.csv", "7,8,3.0", '7,"8,3.0', "ratings.csv cannot be read .*unexpected end"),
        ("movies.csv", "Eight", "E" * 200_000, "movies.csv cannot be read .*a line is longer"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_broken_movielens_file_is_refused_with_its_line(movielens, packed, file, old, new, words):
    content = {"ratings.csv": RATINGS, "movies.csv": MOVIES}
    assert old in content[file]
    content[file] = content[file].replace(old, new)
    for name, text in content.items():
        (movielens / name).write_text(text, encoding="utf-8")
    path = zipped(movielens / "ml.zip", content.items()) if packed else movielens
    with pytest.raises(ValueError, match=words) as error:
        load_ratings("movielens", path)
    assert str(path / file) in str(error.value)


def test_lines_are_counted_through_blank_lines_and_fields_that_span_lines(movielens):
    text = RATINGS.replace("7,3,4.5,0\n", '\n\n"7\n",3,4.5,0\n').replace("\n", "\r\n")
    (movielens / "ratings.csv").write_text(text, encoding="utf-8", newline="")
    assert len(load_ratings("movielens", movielens).titles) == 3
    bad = text.replace("7,8,3.0", "2,1,3.0")
    (movielens / "ratings.csv").write_text(bad, encoding="utf-8", newline="")
    line = bad.split("\r\n").index("2,1,3.0,0") + 1
    with pytest.raises(ValueError, match=f"second rating.*line {line}"):
        load_ratings("movielens", movielens)


@pytest.mark.parametrize("file", ["ratings.csv", "movies.csv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "utf-8-sig"])
def test_another_encoding_is_refused_but_for_a_mark_at_the_start(movielens, file, encoding):
    expected = load_ratings("movielens", movielens)
    ratings = "é," + RATINGS.replace("\n", "\n1,").removesuffix(
        "1,"
    )  # one more column, with an accent
    text = ratings if file == "ratings.csv" else MOVIES
    (movielens / file).write_bytes(text.encode(encoding))
    if encoding == "utf-8-sig":
        assert same(load_ratings("movielens", movielens), expected)
    else:
        with pytest.raises(ValueError, match=rf"{file} (is not text in UTF-8|has no column)"):
            load_ratings("movielens", movielens)


def test_a_missing_file_or_a_folder_in_its_place_is_named(movielens):
    (movielens / "ratings.csv").unlink()
    with pytest.raises(FileNotFoundError, match="ratings.csv is missing.*data/README.md"):
        load_ratings("movielens", movielens)
    (movielens / "ratings.csv").mkdir()
    with pytest.raises(FileNotFoundError, match="ratings.csv is a folder"):
        load_ratings("movielens", movielens)
    with pytest.raises(FileNotFoundError, match="no.zip is missing"):
        load_ratings("movielens", movielens / "no.zip")
    with pytest.raises(
        ValueError, match="movies.csv is neither a folder nor a sound zip file .*: name one of them"
    ):
        load_ratings("movielens", movielens / "movies.csv")


GOOD = [("ratings.csv", RATINGS), ("movies.csv", MOVIES)]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([*GOOD, ("../evil.txt", "")], "'../evil.txt', outside its own folder"),
        ([*GOOD, ("ml/../../evil.txt", "")], "outside its own folder"),
        ([*GOOD, ("..\\evil.txt", "")], "outside its own folder"),
        ([*GOOD, ("/etc/evil.txt", "")], "outside its own folder"),
        ([*GOOD, ("C:/evil.txt", "")], "outside its own folder"),
        ([*GOOD, ("more/ratings.csv", RATINGS)], "has 2 files ratings.csv; it needs one"),
        (GOOD[:1], "has 0 files movies.csv; it needs one"),
        ([GOOD[0], ("movies.csv", MOVIES + "\n" * 1_300_000)], "unpacks to far too much"),
    ],
)
def test_a_hostile_zip_is_refused(tmp_path, members, words):
    with pytest.raises(ValueError, match=words) as error:
        load_ratings("movielens", zipped(tmp_path / "ml.zip", members))
    assert str(tmp_path / "ml.zip") in str(error.value)


def test_a_zip_of_repetitive_text_is_read(tmp_path):
    """What is small may be packed more than a hundredfold."""
    packed = zipped(tmp_path / "ml.zip", [GOOD[0], ("movies.csv", MOVIES + "\n" * 1_000_000)])
    assert load_ratings("movielens", packed).titles


def test_a_zip_that_unpacks_to_more_than_it_declares_is_read_no_further(tmp_path):
    """The declared size of ratings.csv, 50 MB, is changed to its first rows, in both headers."""
    file = zipped(tmp_path / "ml.zip", [GOOD[1], ("ratings.csv", RATINGS + "\n" * 50_000_000)])
    declared, small = struct.pack("<L", len(RATINGS) + 50_000_000), struct.pack("<L", len(RATINGS))
    content = file.read_bytes()
    assert content.count(declared) == 2
    file.write_bytes(content.replace(declared, small))
    read = 0

    def counted(self, *arguments):
        nonlocal read
        block = inner(self, *arguments)
        read += len(block)
        return block

    inner = zipfile.ZipExtFile.read
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(ValueError, match="ratings.csv cannot be read .*CRC"),
    ):
        patch.setattr(zipfile.ZipExtFile, "read", counted)
        load_ratings("movielens", file)
    assert read < 10_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_byte_of_a_zip_of_another_compression_changes_nothing_or_is_refused_by_name(
    tmp_path, compression
):
    file = zipped(tmp_path / "ml.zip", GOOD, compression)
    content, expected, refused = file.read_bytes(), load_ratings("movielens", file), 0
    first = content.index(b"ratings.csv") + len("ratings.csv")  # where what is packed starts
    for k in range(first, first + 40):
        file.write_bytes(content[:k] + bytes([content[k] ^ 0xFF]) + content[k + 1 :])
        try:
            assert same(load_ratings("movielens", file), expected)
        except ValueError as error:
            assert str(file) in str(error)
            refused += 1
    assert refused > 30


@with_movielens
def test_the_real_movielens_has_its_published_size():
    ratings = load_ratings("movielens", MOVIELENS)
    assert ratings.A.shape == (9724, 610) and ratings.M.sum() == 100_836
    assert sum("Beautiful Mind" in title for title in ratings.titles) == 1


@st.composite
def tables(draw):
    """{(user, movie): rating} and {movie: title} of a small table; some movies unrated."""
    title = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
    movies = draw(st.dictionaries(st.integers(0, 2**31 - 1), title, min_size=1, max_size=5))
    users = st.integers(0, 2**31 - 1)
    stars = st.integers(1, 10).map(lambda k: k / 2)
    return draw(
        st.dictionaries(st.tuples(users, st.sampled_from(sorted(movies))), stars, min_size=1)
    ), movies


def in_files(ratings, movies):
    """The contents of ratings.csv and movies.csv, as pandas writes them."""
    table = pd.DataFrame([(*pair, stars, 0) for pair, stars in ratings.items()])
    table.columns = ["userId", "movieId", "rating", "timestamp"]
    titles = pd.DataFrame([(movie, title, "Drama") for movie, title in movies.items()])
    titles.columns = ["movieId", "title", "genres"]
    return [
        ("ratings.csv", table.to_csv(index=False, lineterminator="\r\n")),
        ("movies.csv", titles.to_csv(index=False, lineterminator="\r\n")),
    ]


@examples(30)
@given(tables())
def test_any_table_comes_back_from_a_folder_a_zip_and_as_a_sparse_one(drawn):
    ratings, movies = drawn
    rows, cols = (sorted({pair[k] for pair in ratings}) for k in (1, 0))
    A = torch.zeros(len(rows), len(cols))
    for (user, movie), stars in ratings.items():
        A[rows.index(movie), cols.index(user)] = stars
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, content in in_files(ratings, movies):
            Path(folder, name).write_bytes(content.encode())
        packed = zipped(Path(folder, "ml.zip"), in_files(ratings, movies))
        read = [load_ratings("movielens", folder), load_ratings("movielens", packed)]
        patch.setattr(mf_data, "MAX_CELLS", 0)
        read.append(load_ratings("movielens", packed))
    assert all(
        torch.equal(r.A.to_dense(), A) and r.titles == [movies[movie] for movie in rows]
        for r in read
    )


def consistent(ratings, low):
    """Whether a record keeps what `Ratings` promises."""
    m, n = ratings.A.shape
    stars = ratings.A[ratings.M]
    return (
        ratings.A.dtype == torch.float32
        and torch.equal(ratings.M, ratings.A != 0)
        and len(ratings.titles) == m > 0
        and all(ratings.titles)
        and n > 0
        and len(stars) > 0
        and low <= stars.min()
        and stars.max() <= 5
    )


mutations = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)),
    min_size=1,
    max_size=4,
)


def mutated(content, changes):
    """The bytes with some replaced by others, inserted or dropped, at places given as a share of the whole."""
    for where, drop, insert in changes:
        k = int(where * len(content))
        content = content[:k] + insert + content[k + drop :]
    return content


def loads_well_or_is_refused(source, path, low):
    try:
        assert consistent(load_ratings(source, path), low)
    except (ValueError, FileNotFoundError) as error:
        assert str(path) in str(error)


@examples(150)
@given(
    st.sampled_from(["ratings.csv", "movies.csv", "ml.zip", "ml.zip"]),
    st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    mutations,
)
def test_changed_bytes_of_movielens_files_load_consistently_or_are_refused_by_name(
    name, compression, changes
):
    with tempfile.TemporaryDirectory() as folder:
        for file, content in GOOD:
            Path(folder, file).write_bytes(content.encode())
        path = Path(folder)
        if name == "ml.zip":
            path = zipped(path / name, GOOD, compression)
        changed = Path(folder, name)
        changed.write_bytes(mutated(changed.read_bytes(), changes))
        loads_well_or_is_refused("movielens", path, low=0.5)


# ---------------------------------------------------------------------------------------------- small things, easily missed


def test_the_cell_that_the_exercise_predicts_is_not_rated_whatever_the_seed():
    assert not any(load_ratings(seed=seed, users=5).M[124, 4] for seed in range(6))


def test_the_courseworks_numbers_are_float32_whatever_torchs_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = load_coursework_matrix()[0], *load_start("1.2"), *load_start("3.1")
    finally:
        torch.set_default_dtype(before)
    assert {X.dtype for X in found} == {torch.float32}


def test_a_table_of_ratings_is_dense_up_to_the_largest_number_of_cells(movielens, monkeypatch):
    for cells, layout in ((6, torch.strided), (5, torch.sparse_coo)):  # it has 3 x 2
        monkeypatch.setattr(mf_data, "MAX_CELLS", cells)
        assert load_ratings("movielens", movielens).A.layout == layout


def test_a_table_longer_than_what_is_read_at_a_time_is_read_whole(movielens, monkeypatch):
    expected = load_ratings("movielens", movielens)
    monkeypatch.setattr(mf_data, "CHUNK", 3)
    monkeypatch.setattr(mf_data, "records", None)  # not by the slow reader
    assert torch.equal(load_ratings("movielens", movielens).A, expected.A)


def test_the_last_part_of_a_table_is_checked_as_the_first(movielens, monkeypatch):
    monkeypatch.setattr(mf_data, "CHUNK", 3)
    (movielens / "ratings.csv").write_text(RATINGS.replace("8,3.0", "8,9.0"))
    with pytest.raises(ValueError, match="'9.0' on line 5"):
        load_ratings("movielens", movielens)


def test_na_is_a_word_like_any_other_in_a_title_and_in_a_column_that_is_not_asked_for(
    movielens, monkeypatch
):
    expected = load_ratings("movielens", movielens)
    lines = RATINGS.splitlines()
    more = ["tag," + lines[0], *("NA," + line for line in lines[1:])]
    (movielens / "ratings.csv").write_text("\n".join(more) + "\n")
    (movielens / "movies.csv").write_text(MOVIES.replace("Eight", "NA"), encoding="utf-8")
    monkeypatch.setattr(mf_data, "records", None)  # nor does it call the slow reader
    found = load_ratings("movielens", movielens)
    assert torch.equal(found.A, expected.A) and found.titles[2] == "NA"


def test_an_end_of_line_within_a_title_is_kept(movielens):
    for title in ("a\rb", "a\nb", "a\r\nb"):
        text = MOVIES.replace("Eight", f'"{title}"')
        (movielens / "movies.csv").write_bytes(text.encode())
        assert load_ratings("movielens", movielens).titles[2] == title


def test_blank_lines_before_the_header_are_skipped(movielens):
    expected = load_ratings("movielens", movielens)
    (movielens / "ratings.csv").write_text("\n\n" + RATINGS)
    (movielens / "movies.csv").write_text("\r\n" + MOVIES, encoding="utf-8", newline="")
    assert same(load_ratings("movielens", movielens), expected)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_of_an_endless_line_no_more_is_read_than_a_line_may_have(movielens, packed, monkeypatch):
    content = (RATINGS + "7,8," + "3" * 20_000_000).encode()
    (movielens / "ratings.csv").write_bytes(content)
    stored = zipfile.ZipFile(movielens / "ml.zip", "w")  # without compression
    with stored:
        stored.writestr("ratings.csv", content)
        stored.writestr("movies.csv", MOVIES)
    read, inner = 0, mf_files._Bounded.readinto

    def counted(self, buffer):
        nonlocal read
        found = inner(self, buffer)
        read += found
        return found

    monkeypatch.setattr(mf_files._Bounded, "readinto", counted)
    with pytest.raises(ValueError, match="ratings.csv cannot be read .*a line is longer than"):
        load_ratings("movielens", movielens / "ml.zip" if packed else movielens)
    assert 0 < read < 2_000_000


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_line_may_have_as_many_bytes_as_the_bound_and_no_more(monkeypatch, end):
    monkeypatch.setattr(mf_files, "MAX_LINE", 8)

    def read(text):
        raw = mf_files._Bounded(io.BytesIO(text.encode()))
        return io.BufferedReader(raw, 16).read().decode()

    for before in ("", "ab" + end, "abcd" + end, ("ab" + end) * 9):
        for longest in (before + "x" * 8, before + "x" * 8 + end + "ab" + end):
            assert read(longest) == longest
        with pytest.raises(OSError, match="longer than 8 bytes"):
            read(before + "x" * 9)


@pytest.mark.parametrize("block", [1, 2])
def test_ctrl_c_while_ratings_are_read_is_no_fault_of_the_file(
    movielens, block, interruptible, monkeypatch
):
    """pandas makes an error of its own of it, and the slow reader would start from the beginning."""
    inner, calls = mf_files._Bounded.readinto, []

    def interrupted(self, buffer):
        calls.append(buffer)
        if len(calls) == block:
            signal.raise_signal(signal.SIGINT)
        return inner(self, buffer)

    monkeypatch.setattr(mf_data, "by_number", lambda *_: {})
    monkeypatch.setattr(mf_files._Bounded, "readinto", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_ratings("movielens", movielens)


def test_sorting_in_parts_is_sorting():
    generator = np.random.default_rng(0)
    for place in (generator.integers(0, 50, 300), np.array([7]), np.arange(40)[::-1]):
        assert np.array_equal(mf_data._order(place), np.argsort(place, kind="stable"))


# ----------------------------------------------------------------------------------------------------------- the course's

TITLES = "movie,name\n1,One\n0,Zero\n2,Two\n"  # out of order


@pytest.fixture
def course(tmp_path):
    torch.save(torch.tensor([[0.0, 5.0], [1.0, 0.0], [3.0, 2.5]]), tmp_path / "ratings.pt")
    (tmp_path / "titles.csv").write_text(TITLES)
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
        ([torch.ones(3, 2), Evil()], "not a tensor"),
        ({"a": torch.ones(2)}, "two-dimensional float tensor"),
        (torch.ones(3), "two-dimensional float tensor"),
        (torch.ones(3, 2, dtype=torch.int64), "two-dimensional float tensor"),
        (torch.ones(3, 2, dtype=torch.complex64), "two-dimensional float tensor"),
        (torch.ones(3, 2).to(torch.float8_e5m2), "not a tensor|two-dimensional float tensor"),
        (torch.ones(3, 2).to_sparse(), "two-dimensional float tensor"),
        (
            torch.nested.nested_tensor([torch.ones(2)] * 3),
            "not a tensor|two-dimensional float tensor",
        ),
        (torch.ones(3, 2, device="meta"), "two-dimensional float tensor"),
        (torch.ones(1).expand(10**6, 10**6), "at most"),
        (torch.ones(0, 2), "no rating"),
        (torch.zeros(3, 2), "no rating"),
        (torch.full((3, 2), 6.0), "other values"),
        (torch.full((3, 2), 0.5), "other values"),
        (torch.full((3, 2), float("nan")), "other values"),
        (torch.full((3, 2), float("inf")), "other values"),
        (torch.ones(4, 2), "titles.csv has no title for movie 3.*each of the 4 movies"),
    ],
)
@pytest.mark.parametrize("zipformat", [True, False])
def test_a_broken_course_file_is_refused_and_no_pickle_is_run(
    course, monkeypatch, content, words, zipformat
):
    monkeypatch.chdir(course)
    torch.save(content, "ratings.pt", _use_new_zipfile_serialization=zipformat)
    with pytest.raises(ValueError, match=words) as error:
        load_ratings("course", course)
    assert str(course) in str(error.value) and not Path("owned").exists()
    if isinstance(content, Evil):  # the pickle would have done it
        torch.load("ratings.pt", weights_only=False)
        assert Path("owned").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04"])
def test_a_course_file_of_other_bytes_is_refused(course, content):
    (course / "ratings.pt").write_bytes(content)
    with pytest.raises(ValueError, match="ratings.pt is not a tensor"):
        load_ratings("course", course)


def test_a_course_file_that_unpacks_to_far_too_much_is_refused(course):
    with zipfile.ZipFile(course / "ratings.pt") as saved:
        members = [(name, saved.read(name)) for name in saved.namelist()]
    zipped(
        course / "ratings.pt",
        [(n, bytes(10**7) if n.endswith("data/0") else c) for n, c in members],
    )
    with pytest.raises(ValueError, match="ratings.pt is not a tensor.*unpacks to far too much"):
        load_ratings("course", course)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1,One\n", "", "no title for movie 1"),
        ("1,One\n", "3,Three\n", "'3' on line 2: movie needs a whole number from 0 to 2"),
        ("2,Two\n", "2,Two\n3,Three\n", "'3' on line 5: movie"),
        ("2,Two\n", "1,Two\n", "second line for movie 1, line 4"),
        ("0,Zero\n", '0,"Zero\n"\n-1,Two\n', "'-1' on line 5"),
        ("0,Zero\n", "0,\n", "empty field on line 3: name"),
        ("movie,name", "movie,title", "no column name"),
        ("Zero", "Z\0ro", "a NUL character on line 3"),
        ("Two", '"Two', "cannot be read .*unexpected end"),
        ("Zero", '"Ze"ro', "cannot be read .*expected after"),
        (TITLES, "", "no column movie, name"),
    ],
)
def test_course_titles_that_do_not_match_the_rows_are_refused(course, old, new, words):
    assert old in TITLES
    (course / "titles.csv").write_text(TITLES.replace(old, new))
    with pytest.raises(ValueError, match=f"titles.csv.*{words}"):
        load_ratings("course", course)


def test_a_missing_course_file_is_named(course):
    (course / "titles.csv").unlink()
    with pytest.raises(FileNotFoundError, match="titles.csv is missing.*data/README.md"):
        load_ratings("course", course)
    with pytest.raises(FileNotFoundError, match="ratings.pt is missing"):
        load_ratings("course", course / "titles.csv")


@examples(40)
@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 2.5, 5]), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    st.data(),
)
def test_any_course_table_comes_back(rows, data):
    A = torch.tensor(rows)
    A[0, 0] = 4
    kind = data.draw(st.sampled_from([torch.float16, torch.float32, torch.float64]))
    order = data.draw(st.permutations(range(len(A))))
    with tempfile.TemporaryDirectory() as folder:
        torch.save(A.to(kind).T.contiguous().T, Path(folder, "ratings.pt"))
        Path(folder, "titles.csv").write_text(
            "movie,name\n" + "".join(f"{k},Film {k}\n" for k in order)
        )
        ratings = load_ratings("course", folder)
    assert torch.equal(ratings.A, A) and torch.equal(ratings.M, A > 0)
    assert ratings.titles == [f"Film {k}" for k in range(len(A))]


def saved_bytes(zipformat):
    buffer = io.BytesIO()
    torch.save(
        torch.tensor([[0.0, 5.0], [1.0, 0.0], [3.0, 2.5]]),
        buffer,
        _use_new_zipfile_serialization=zipformat,
    )
    return buffer.getvalue()


@examples(150)
@given(st.sampled_from(["ratings.pt", "titles.csv"]), st.booleans(), mutations)
def test_changed_bytes_of_course_files_load_consistently_or_are_refused_by_name(
    name, zipformat, changes
):
    content = {"ratings.pt": saved_bytes(zipformat), "titles.csv": TITLES.encode()}
    content[name] = mutated(content[name], changes)
    with tempfile.TemporaryDirectory() as folder:
        for file, data in content.items():
            Path(folder, file).write_bytes(data)
        loads_well_or_is_refused("course", Path(folder), low=1)


@pytest.mark.parametrize("bad", [1e-46, 0.5, 5.5, -1.0, float("nan"), float("inf")])
def test_one_bad_value_among_good_ones_is_refused(course, bad):
    A = torch.tensor([[0.0, 5.0], [1.0, 0.0], [3.0, 2.5]], dtype=torch.float64)
    A[2, 1] = bad
    torch.save(A, course / "ratings.pt")
    with pytest.raises(ValueError, match="ratings.pt has no rating or other values"):
        load_ratings("course", course)


def test_a_tensor_of_too_many_cells_is_refused_and_one_at_the_bound_taken(course, monkeypatch):
    monkeypatch.setattr(mf_data, "MAX_CELLS", 6)  # it has 3 x 2
    assert load_ratings("course", course).A.shape == (3, 2)
    monkeypatch.setattr(mf_data, "MAX_CELLS", 5)
    with pytest.raises(ValueError, match="at most 5 cells"):
        load_ratings("course", course)


def test_a_tensor_with_another_number_than_was_saved_is_refused(course):
    file = course / "ratings.pt"
    old, new = (torch.tensor([x]).numpy().tobytes() for x in (2.5, 4.5))
    content = file.read_bytes()
    assert content.count(old) == 1
    file.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match="ratings.pt is not a tensor.*checksum is wrong"):
        load_ratings("course", course)


def test_a_tensor_that_is_not_the_published_one_is_warned_of_by_name(course, published):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_ratings("course", course)
    torch.save(torch.ones(3, 2), course / "ratings.pt")
    words = re.escape(f"{course / 'ratings.pt'} is not the file that the course published")
    with pytest.warns(UserWarning, match=words) as caught:
        load_ratings("course", course)
    assert [warning.filename for warning in caught] == [__file__]  # where it is called


# ------------------------------------------------------------------------------------------------------------- downloads


@pytest.fixture
def page(monkeypatch):
    """A page on loopback: its `url`, and `files`, {name: (status, content, declared length, seconds before it)}."""
    files, requests, done = {}, [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            status, content, length, seconds = files.get(self.path[1:], (404, b"", 0, 0))
            done.wait(seconds)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.end_headers()
            with suppress(BrokenPipeError):  # the other side has given up
                self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    class Page:
        def __init__(self, url):
            self.url, self.files, self.requests = url, files, requests

        def put(self, name, content, status=200, length=None, seconds=0):
            files[name] = status, content, length, seconds

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield Page(f"http://127.0.0.1:{server.server_port}")
    done.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def published(page, course, archive, monkeypatch):
    """The page with small files in place of the published ones, and their checksums."""
    blob = subprocess.run(
        ["git", "hash-object", "ratings.pt"], cwd=course, capture_output=True, text=True, check=True
    )
    titles = (course / "titles.csv").read_bytes()
    monkeypatch.setitem(mf_data.CHECKSUMS, "ratings.pt", f"git blob {blob.stdout.strip()}")
    monkeypatch.setitem(
        mf_data.CHECKSUMS, "titles.csv", f"SHA-256 {hashlib.sha256(titles).hexdigest()}"
    )
    page.put("ratings.pt", (course / "ratings.pt").read_bytes())
    page.put("titles.csv", titles)
    page.put("ml-latest-small.zip", archive.read_bytes())
    return page


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_downloaded_loads_and_is_not_downloaded_again(published, tmp_path):
    data = tmp_path / "data"
    for _ in range(2):
        assert (
            load_ratings("course", download_ratings("course", data, url=published.url)).titles[1]
            == "One"
        )
        assert load_ratings(
            "movielens", download_ratings("movielens", data, url=published.url + "/")
        ).A.shape == (3, 2)
    assert published.requests == ["/ratings.pt", "/titles.csv", "/ml-latest-small.zip"]
    assert files_in(data) == [
        "course/ratings.pt",
        "course/titles.csv",
        "movielens/ml-latest-small.zip",
    ]


@pytest.mark.parametrize(
    ("source", "name"),
    [("course", "ratings.pt"), ("course", "titles.csv"), ("movielens", "ml-latest-small.zip")],
)
@pytest.mark.parametrize(
    "fault", ["cut off", "shorter", "other bytes", "missing", "slow", "refused"]
)
def test_a_download_that_breaks_leaves_nothing_and_names_the_url(
    published, tmp_path, source, name, fault
):
    content, url = published.files[name][1], published.url
    if fault == "cut off":
        published.put(name, content[:-10], length=len(content))
    elif fault == "shorter":  # and the server says nothing of it
        published.put(name, content[:-10])
    elif fault == "other bytes":
        published.put(name, content.replace(b"1", b"2"))
    elif fault == "missing":
        del published.files[name]
    elif fault == "slow":
        published.put(name, content, seconds=20)
    else:
        url, name = "http://127.0.0.1:9", mf_data.FILES[source][0]
    words = {
        "missing": "404 Client Error",
        "slow": "timed out",
        "refused": "refused",
        "cut off": "IncompleteRead",
    }
    with pytest.raises((OSError, ValueError)) as error:
        download_ratings(source, tmp_path / "data", url=url, timeout=0.3 if fault == "slow" else 30)
    message = str(error.value)
    assert message.startswith(f"{url}/{name}") and "\n" not in message
    assert words.get(fault, "wrong or damaged file") in message
    assert (
        f"put {name} into {tmp_path / 'data' / source} by hand" in message
        and "data/README.md" in message
    )
    assert not any(name in file for file in files_in(tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        load_ratings(source, tmp_path / "data" / mf_data.PLACES[source])


def test_a_file_that_differs_is_the_users_and_is_kept(published, tmp_path):
    for source, name in [("course", "titles.csv"), ("movielens", "ml-latest-small.zip")]:
        mine = tmp_path / "data" / source / name
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("mine")
        with pytest.raises(ValueError, match=rf"{re.escape(str(mine))} is kept.*Move it away"):
            download_ratings(source, tmp_path / "data", url=published.url)
        assert mine.read_text() == "mine"


def test_make_data_gets_both_sources_where_load_ratings_looks_for_them(
    published, tmp_path, monkeypatch, capsys
):
    data = tmp_path / "data"
    monkeypatch.setattr(mf_data, "DATA", data)
    monkeypatch.setattr(mf_data, "PAGES", dict.fromkeys(mf_data.PAGES, published.url))
    titles = published.files.pop("titles.csv")
    assert mf_data.main() == 1
    assert len(capsys.readouterr().err.split("cannot be downloaded")) == 2
    published.files["titles.csv"] = titles
    assert mf_data.main() == 0
    assert load_ratings("course").titles == ["Zero", "One", "Two"]
    assert load_ratings("movielens").A.shape == (3, 2)


@pytest.mark.parametrize("mine", ["a file", "a dangling link"])
def test_what_appears_during_a_download_is_kept_and_so_is_the_download(
    published, tmp_path, mine, monkeypatch
):
    file, check = tmp_path / "data/course/ratings.pt", mf_data._check

    def meanwhile(unfinished):
        if mine == "a file":
            file.write_text("mine")
        else:
            file.symlink_to("nowhere")
        check(unfinished)

    monkeypatch.setattr(mf_data, "_check", meanwhile)
    with pytest.raises(FileExistsError, match=re.escape(f"{file} has appeared meanwhile")) as error:
        download_ratings("course", tmp_path / "data", url=published.url)
    spare = Path(str(error.value).split("the download is ")[1])
    assert spare.read_bytes() == published.files["ratings.pt"][1]
    assert file.is_symlink() if mine == "a dangling link" else file.read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_written_through(published, tmp_path):
    file = tmp_path / "data/course/ratings.pt"
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="ratings.pt is kept, but is not right"):
        download_ratings("course", tmp_path / "data", url=published.url)
    assert file.is_symlink() and not (tmp_path / "elsewhere").exists()


def test_what_a_killed_download_left_is_cleared_and_nothing_else_used(
    published, tmp_path, monkeypatch
):
    """A folder for temporary files may lie in another file system, whence nothing can be linked."""
    left = tmp_path / "data/course/unfinished-abc"
    left.mkdir(parents=True)
    (left / "ratings.pt").write_text("half")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    download_ratings("course", tmp_path / "data", url=published.url)
    assert files_in(tmp_path / "data") == ["course/ratings.pt", "course/titles.csv"]
    assert not left.exists()


@pytest.mark.parametrize("place", ["data", "data/course"])
def test_a_file_in_place_of_the_folder_is_named(published, tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    with pytest.raises(NotADirectoryError, match=f"{place} is a file.*move it away"):
        download_ratings("course", tmp_path / "data", url=published.url)
    assert (tmp_path / place).read_text() == "mine"


def test_addresses_and_checksums_are_those_of_the_account_of_the_data():
    account = (mf_data.DATA / "README.md").read_text(encoding="utf-8")
    for source, page in mf_data.PAGES.items():
        assert f"<{page}" in account
        for name in mf_data.FILES[source]:
            assert f"data/{source}/{name}" in account
    for checksum in mf_data.CHECKSUMS.values():
        assert checksum.split()[-1] in account


def test_wrong_arguments_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mf_data, "DATA", tmp_path)
    for call, words in [
        (lambda: load_ratings("netflix"), "source is 'netflix'.*'movielens'"),
        (lambda: load_ratings("movielens"), "ml-latest-small.zip is missing.*make data"),
        (lambda: load_ratings(path="x"), "path is 'x'"),
        (lambda: download_ratings("synthetic"), "source is 'synthetic'.*'course' or 'movielens'"),
        (lambda: load_ratings(seed=-1), "seed is -1; .*from 0"),
        (lambda: load_ratings(seed=None), "seed is None"),
        (lambda: load_ratings(seed=True), "seed is True"),
        (lambda: load_ratings(users=4), "users is 4; .*from 5"),
        (lambda: load_ratings(source=["x"]), r"source is \['x'\]"),
        (lambda: load_ratings("course", 5), "path is 5; it needs"),
        (lambda: download_ratings(["x"]), r"source is \['x'\]"),
        (lambda: download_ratings("course", url=5), "url is 5"),
        (lambda: download_ratings("course", 5), "folder is 5; it needs"),
    ]:
        with pytest.raises((TypeError, ValueError, FileNotFoundError), match=words):
            call()
