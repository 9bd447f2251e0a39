"""numba's compiler for mf_core's loops, with a cache that may be missing or damaged."""

import numba

__all__ = ["compiled"]


def compiled(**options):
    """A decorator: numba.njit(**options) that lets other threads run, and keeps its work on disk.

    numba keeps it beside the source, in the home folder or in NUMBA_CACHE_DIR. Where none of them
    can be written, every process compiles anew; so does the next one after a file was damaged.
    """

    def decorate(function):
        try:
            dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # numba found no folder for it
            return numba.njit(nogil=True, **options)(function)
        cache = dispatcher._cache  # private, but numba has no public way; its version is pinned
        load = cache.load_overload

        def load_or_forget(*arguments):
            try:
                return load(*arguments)
            except Exception:  # whatever pickle makes of a damaged file
                cache.flush()
                return None

        cache.load_overload = load_or_forget
        return dispatcher

    return decorate
