"""Change the modules in small ways, one at a time, and see which changes no test notices: `make mutants`.

python tools/mutants.py [HOW_MANY]    changes of all modules together; about 6 seconds each

The same changes are tried every time, for as long as the code around them is the same. Each is made in a copy of the
project. Survivors that change nothing that anyone could see are listed in EQUIVALENT, with the reason.
"""

import ast
import hashlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOW_MANY, AT_ONCE = 100, 2
TWO_LINES = "test_sgd_has_the_same_bits_as_its_two_lines_in_float32_arithmetic"
TESTS = {
    "mf_core": ["test_core.py", "test_inputs.py", f"test_bits.py::{TWO_LINES}"],
    "mf_inputs": ["test_inputs.py", "test_core.py"],
    "mf_compiled": ["test_bits.py"],
    "mf_data": ["test_data.py"],
    "mf_files": ["test_data.py"],
    "mf_synthetic": ["test_data.py"],
    "mf_claims": ["test_claims.py"],
    "mf_ring": ["test_train.py"],
    "mf_train": ["test_train.py"],
}
EQUIVALENT = {
    "mf_compiled.compiled.decorate: dispatcher = numba.njit(cache=True, nogil=True, **options)(function) -> "
    "dispatcher = numba.njit(cache=True, nogil=False, **options)(function)": "the same results; only threads wait",
    "mf_files.fetch: download = pooch.HTTPDownloader(progressbar=True, chunk_size=2 ** 16, timeout=timeout) -> "
    "download = pooch.HTTPDownloader(progressbar=True, chunk_size=3 ** 16, timeout=timeout)": "the size of a piece",
    "mf_files.reading: yield io.BufferedReader(_Bounded(raw), 2 ** 18) -> "
    "yield io.BufferedReader(_Bounded(raw), 2 ** 19)": "the size of a piece",
    "mf_core.gd_factorize_masked.run: return int(np.isfinite(u).all() and np.isfinite(vt).all()) -> "
    "return int(np.isfinite(u).any() and np.isfinite(vt).all())": "an infinite U[i] makes all of V NaN in the same epoch",
    "mf_core.sgd_factorize_masked: size, part = (len(entries[0]), max(1, WORK_PER_CALL // rank)) -> "
    "size, part = (len(entries[0]), min(1, WORK_PER_CALL // rank))": "an entry a call: the same bits, only slower",
    "mf_core.sgd_factorize_masked: return _descend(run, part // size if S == 1 else 1, U, V, num_epochs, lr, callback) -> "
    "return _descend(run, part // size if False else 1, U, V, num_epochs, lr, callback)": "an epoch a call: likewise",
    "mf_core._descend: epochs = 1 if callback else min(max(1, at_once), num_epochs - done) -> "
    "epochs = 1 if True else min(max(1, at_once), num_epochs - done)": "an epoch a call: likewise",
    "mf_core.: STAGGER = 8 -> STAGGER = 9": "the same bits for any number of rows",
    "mf_core.sgd_factorize_masked.one_block: parts = range(0, len(blocks[a][b][0]) or 1, part) -> "
    "parts = range(0, len(blocks[a][b][1]) or 1, part)": "there are as many columns as rows",
    "mf_ring.Share.blocks: return next(_blocks(rows, cols, values, self.row_edges[k:k + 2], self.edges[1])) -> "
    "return next(_blocks(rows, cols, values, self.row_edges[k:k + 3], self.edges[1]))": "only the first is taken",
    "mf_ring.Team.wait: dist.monitored_barrier(timeout=timedelta(days=1)) -> "
    "dist.monitored_barrier(timeout=timedelta(days=2))": "long enough",
    "mf_ring.Share.fit_means: while change > 5e-08: -> "
    "while change >= 5e-08:": "no change is that number",
    "mf_train.recommend: u, V = (stored.get_slice('U')[user[0]:user[0] + 1][0], stored.get_tensor('V')) -> "
    "u, V = (stored.get_slice('U')[user[0]:user[0] + 2][0], stored.get_tensor('V'))": "only the first is taken",
    "mf_core.gd_factorize_masked.one_block: _gd_rows(a, m, u, vt, lr, decay_u, edges[b], edges[b + 1], gradients[b]) -> "
    "_gd_rows(a, m, u, vt, lr, decay_u, edges[b], edges[b - 1], gradients[b])": "the first block does all; other rounding",
    "mf_core.gd_factorize_masked.run: if A.numel() < SMALL: -> if True:": "one thread does all; other rounding",
    "mf_files.fetch: download = pooch.HTTPDownloader(progressbar=True, chunk_size=2 ** 16, timeout=timeout) -> "
    "download = pooch.HTTPDownloader(progressbar=True, chunk_size=2 ** 17, timeout=timeout)": "the size of a piece",
    "mf_train.train: say(f'{by_user.sum():,} ratings read in {time.perf_counter() - begin:.1f} s', flush=True) -> "
    "say(f'{by_user.sum():,} ratings read in {time.perf_counter() - begin:.1f} s', flush=False)": "shown a little later",
}
SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
         ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.BitAnd: ast.BitOr,
         ast.BitOr: ast.BitAnd}  # fmt: skip
