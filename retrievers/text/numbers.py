"""Reads numbers without what groups their digits, and writes counts with their noun."""

from __future__ import annotations

from collections.abc import Iterator

import regex

_GROUPED = regex.compile(
    r"(?<![\p{N}.,])(?:\p{N}{1,3}(?:(?:[,'\u2019_\u066c]\p{N}{3})+(?:[.\u066b]\p{N}+)?"
    r"|(?:\.\p{N}{3})+(?:,\p{N}+)?)|\p{N}{1,2}(?:,\p{N}{2})+,\p{N}{3}(?:\.\p{N}+)?)(?![\p{N}.])"
)
_GROUPS = regex.compile(r"[.,'\u2019_\u066c]")


_NEGATIVE = regex.compile(r"-\p{N}(?:[\p{N}.,]*\p{N})?")
_IN_PARTS = regex.compile(r"(?<![\p{L}\p{N}-])\p{N}+(?:-\p{N}+){4,8}(?![\p{L}\p{N}-])")
"""In more parts than words are joined of: the number of a book, say."""


def ungroup_numbers(run: str, most: int) -> Iterator[str]:
    """Yield each number whose digits are grouped without what groups them, cut to `most`.

    First without its fraction, then with it. 1.234 may be either: who has it is found by 1234 too.
    A negative number is yielded as it stands.

    >>> list(ungroup_numbers("10.000,50", 80)), list(ungroup_numbers("-5", 80))
    (['10000', '10000.50'], ['-5'])
    """
    if negative := _NEGATIVE.match(run):
        yield negative[0][:most]
    for match in _GROUPED.finditer(run):
        yield from _whole_and_all(match[0], most)
    for match in _IN_PARTS.finditer(run):
        yield match[0].replace("-", "")[:most]


def count_with_noun(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one.

    >>> count_with_noun(1, "question"), count_with_noun(0, "question")
    ('1 question', '0 questions')
    """
    return f"{count} {noun if count == 1 else f'{noun}s'}"


def _whole_and_all(number: str, most: int) -> Iterator[str]:
    whole, point, fraction = number, "", ""
    last = regex.search(r"[.,\u066b](?=\p{N}+$)", number)
    before = number[: last.start()] if last else ""
    if last and last[0] not in before and _GROUPS.search(before):
        whole, point, fraction = before, ".", number[last.end() :]
    whole = _GROUPS.sub("", whole)[:most]
    yield whole
    if point:
        yield f"{whole}.{fraction}"[:most]
