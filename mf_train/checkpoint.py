"""The file of factors: written whole or not at all, and checked before anything uses it."""

import fcntl
import json
import os

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as serialized

KEY = "mf_train"  # of all metadata together: safetensors would write several in a random order


def lock(file):
    """Make the file's folder. No other run can lock the file while what this returns is open."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock_file = open(f"{file}.lock", "a")
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock_file
    except OSError as error:
        raise OSError(f"--out: {file} cannot be written, or another run does ({error})") from error


def save(file, tensors, metadata):
    """Replace the file by one with these: by all of it, or not at all."""
    unfinished = file.with_name(file.name + ".unfinished")
    try:
        with unfinished.open("wb") as output:
            output.write(serialized(tensors, {KEY: json.dumps(metadata)}))
            output.flush()
            os.fsync(output.fileno())
        os.replace(unfinished, file)
    except OSError as error:
        raise OSError(f"--out: {file} cannot be written ({error})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def load(file):
    """Tensors and metadata; ValueError unless they are such as `save` writes."""
    try:
        with safe_open(file, "np") as stored:
            metadata = json.loads(stored.metadata()[KEY])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        m, n, rank = len(tensors["users"]), len(tensors["movies"]), metadata["settings"]["rank"]
        factors = {"U": (m, rank), "V": (n, rank), "mu": (), "row": (m,), "col": (n,)}
        needed = {name: (np.float32, shape) for name, shape in factors.items()}
        needed |= {"users": (np.int32, (m,)), "movies": (np.int32, (n,))}
        if {name: (x.dtype, x.shape) for name, x in tensors.items()} != needed:
            raise ValueError("other tensors")
        is_small = all((np.abs(x) < 2**31).all() for x in tensors.values())
        if len(metadata["titles"]) != n:
            raise ValueError("other titles")
        if not is_small or metadata["epoch"] not in range(1, 10_000):
            raise ValueError("NaN, numbers beyond those of factors, or no epoch")
    except Exception as error:  # whatever a damaged or foreign file may raise
        raise ValueError(f"{file} holds no factors of mf_train ({error})") from error
    return tensors, metadata
