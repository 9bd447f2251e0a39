"""The file of factors: written whole or not at all, and checked before anything uses it."""

import hashlib
import json
import os
import shutil

from safetensors import safe_open
from safetensors.numpy import save as serialized

KEY = "mf_train"  # of all metadata together: safetensors would write several in a random order


def save(file, tensors, metadata):
    """Replace the file by one with the same rights: by all of it, or not at all."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as output:
            checked = metadata | {"checksum": checksum(tensors, metadata)}
            output.write(serialized(tensors, {KEY: json.dumps(checked)}))
            output.flush()
            os.fsync(output.fileno())
        if file.exists():
            shutil.copymode(file, unfinished)
        os.replace(unfinished, file)
    except OSError as error:
        raise OSError(f"--out: {file} cannot be written ({error})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def load(file):
    """Tensors and metadata; ValueError if `save` has not written them."""
    try:
        with safe_open(file, "np") as stored:
            metadata = json.loads(stored.metadata()[KEY])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        if metadata.pop("checksum") != checksum(tensors, metadata):
            raise ValueError("its checksum is another")
    except Exception as error:  # whatever a damaged or foreign file may raise
        raise ValueError(f"{file} holds no factors of mf_train ({error})") from error
    return tensors, metadata


def checksum(tensors, metadata):
    return hashlib.sha256(serialized(tensors, {KEY: json.dumps(metadata)})).hexdigest()
