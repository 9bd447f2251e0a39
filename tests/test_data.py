"""The data sets: what the loaders promise, and what they refuse."""

import hashlib
import http.server
import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import torch

import mf_data
from mf_data import download_ratings, load_ratings, read_movies, read_ratings


def test_the_coursework_matrix_is_the_printed_one_with_two_entries_missing():
    A, M = mf_data.load_coursework_matrix()
    assert torch.equal(A[1], torch.tensor([3.3359, 0.0492, 1.8374])) and A[2, 2] == 2.2620
    assert M.dtype == torch.bool and torch.nonzero(~M).tolist() == [[1, 0], [2, 1]]


def test_ml_latest_small_is_the_published_one():
    account = (mf_data.DATA / "README.md").read_text(encoding="utf-8")
    for name in ("ratings.csv", "movies.csv"):
        digest = hashlib.sha256((mf_data.DATA / "movielens" / name).read_bytes()).hexdigest()
        assert f"`movielens/{name}` | {digest}" in account
    ratings = load_ratings()
    assert ratings.A.shape == (9724, 610) and ratings.M.sum() == 100_836
    assert ratings.titles[3635] == "Beautiful Mind, A (2001)"


# Users and movies out of order; the last movie has no rating.
RATINGS = "7,3,4.5,9\n2,3,0.5,7\n2,1,5.0,8\n7,8,3.0,6\n"
MOVIES = '3,"B": $5,War\n1,Amélie,Comedy\n8,NA,War\n9,None,War\n'
FLAGS = {",Comedy": "||||0|0|0|0|0|1" + "|0" * 13, ",War": "||||0" + "|0" * 16 + "|1|0"}
CSV = {
    "ratings.csv": "userId,movieId,rating,timestamp\n" + RATINGS,
    "movies.csv": "movieId,title,genres\n" + MOVIES.replace('"B": $5', '"""B"": $5"'),
}
DAT = {"ratings.dat": RATINGS.replace(",", "::"), "movies.dat": MOVIES.replace(",", "::")}
ML_100K = {"u.data": RATINGS.replace(",", "\t"), "u1.base": "2\t3\t0.5\t7\n", "u.item": MOVIES}
for genre, flags in FLAGS.items():
    ML_100K["u.item"] = ML_100K["u.item"].replace(genre, flags)
ML_100K["u.item"] = ML_100K["u.item"].replace(",", "|")
TABLE = [[5.0, 0.0], [0.5, 4.5], [0.0, 3.0]]
TIMES = [[8, 0], [7, 9], [0, 6]]
TITLES = ["Amélie", '"B": $5', "NA"]


def stored(path, files, encoding="utf-8"):
    """A folder, or a zip where the path ends so, with these files."""
    folder = path.with_suffix("")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode(encoding, "surrogateescape"))
    if path.suffix == ".zip":
        shutil.make_archive(folder, "zip", folder.parent, folder.name)
    return path


@pytest.mark.parametrize("name", ["ml", "ml.zip"])
@pytest.mark.parametrize(("files", "encoding"), [
    (CSV, "utf-8"), (CSV, "utf-8-sig"), (DAT, "utf-8"), (DAT, "latin-1"), (ML_100K, "latin-1"),
], ids=["ml-25m", "with a mark", "ml-10m", "ml-1m", "ml-100k"])  # fmt: skip
def test_every_published_format_gives_movies_by_users(tmp_path, name, files, encoding):
    path = stored(tmp_path / "its own folder" / name, files, encoding)
    ratings = load_ratings(path=path if name == "ml.zip" else path.parent)
    assert ratings.A.tolist() == TABLE and ratings.A.dtype == torch.float32
    assert torch.equal(ratings.M, ratings.A > 0)
    assert ratings.times.tolist() == TIMES and ratings.times.dtype == torch.int64
    assert ratings.titles == TITLES and ratings.genres == ["Comedy", "War", "War"]


