"""What a process keeps of what it was asked is bounded by its bytes, whoever asks whatever."""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import pkgutil
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from ragwright import artifacts, programs, retrievers
from ragwright.artifacts.server.cache import ANSWER_BYTES, AnswerCache, CacheKey
from ragwright.programs.extractive.reader import load_reader
from ragwright.programs.extractive.text import SENTENCE_BYTES, split_sentences
from ragwright.retrievers.remembering import LONGEST_WORD, MOST_WORDS, remember_words

KEEPER: Any = type(functools.lru_cache(lambda: None))
TEXTS = [
    f"In {year} the king of {land} had a new road built to the sea. It took {days} days, and "
    "nobody knows who paid for it. Later a school and a mill stood beside it."
    for year, land, days in [(1810, "Norway", 90), (1755, "Peru", 400), (1902, "Siam", 31)]
]


def keepers() -> Iterator[Any]:
    """All functions of the package's modules that keep what they return, as `functools` does it."""
    for package in (retrievers, programs, artifacts):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".cli" not in found.name and not found.name.endswith("pyfunc_model"):
                module = importlib.import_module(found.name)
                yield from (one for one in vars(module).values() if isinstance(one, KEEPER))


def test_every_cache_is_small() -> None:
    """One that is full after a million questions looks like a leak until then, and may be one."""
    found = {
        f"{one.__module__}.{one.__qualname__}": one.cache_parameters()["maxsize"]
        for one in keepers()
        if inspect.signature(one.__wrapped__).parameters
    }
    assert len(found) > 15
    assert not {name for name, most in found.items() if most is None or most > 1 << 14}


def test_a_long_word_is_not_kept_and_of_others_the_last() -> None:
    asked = list[str]()

    @remember_words
    def length(word: str) -> int:
        asked.append(word)
        return len(word)

    long = "x" * (LONGEST_WORD + 1)
    assert [length(long), length(long), length("a"), length("a")] == [49, 49, 1, 1]
    assert asked == [long, long, "a"]
    for number in range(MOST_WORDS):
        length(f"{number}")
    length("a")
    assert asked.count("a") == 2


def kept_bytes(function: Callable[[str], object], texts: list[str]) -> int:
    """What was allocated and is still there after it, by this thread or by any other."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for text in texts:
        function(text)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken


def test_a_reading_takes_few_bytes() -> None:
    """A span was an object with its text and score: 15 KB a question."""
    reader = load_reader()
    reader.read("Who paid for the road?", TEXTS)
    taken = list[int]()
    for road in range(3):  # threads of tests before this one may end in one of the three
        asked = [f"Who paid for road {road} of {number}?" for number in range(20)]
        taken.append(kept_bytes(lambda question: reader.read(question, TEXTS), asked))
    assert min(taken) < 20 * len(TEXTS) * 1000, taken


def test_what_was_read_is_given_again_as_it_was() -> None:
    reader, question = load_reader(), "In which year was the road built?"
    reader._cache.clear()
    fresh = reader.read(question, TEXTS)
    assert [len(spans) for spans in fresh] == [12, 12, 12]
    assert reader.read(question, TEXTS) == fresh


def test_passages_that_were_split_are_kept_within_their_bytes() -> None:
    """Of words that nobody else has, which is the worst that can be: twice, no more."""
    kept: Any = split_sentences
    kept.cache_clear()
    unheard = [
        " ".join(f"Word{number}x{place} stands here." for place in range(2000))
        for number in range(40)
    ]
    taken = kept_bytes(split_sentences, unheard)
    assert 2 < len(kept.cache) < 40
    assert taken < 2 * SENTENCE_BYTES, taken


def test_answers_are_kept_within_their_bytes_and_their_number() -> None:
    keys = [CacheKey.of("v", "1", str(number), {}) for number in range(40)]
    cache = AnswerCache[str](1000, 60, len)
    for key in keys:
        cache.put(key, "x" * (ANSWER_BYTES // 8))
    assert len(cache) == 8
    cache.put(keys[0], "x" * (2 * ANSWER_BYTES))
    assert cache.get(keys[0]) is None
    few = AnswerCache[str](3, 60, len)
    for key in keys:
        few.put(key, "short")
    assert len(few) == 3
    none = AnswerCache[str](0, 60, len)
    none.put(keys[0], "short")
    assert none.get(keys[0]) is None
