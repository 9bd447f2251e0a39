"""mf_train: the same bits for any number of threads and processes, and after a kill; what is refused; what is told."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mf_ring
import mf_train
from mf_core import damped_means, reconstruction_loss, sgd_factorize_masked

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, RANK = 6, 5
OPTIONS = [f"--epochs={EPOCHS}", f"--rank={RANK}", "--strata=8", "--seed=3", "--lr=0.02"]


def write_ratings(folder, users=200, movies=60, count=4000, seed=0):
    """A folder as MovieLens's: popular movies first, user and movie numbers with gaps, the lines in random order."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    place = rng.choice(users * movies, count, False, np.tile(1 / np.arange(1, movies + 1), users) / users / sum(1 / np.arange(1, movies + 1)))  # fmt: skip
    lines = [f"{3 * (p // movies) + 1},{7 * (p % movies) + 2},{rng.integers(1, 11) / 2},0" for p in place]  # fmt: skip
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines, ""]))
    titles = [f"{7 * j + 2},Film {j},Drama" for j in range(movies)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles, ""]))
    return folder


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    return write_ratings(tmp_path_factory.mktemp("data") / "ratings")


def start(processes, *arguments, **options):
    """The command in a new process, or by torchrun in several; its output is gathered."""
    run = [sys.executable, "-m"]
    if processes > 1:
        run += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen([*run, "mf_train", *map(str, arguments)], text=True, cwd=ROOT, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip


def finished(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, out + err
    return out


@pytest.fixture(scope="module")
def alone(ratings, tmp_path_factory):
    """The file that one process with one thread writes."""
    file = tmp_path_factory.mktemp("alone") / "factors.safetensors"
    assert mf_train.main([str(ratings), f"--out={file}", *OPTIONS]) == 0
    return file


def workers(launcher):
    """The processes that torchrun has started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return [int(pid) for pid in children]


# ------------------------------------------------------------------------------------------------------- the same bits


def as_matrix(file, held_out):
    """What mf_core takes: the ratings that the seed leaves for training or holds out, users as rows, sparse."""
    found = load_file(file)
    table = np.loadtxt(held_out / "ratings.csv", delimiter=",", skiprows=1)
    test = torch.from_numpy(np.random.default_rng(3).random(len(table)) < 0.1)
    index = torch.stack([torch.searchsorted(found[side].long(), torch.from_numpy(table[:, k]).long())
                         for k, side in enumerate(("users", "movies"))])  # fmt: skip
    values, shape = (
        torch.from_numpy(table[:, 2]).float(),
        (len(found["users"]), len(found["movies"])),
    )
    return [
        torch.sparse_coo_tensor(index[:, k], values[k], shape).coalesce() for k in (~test, test)
    ]


def less_means(A, found):
    rows, cols = A.indices()
    left = A.values() - (found["mu"] + found["row"][rows] + found["col"][cols])
    return torch.sparse_coo_tensor(A.indices(), left, A.shape, is_coalesced=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_process_writes_the_bits_of_mf_core_on_any_number_of_threads(ratings, alone, threads):
    found = load_file(alone)
    train, _ = as_matrix(alone, ratings)
    generator = torch.Generator().manual_seed(3)
    init = tuple(0.1 * torch.rand(size, RANK, generator=generator) for size in train.shape)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        settings = {"weight_decay": 0.1, "init": init, "strata": 8}
        U, V = sgd_factorize_masked(less_means(train, found), None, RANK, EPOCHS, 0.02, **settings)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(U, found["U"]) and torch.equal(V, found["V"])


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_several_processes_write_the_file_of_one_to_the_bit(ratings, alone, tmp_path, processes):
    out = tmp_path / "new/folder/factors.safetensors"
    said = finished(start(processes, ratings, f"--out={out}", *OPTIONS))
    assert out.read_bytes() == alone.read_bytes()
    assert said.count("epoch") == EPOCHS + 1 and "held-out RMSE" in said
    passes = 2 * EPOCHS  # the held-out RMSE takes one as well
    sent = processes * passes * load_file(out)["V"].numel() * 4
    assert f" MB; {sent:,} bytes of V sent" in said
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_team_is_what_torchrun_says_and_leaves_a_machine_only_if_there_are_several(monkeypatch):
    asked = []
    monkeypatch.setattr(mf_ring.dist, "init_process_group", lambda *_, **options: asked.append(options))  # fmt: skip
    for name, number in {"RANK": 3, "LOCAL_RANK": 1, "GROUP_RANK": 2, "WORLD_SIZE": 6, "LOCAL_WORLD_SIZE": 2}.items():  # fmt: skip
        monkeypatch.setenv(name, str(number))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    team = mf_ring.Team(7)
    assert (team.rank, team.local, team.machine, team.size) == (3, 1, 2, 6)
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    assert [options["timeout"].total_seconds() for options in asked] == [7]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "6")
    mf_ring.Team(7)
    assert os.environ.get("GLOO_SOCKET_IFNAME") == ("lo" if sys.platform == "linux" else None)
    for name in ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name)
    team = mf_ring.Team(7)
    assert (team.rank, team.local, team.machine, team.size) == (0, 0, 0, 1) and len(asked) == 2


def killed(launcher, out):
    """Kill one worker, and not by a signal that it could hear, as soon as a first checkpoint is there."""
    while not out.exists():
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.02)
    os.kill(workers(launcher)[-1], signal.SIGKILL)
    begin = time.monotonic()
    _, err = launcher.communicate(timeout=60)
    return err, time.monotonic() - begin


def test_a_killed_process_ends_the_others_and_the_run_resumes_to_the_same_bits(ratings, tmp_path, capfd):  # fmt: skip
    out, whole = tmp_path / "killed.safetensors", tmp_path / "whole.safetensors"
    launcher = start(2, ratings, f"--out={out}", *OPTIONS, "--epochs=9999")
    err, took = killed(launcher, out)
    assert launcher.returncode != 0 and took < 30
    assert (
        "mf_train: process 0: lost another process" in err or "mf_train: process 0: stopped" in err
    )
    epochs = mf_train.read_facts(out)["epoch"] + 2
    for file, more in ((out, ["--resume"]), (whole, [])):
        options = [f"--out={file}", *OPTIONS, f"--epochs={epochs}", *more]
        assert mf_train.main([str(ratings), *options]) == 0
    assert out.read_bytes() == whole.read_bytes()
    said = capfd.readouterr().out
    assert said.count(f"epoch {epochs - 1} of") == 2 and said.count(f"epoch {epochs - 2} of") == 1


def test_two_processes_resume_what_one_has_begun_to_the_same_bits(ratings, alone, tmp_path):
    out = tmp_path / "factors.safetensors"
    begun = [str(ratings), f"--out={out}", *OPTIONS, "--epochs=2"]
    assert mf_train.main(begun) == 0 and out.read_bytes() != alone.read_bytes()
    said = finished(start(2, ratings, f"--out={out}", *OPTIONS, "--resume"))
    assert out.read_bytes() == alone.read_bytes() and "epoch 2 of" not in said


def test_ctrl_c_ends_a_run_at_once_with_a_message_and_a_whole_file(ratings, tmp_path):
    out = tmp_path / "factors.safetensors"
    process = start(1, ratings, f"--out={out}", *OPTIONS, "--epochs=9999")
    while not out.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1 and err.startswith("mf_train: stopped; --resume goes on")
    assert mf_train.read_facts(out)["epoch"] >= 1


# ------------------------------------------------------------------------------------------------- what is written


def test_means_are_those_of_damped_means_and_the_rmse_is_that_of_the_held_out_ratings(
    ratings, alone
):
    found, (train, test) = load_file(alone), as_matrix(alone, ratings)
    for ours, theirs in zip(("mu", "row", "col"), damped_means(train, None, 5), strict=True):
        torch.testing.assert_close(found[ours], theirs, rtol=0, atol=1e-6)
    loss = reconstruction_loss(less_means(test, found), found["U"], found["V"])
    rmse = mf_train.read_facts(alone)["rmse"]
    assert rmse == pytest.approx((loss / len(test.values())).sqrt().item(), rel=1e-6)


def test_a_file_tells_its_settings_titles_and_numbers(ratings, alone):
    facts, found = mf_train.read_facts(alone), load_file(alone)
    assert facts["titles"][:2] == ["Film 0", "Film 1"] and found["movies"][:2].tolist() == [2, 9]
    assert int.from_bytes(alone.read_bytes()[:8], "little") % 8 == 0  # so that tensors are aligned
    assert facts["epoch"] == EPOCHS and facts["settings"] == {
        "rank": RANK, "lr": 0.02, "weight_decay": 0.1, "damping": 5.0, "strata": 8, "seed": 3, "held_out": 0.1,
    }  # fmt: skip
    assert found["U"].shape == (len(found["users"]), RANK) and len(found["col"]) == len(found["V"])


def test_recommend_prints_the_best_titles_that_a_user_has_not_rated(ratings, alone, capfd):
    found = load_file(alone)
    user = int(found["users"][4])
    stars = found["mu"] + found["row"][4] + found["col"] + found["V"] @ found["U"][4]
    order = stars.argsort(descending=True).tolist()
    assert mf_train.main(["recommend", str(alone), f"--user={user}", "--count=3"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines == [f"{stars[k]:.2f}  Film {(found['movies'][k] - 2) // 7}" for k in order[:3]]
    assert mf_train.main(["recommend", str(alone), f"--user={user}", "--count=99", f"--ratings={ratings}"]) == 0  # fmt: skip
    table = np.loadtxt(ratings / "ratings.csv", delimiter=",", skiprows=1)
    rated = {f"Film {int(movie - 2) // 7}" for movie in table[table[:, 0] == user, 1]}
    titles = [line.split("  ")[1] for line in capfd.readouterr().out.splitlines()]
    assert len(titles) == len(found["movies"]) - len(rated) and not rated & set(titles)


def test_a_checkpoint_is_written_every_n_epochs_and_after_the_last(ratings, tmp_path, monkeypatch):
    written, save = [], mf_train.save
    monkeypatch.setattr(mf_train, "save", lambda *what: written.append(what[-1]["epoch"]) or save(*what))  # fmt: skip
    for every, expected in ((1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])):
        out = tmp_path / f"{every}.safetensors"
        assert mf_train.main([str(ratings), f"--out={out}", *OPTIONS, "--epochs=5", f"--checkpoint={every}"]) == 0  # fmt: skip
        assert written == expected and mf_train.read_facts(out)["epoch"] == 5
        written.clear()


def test_a_file_is_replaced_by_a_whole_one_or_not_at_all(
    ratings, alone, tmp_path, monkeypatch, capfd
):
    out = tmp_path / "factors.safetensors"
    shutil.copy(alone, out)
    monkeypatch.setattr(
        mf_train.os, "fsync", lambda file: (_ for _ in ()).throw(OSError("disk full"))
    )
    more = [str(ratings), f"--out={out}", *OPTIONS, f"--epochs={EPOCHS + 1}", "--resume"]
    assert mf_train.main(more) == 1 and "disk full" in capfd.readouterr().err
    assert out.read_bytes() == alone.read_bytes()


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("option, before", [("rank=6", "5"), ("lr=0.01", "0.02"), ("weight-decay=0.2", "0.1"), ("damping=4", "5.0"),
                                            ("strata=7", "8"), ("seed=4", "3"), ("held-out=0.2", "0.1")])  # fmt: skip
def test_other_settings_are_refused_at_resume(ratings, alone, capfd, option, before):
    arguments = [str(ratings), f"--out={alone}", *OPTIONS, "--resume", f"--{option}"]
    content = alone.read_bytes()
    assert mf_train.main(arguments) == 1 and alone.read_bytes() == content
    assert f"--{option.split('=')[0]} is {option.split('=')[1]}" in (err := capfd.readouterr().err)
    assert f"and was {before} for {alone}" in err


def test_another_file_is_refused_at_resume_and_a_file_that_is_there_without_it(tmp_path, ratings, alone, capfd):  # fmt: skip
    content = alone.read_bytes()
    other = write_ratings(tmp_path / "other", seed=1)
    assert mf_train.main([str(other), f"--out={alone}", *OPTIONS, "--resume"]) == 1
    assert f"{alone} is of other ratings than {other}" in capfd.readouterr().err
    assert mf_train.main([str(ratings), f"--out={alone}", *OPTIONS]) == 1
    assert "--resume goes on, or move it away" in capfd.readouterr().err
    assert alone.read_bytes() == content
    (foreign := tmp_path / "notes.safetensors").write_text("my notes")
    assert mf_train.main([str(ratings), f"--out={foreign}", *OPTIONS, "--resume"]) == 1
    assert f"{foreign} holds no factors" in capfd.readouterr().err
    assert foreign.read_text() == "my notes"


@pytest.mark.parametrize("wrong", [["--rank=0"], ["--lr=nan"], ["--lr=inf"], ["--epochs=2.5"], ["--held-out=1"], ["--damping=-1"],
                                   ["--seed=-1"], ["--seed=9223372036854775808"], ["--epochs=10000"], ["--lr=10"], ["--lr=0"], ["--patience=1e6"], ["--damping=1e9"], ["--weight-decay=10"], ["--strata=10000"], ["--checkpoint=10000"], ["--rank=10000"],
                                   ["--checkpoint=0"], ["--weight-decay=x"], ["--strata=0"]])  # fmt: skip
def test_a_bad_option_is_named(ratings, tmp_path, capfd, wrong):
    with pytest.raises(SystemExit):
        mf_train.main([str(ratings), f"--out={tmp_path / 'x'}", *wrong])
    assert f"{wrong[0].split('=')[0]}" in capfd.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_what_is_not_given_has_its_default(tmp_path, capsys):
    train = vars(mf_train.parsed(["ml.zip", f"--out={tmp_path / 'x'}"]))
    assert {name: train[name] for name in train if name not in ("ratings", "out")} == {
        "resume": False, "rank": 32, "epochs": 20, "lr": 0.02, "weight_decay": 0.1, "damping": 5.0, "strata": 8,
        "seed": 0, "held_out": 0.1, "checkpoint": 1, "patience": 30.0,
    }  # fmt: skip
    assert str(train["out"]) == f"{tmp_path / 'x'}.safetensors"
    recommend = mf_train.parsed(["recommend", "x", "--user=3"])
    assert (recommend.user, recommend.count, recommend.ratings) == (3, 10, None)
    for wrong, word in [(["ml.zip"], "--out"), (["recommend", "x"], "--user is -1"), (["recommend", "x", "--user=2147483648"], "--user"),
                        (["recommend", "x", "--user=1", "--count=0"], "--count is 0"), (["recommend", "x", "--user=1", "--count=1000000"], "--count is 1000000")]:  # fmt: skip
        with pytest.raises(SystemExit):
            mf_train.parsed(wrong)
        assert word in capsys.readouterr().err.splitlines()[-1]


def test_the_least_of_every_option_is_taken(ratings, tmp_path):
    least = [f"--{name}={low}" for name, low in {"rank": 1, "epochs": 1, "strata": 1, "seed": 0, "held-out": 0, "damping": 0,
                                                 "checkpoint": 1, "lr": 1e-9, "weight-decay": 0}.items()]  # fmt: skip
    assert mf_train.main([str(ratings), f"--out={tmp_path / 'x'}", *least]) == 0
    found = load_file(tmp_path / "x.safetensors")
    assert found["U"].shape == (200, 1) and found["row"].abs().max() > 0


def test_fewer_strata_than_processes_are_refused(ratings, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WORLD_SIZE", "9")
    with pytest.raises(SystemExit):
        mf_train.main([str(ratings), f"--out={tmp_path / 'x'}"])
    assert "--strata is 8; 9 processes need as many at least" in capfd.readouterr().err


@pytest.mark.parametrize("line, option, message", [
    ("1,2,9,0", "--lr=0.01", "rating needs a number from 0.5 to 5"),
    ("", "--strata=61", "200 users, 60 movies and .* lower --strata"),
    ("4,999,3,0", "--lr=0.01", "lacks movie 999"),
    ("again", "--lr=0.01", "has two ratings of movie .* by user .*: drop one"),
    ("", "--lr=9", "in epoch [1-6]: lower --lr"),
])  # fmt: skip
def test_bad_ratings_and_what_does_not_fit_them_are_refused(tmp_path, capfd, line, option, message):
    folder = write_ratings(tmp_path / "ratings")
    lines = (folder / "ratings.csv").read_text().splitlines()
    with (folder / "ratings.csv").open("a") as file:
        file.write(lines[1] if line == "again" else line)
    assert mf_train.main([str(folder), f"--out={tmp_path / 'x'}", *OPTIONS, option]) == 1
    err = capfd.readouterr().err
    assert re.search(message, err), err
    assert [path.name for path in tmp_path.iterdir()] == ["ratings"]


def test_ratings_that_are_missing_are_named(tmp_path, capfd):
    assert mf_train.main([str(tmp_path / "none"), f"--out={tmp_path / 'x'}"]) == 1
    assert "/none is missing" in capfd.readouterr().err and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named_with_its_option(ratings, tmp_path, capfd):
    (tmp_path / "notes").write_text("mine")
    assert mf_train.main([str(ratings), f"--out={tmp_path / 'notes/x'}"]) == 1
    assert re.search("--out: its folder cannot be made .*/notes", capfd.readouterr().err)


def test_recommend_names_what_is_missing(alone, tmp_path, capfd):
    assert mf_train.main(["recommend", str(tmp_path / "none"), "--user=1"]) == 1
    assert "none.safetensors is missing" in capfd.readouterr().err
    assert mf_train.main(["recommend", str(alone), "--user=2"]) == 1
    assert "--user is 2" in capfd.readouterr().err


def test_runs_of_rows_without_a_rating_and_popular_movies_are_no_obstacle(tmp_path):
    """One movie has nearly all ratings: most runs of movies are empty, and travel nevertheless."""
    folder = tmp_path / "ratings"
    folder.mkdir()
    lines = [f"{user},1,{1 + user % 5},0" for user in range(40)] + [
        f"0,{k},3,0" for k in range(2, 9)
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines, ""]))
    titles = [f"{k},Film {k},Drama" for k in range(1, 9)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles, ""]))
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    options = ["--strata=8", "--epochs=2", "--held-out=0"]
    assert mf_train.main([str(folder), f"--out={one}", *options]) == 0
    finished(start(2, folder, f"--out={two}", *options))
    assert one.read_bytes() == two.read_bytes()
    more = [str(folder), f"--out={one}", *options, "--epochs=3", "--resume"]
    assert mf_train.main(more) == 0 and mf_train.read_facts(one)["epoch"] == 3


# ------------------------------------------------------------------------------- the page "Larger than one machine"


def in_units(text):
    """Its numbers times what follows them: '0.25 ms' and '250 µs' are the same; a range has both ends."""
    units = {"million": 1e6, "billion": 1e9, "MB": 1e6, "GB": 1e9, "ms": 1e-3, "ns": 1e-9, "minutes": 60, "hours": 3600}  # fmt: skip
    found = re.findall(r"([\d.,]*\d)\s*([A-Za-z]*)", text)
    last = units.get(found[-1][1], 1)
    return [float(x.replace(",", "")) * (units.get(unit) or last) for x, unit in found]


def test_what_the_page_works_out_follows_from_its_constants():
    lines = (ROOT / "report/scale.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    table = {row[0]: row[1:] for row in cells}
    costs = dict(zip((16, 32, 64), in_units(table["$t_k$, one core, rank 16, 32, 64"][0]), strict=True))  # fmt: skip
    delay, bandwidth = in_units(table["$L$, two processes on one machine"][0])[0], 1.25e9
    low, high = in_units(next(row[1] for row in cells if row[0].startswith("reading `r")))
    sizes = next(row[1:] for row in cells if "100 million ratings" in row)
    worked_out = {name: row for name, row in table.items() if len(row) == len(sizes) == 3 and name.strip("-")}  # fmt: skip
    for column, size in enumerate(sizes):
        said = {name: in_units(row[column]) for name, row in worked_out.items()}
        (N,), (m, n, k) = in_units(size), said["users x movies, rank"]
        P, S = said["processes $P$, strata $S$"]
        b, c, chain = 8 * n * k / bandwidth, 4 * delay, N * costs[k]
        expected = {
            "an epoch on one core": [chain],
            "an epoch on $P$": [chain / P],
            "sent by a process in an epoch": [4 * n * k, 4 * n * k / bandwidth],
            "largest useful $P$": [int((-b + (b * b + 4 * c * chain) ** 0.5) / (2 * c))],
            "ratings in a process, 12 bytes each": [12 * N / P],
            "factors of its users": [4 * m * k / P],
            "levels and numbers of all users and movies": [70 * (m + n)],
            "reading the file": [N / high, N / low],
        }
        assert S == 2 * P and chain / (2 * P * S) >= 4 * n * k / S / bandwidth + delay
        for name, values in expected.items():
            assert said[name] == pytest.approx(values, rel=0.11), (size, name)
        assert said["largest useful $P$"] == expected["largest useful $P$"]