def test_the_tables_and_a_fold_are_read_as_they_stand(tmp_path):
    ratings, movies = read_ratings(stored(tmp_path / "ml", CSV)), read_movies(tmp_path / "ml")
    assert ratings["rating"].tolist() == [4.5, 0.5, 5.0, 3.0]
    dtypes = {"userId": "int32", "movieId": "int32", "rating": "float32"}
    assert ratings.dtypes.astype(str).to_dict() == dtypes
    assert movies.to_csv(index=False) == CSV["movies.csv"]
    assert ratings.equals(read_ratings(tmp_path / "ml" / "ratings.csv"))
    fold = stored(tmp_path / "ml-100k", ML_100K, "latin-1") / "u1.base"
    assert load_ratings(path=fold).titles == ['"B": $5']


def test_a_table_of_too_many_cells_for_a_dense_one_is_sparse(tmp_path, monkeypatch):
    path = stored(tmp_path / "ml", CSV)
    monkeypatch.setattr(mf_data, "MAX_CELLS", 5)  # it has 3 x 2
    ratings = load_ratings(path=path)
    assert ratings.A.is_sparse and ratings.A.is_coalesced() and ratings.M is None
    assert ratings.A.to_dense().tolist() == TABLE and ratings.times.to_dense().tolist() == TIMES


@pytest.mark.parametrize("name", ["ml", "ml.zip"])
@pytest.mark.parametrize(("file", "old", "new", "words"), [
    ("ratings.csv", "4.5", "6.5", "a rating outside 0.5 to 5.*'movieId': 3.*6.5"),
    ("ratings.csv", "4.5", "0", "a rating outside 0.5 to 5"),
    ("ratings.csv", "3.0", "", "an empty field"),
    ("ratings.csv", "7,8,3.0,6\n", "7,8,3.0,6,1\n", "Expected 4 fields in line 5, saw 5"),
    ("ratings.csv", ".", ",", "more fields"),
    ("ratings.csv", "7,8,", "4294967298,8,", "cannot be read"),
    ("ratings.csv", "rating,", "stars,", "rating.* not in"),
    ("ratings.csv", CSV["ratings.csv"][32:], "", "no line"),
    ("ratings.csv", "2,1,5.0", "2,3,5.0", "a second rating of movie 3 by user 2"),
    ("ratings.csv", "7,8,", "7,88,", "rates movie 88 and has no title"),
    ("ratings.csv", RATINGS, "1,1,5,9.65E+08\n1,3,4,9.66E+08\n", "has rounded its timestamps"),
    ("movies.csv", "9,", "8,", "lists movie 8 twice"),
    ("movies.csv", "é", "\udce9", "codec can't decode"),
])  # fmt: skip
def test_a_broken_file_is_named_in_a_line(tmp_path, monkeypatch, name, file, old, new, words):
    monkeypatch.setattr(mf_data, "CHUNK", 3)  # so that some faults lie in the second part
    path = stored(tmp_path / name, CSV | {file: CSV[file].replace(old, new)})
    with pytest.raises(ValueError, match=words) as error:
        load_ratings(path=path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "files", "words"), [
    ("ml.zip", None, " is missing.*make data"),
    (__file__, None, " is neither a folder nor a sound zip file"),
    ("ml", {"README.txt": ""}, " has 0 of ratings.csv, .*; it needs one"),
    ("ml.zip", CSV | {"more/ratings.csv": ""}, " has 2 of"),
    ("ml", {"ratings.csv": ""}, "/movies.csv is missing.*data/README.md"),
    ("ml.zip", CSV | {"movies.csv": "\n" * 1_300_000}, " unpacks to far too much .*movies.csv"),
])  # fmt: skip
def test_what_is_no_whole_set_is_refused(tmp_path, name, files, words):
    path = tmp_path / name
    if files is not None:
        stored(path, files)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{name}{words}"):
        load_ratings(path=path)


@pytest.fixture
def course(tmp_path):
    A = torch.tensor([[0, 1, 3], [5, 0, 2.5]], dtype=torch.float64).T  # neither contiguous
    torch.save(A, tmp_path / "ratings.pt")
    (tmp_path / "titles.csv").write_text("movie,name\n1,One\n0,Zero\n2,NA\n")
    return tmp_path


