"""Probes made of rare words, for languages in which few sentences can be turned into questions.

What somebody types into a search field: the rarest words of a sentence, in their order. Weaker than
a question, since they are the document's own words, so they only fill up what is too few.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ragwright.optimize.questions.probes import (
    MOST_ANSWER_WORDS,
    Probe,
    Probes,
    spread_over_documents,
)
from ragwright.retrievers.text.segments import normalized_words, sentence_ends
from ragwright.retrievers.types import Chunk

ENOUGH = 100
"""So many probes divide into training, dev and test questions, some 28 of them for the test where
the groups are uneven and 20 are the least; no set is filled up further."""
TERMS = 4
_TERM = re.compile(r"[^\W\d_][\w'\u2019-]{2,}")
_CLAUSE = re.compile(r"[^\s,;:.!?\u3001\uff0c\uff1b\uff1a\u3002\uff01\uff1f]{6,16}")
_LENGTHS = range(40, 401)
_LEAST_LETTERS = 0.6
_MARKUP = frozenset("\\{}<>|=")
_LONGEST_WORD = 15
"""Where words are longer than this, in the mean, a script writes no spaces between them."""


def add_rare_word_probes(found: Probes, chunks: Iterable[Chunk], count: int) -> Probes:
    """Add probes of rare words until there are enough, or as many as were asked for.

    Args:
        found: What documents answer by their form.
        chunks: All chunks of the index.
        count: How many were asked for.
    """
    missing = min(count, ENOUGH) - len(found.kept)
    if missing <= 0:
        return found
    frequency: Counter[str] = Counter()
    said: Counter[str] = Counter()
    telling: list[tuple[str, str]] = []
    for chunk in chunks:
        frequency.update(set(normalized_words(chunk.text)))
        for sentence in _longest(chunk.text):
            said[sentence] += 1
            telling.append((chunk.document_id, sentence))
    taken = {evidence for probe in found.kept for evidence in (probe.evidence, probe.question)}
    made = [
        Probe(asked, _short(sentence), document, sentence, "terms")
        for document, sentence in telling
        if said[sentence] == 1 and sentence not in taken and (asked := _asked(sentence, frequency))
    ]
    different = list({probe.question: probe for probe in made}.values())
    return replace(found, kept=(*found.kept, *spread_over_documents(different, missing)))


def _longest(text: str) -> Iterator[str]:
    """The longest sentence of a chunk that is prose and of a readable length, if there is one."""
    ends = sentence_ends(text)
    found = [text[a:b].strip() for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    good = [one for one in found if len(one) in _LENGTHS and "\n" not in one and _is_prose(one)]
    if good:
        yield max(good, key=len)


def _is_prose(sentence: str) -> bool:
    letters = sum(map(str.isalpha, sentence))
    return letters >= _LEAST_LETTERS * len(sentence) and not _MARKUP.intersection(sentence)


def _asked(sentence: str, frequency: Counter[str]) -> str:
    """The rarest words of a sentence in their order; a clause where no spaces are written."""
    spaced = sentence.split()
    if len(sentence) > _LONGEST_WORD * len(spaced):
        clauses = _CLAUSE.findall(sentence)
        return max(clauses, key=len) if len(clauses) > 1 else ""
    terms = list(dict.fromkeys(_TERM.findall(sentence)))
    if len(terms) < 2 * TERMS:
        return ""
    rare = sorted(terms, key=lambda term: (_seen(term, frequency), -len(term)))[:TERMS]
    return " ".join(term for term in terms if term in rare)


def _seen(term: str, frequency: Counter[str]) -> int:
    parts: Sequence[str] = normalized_words(term)
    return min((frequency[part] for part in parts), default=0)


def _short(sentence: str) -> str:
    return " ".join(sentence.split()[:MOST_ANSWER_WORDS])