NAMES = {"all": "any", "any": "all", "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}  # fmt: skip


def changes(node):
    """The small changes of one node: functions that make them in place."""

    def put(name, value):
        return lambda: setattr(node, name, value)

    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield put("ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield put("op", SWAPS[type(node.op)]())
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield put("attr", NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield put("id", NAMES[node.id])
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield put("test", ast.Constant(False))
        if isinstance(node, ast.If | ast.IfExp):
            yield put("test", ast.Constant(True))
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield put("value", not value)
        elif isinstance(value, int | float):
            yield put("value", value * 2 if value and isinstance(value, float) else value + 1)
        elif isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*(\[\d\])?", value):
            yield put("value", "other")  # a name: of an argument, a column, a key


def is_left_out(node):
    """Exports and the command line are not tested with the rest; strict= is a check of its own."""
    exports = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
    return exports or main or (isinstance(node, ast.keyword) and node.arg == "strict")


def mutants(tree):
    """(key, function that makes the change) of every change; a key says where and what, but no line."""

    def visit(node, place, statement):
        if is_left_out(node):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            place = f"{place}.{node.name}" if place else node.name
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            statement = node
        for change in changes(node):
            yield place, statement, change
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns", "decorator_list"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        yield from visit(child, place, statement)

    return list(visit(tree, "", None))


def mutated(source, number):
    """The key and the whole text of the module with this change, or None if there are no more."""
    tree = ast.parse(source)
    found = mutants(tree)
    if number >= len(found):
        return None
    place, statement, change = found[number]
    before = ast.unparse(statement)
    change()
    after = ast.unparse(statement)
    lines = zip(before.split("\n"), after.split("\n"), strict=False)
    old, new = next(((a, b) for a, b in lines if a != b), ("", ""))
    return f"{place}: {old.strip()} -> {new.strip()}", ast.unparse(tree)


def plain(module):
    """The module unchanged, but as a changed one is written."""
    return ast.unparse(ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8")))


def sample(how_many):
    """(module, key, text) of so many changes, each module's share by its size; chosen by the keys' digests."""
    every = []
    for module in TESTS:
        source, number = (ROOT / f"{module}.py").read_text(encoding="utf-8"), 0
        while one := mutated(source, number):
            every.append((module, *one))
            number += 1
    every.sort(key=lambda one: hashlib.sha256(repr(one[:2]).encode()).digest())
    return sorted(every[:how_many], key=lambda one: list(TESTS).index(one[0])), len(every)


def copied(folder):
    """A copy of the project, to be changed, with a cache of its own for what is compiled."""
    ignored = shutil.ignore_patterns("__pycache__", "course", "movielens", "unfinished-*")
    for part in ("data", "notebooks", "report", "tests", "tools"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")]:
        shutil.copy2(path, folder)
    return folder


def passes(project, module):
    """Whether the module's tests pass in this copy, on the same random examples every time."""
    nowhere = "http://127.0.0.1:9"  # no change may lead to a download
    environment = {"PYTHONPATH": str(project), "NUMBA_CACHE_DIR": str(project / "cache"), "OMP_NUM_THREADS": "1",
                   "http_proxy": nowhere, "https_proxy": nowhere}  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--timeout=90",
               "--hypothesis-profile=repeatable", *(f"tests/{name}" for name in TESTS[module])]  # fmt: skip
    run = subprocess.run(command, cwd=project, env=os.environ | environment, capture_output=True)
    return run.returncode == 0


def main():
    how_many = int(sys.argv[1]) if sys.argv[1:] else HOW_MANY
    chosen, total = sample(how_many)
    print(f"{len(chosen)} of {total} small changes", flush=True)
    killed, tried, survivors = Counter(), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        free = queue.Queue()
        for k in range(AT_ONCE):
            free.put(copied(Path(folder, str(k))))

        def survives(module, text):
            project = free.get()
            file = project / f"{module}.py"
            original = shutil.copy2(file, project / "original")
            try:
                file.write_text(text, encoding="utf-8")
                return passes(project, module)
            finally:
                shutil.copy2(original, file)
                free.put(project)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            unchanged = pool.map(lambda module: (module, survives(module, plain(module))), TESTS)
            if failing := [module for module, passed in unchanged if not passed]:
                sys.exit(f"tests fail without any change: {', '.join(failing)}")
            results = pool.map(lambda one: survives(one[0], one[2]), chosen)
            for (module, key, _), survived in zip(chosen, results, strict=True):
                name = f"{module}.{key}"
                if survived and name in EQUIVALENT:
                    continue
                tried[module] += 1
                killed[module] += not survived
                if survived:
                    survivors.append(name)
                    print("survives:", name, flush=True)
    for module in TESTS:
        print(f"{module:14}{killed[module]:4} of {tried[module]:4} killed")
    print(
        f"{len(chosen) - sum(tried.values())} more change nothing that could be seen (EQUIVALENT)"
    )
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