def test_course_zeros_are_not_ratings_and_titles_go_by_their_numbers(course):
    ratings = load_ratings("course", course)
    assert ratings.A.tolist() == [[0, 5], [1, 0], [3, 2.5]] and ratings.A.dtype == torch.float32
    assert torch.equal(ratings.M, ratings.A > 0) and ratings.titles == ["Zero", "One", "NA"]
    with pytest.raises(ValueError, match="source is 'netflix'.*'movielens' or 'course'"):
        load_ratings("netflix")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("owned",))


@pytest.mark.parametrize(("name", "content", "words"), [
    ("ratings.pt", Evil(), "not a tensor"),
    ("ratings.pt", torch.ones(3, 2, dtype=torch.int64), "2-D float tensor"),
    ("ratings.pt", torch.ones(1).expand(10**6, 10**6), "at most"),
    ("ratings.pt", torch.zeros(3, 2), "no rating"),
    ("ratings.pt", torch.full((3, 2), 6.0), "other values"),
    ("titles.csv", "movie,name\n0,Zero\n1,One\n", "one title for each of the 3 movies"),
])  # fmt: skip
def test_a_broken_course_file_is_named_and_not_run(course, monkeypatch, name, content, words):
    monkeypatch.chdir(course)
    if isinstance(content, str):
        Path(name).write_text(content)
    else:
        torch.save(content, name)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{course / name} .*{words}"):
        load_ratings("course", course)
    assert not Path("owned").exists()


@pytest.fixture
def page(course, monkeypatch):
    """A folder that loopback serves: small files in place of the published, and their checksums."""
    folder = course / "page"
    folder.mkdir()
    for name in ("ratings.pt", "titles.csv"):
        (course / name).rename(folder / name)
    stored(folder / "ml-1m.zip", DAT, "latin-1")
    tensor = (folder / "ratings.pt").read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(tensor) + tensor).hexdigest()
    titles = hashlib.sha256((folder / "titles.csv").read_bytes()).hexdigest()
    monkeypatch.setattr(mf_data, "CHECKSUMS", {"ratings.pt": blob, "titles.csv": titles})
    monkeypatch.setattr(mf_data, "DATA", course / "data")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(mf_data, "COURSE_PAGE", url)
        monkeypatch.setattr(mf_data, "MOVIELENS_PAGE", url)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder
        server.shutdown()


@pytest.mark.filterwarnings("error")
def test_make_data_gets_the_course_or_the_set_that_is_named_and_never_again(page, monkeypatch):
    for _ in range(2):
        for names in ([], ["ml-1m"]):
            monkeypatch.setattr(sys, "argv", ["mf_data", *names])
            mf_data.main()
        shutil.rmtree(page, ignore_errors=True)
    assert load_ratings("course").titles[0] == "Zero"
    assert load_ratings(path=mf_data.DATA / "ml-1m.zip").titles == TITLES


@pytest.mark.parametrize("name", ["ratings.pt", "titles.csv", "ml-1m.zip", "ml-none.zip"])
def test_a_download_that_breaks_leaves_nothing_and_names_the_url(page, name):
    if (page / name).exists():  # else there is no such page
        (page / name).write_bytes((page / name).read_bytes()[:-10])
    with pytest.raises(OSError, match=f"{mf_data.COURSE_PAGE}{name} cannot be .*by hand"):
        download_ratings(name[:-4] if "ml" in name else "course", mf_data.DATA)
    assert not [*mf_data.DATA.rglob(f"{name}*")]


def test_a_file_of_the_users_is_kept_and_its_difference_from_the_published_one_told(page):
    mine = mf_data.DATA / "course/ratings.pt"
    mine.parent.mkdir(parents=True)
    torch.save(torch.ones(3, 2), mine)
    folder = download_ratings("course", mf_data.DATA)
    with pytest.warns(UserWarning, match=f"{mine} is not the file that the course") as caught:
        assert load_ratings("course", folder).A.tolist() == [[1, 1]] * 3
    assert caught[0].filename == __file__  # where it was asked for
