"""Tells from a client library's error whether the request was at fault.

Backends say so with an HTTP status, which every client library keeps under another name. Such an
error says nothing about how the backend is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ragwright.retrievers.errors import IndexFault, InputError

STATUSES = frozenset({400, 413, 422})
"""Malformed, too large, not to be processed: asked again, it fails again, and others do not."""
_NAMES = ("status_code", "status", "http_status")


def is_refused_request(error: BaseException) -> bool:
    """Tell whether a backend turned the request down: by the error, or by one that caused it."""
    return any(_status(one) in STATUSES for one in _causes(error))


@contextmanager
def translate_filter_refusals(*, filtered: bool) -> Iterator[None]:
    """Turn a store's refusal of a search into an error of the input, if the search has a filter.

    Raises:
        InputError: The store cannot apply the filter.
    """
    try:
        yield
    except IndexFault as error:
        if filtered and is_refused_request(error):
            raise InputError(
                f"The vector store cannot apply the filter: {error.what}",
                hint="Use fewer conditions, and values of the kinds that the metadata holds.",
            ) from error
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _status(error: BaseException) -> object:
    holders = (error, getattr(error, "response", None))
    plain = (getattr(holder, name, None) for holder in holders for name in _NAMES)
    status = next((value for value in plain if isinstance(value, int)), None)
    if status is not None:
        return status
    # Chroma's errors carry it in a method, and the root of them says 400 of everything unknown.
    code = getattr(error, "code", None)
    return code() if callable(code) and type(error).__name__ == "InvalidArgumentError" else None
