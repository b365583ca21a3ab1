"""Turns the panic of a Rust library into an ordinary error.

PyO3 raises panics as `pyo3_runtime.PanicException`, a `BaseException` that cannot be imported and
that passes every `except Exception`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RustPanic(RuntimeError):
    """A Rust library met something it holds to be impossible, such as a damaged file."""


@contextmanager
def translate_panics() -> Iterator[None]:
    """Turn a panic into an error.

    Raises:
        Panicked: A Rust library panicked.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise RustPanic(f"a panic: {str(error).splitlines()[:1]}") from error
        raise
