from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragwright.optimize.retrieval.pool import PoolKey, build_pool
from ragwright.programs.candidates import Candidates
from ragwright.programs.rerank import MaxSim

KEY = PoolKey("index-1", "maxsim")


class Searches:
    """Finds as many chunks as the question has letters, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, question: str) -> Candidates:
        self.asked.append(question)
        dense = {f"{question}-{place}": 1 / (place + 1) for place in range(len(question))}
        found = Candidates.union(dense, {f"{question}-0": 3.0}, dict.fromkeys(dense, 7))
        found = found.with_vectors({id: np.arange(3, dtype=np.float32) for id in dense})
        return found.with_signal(
            MaxSim.signal, np.array([[0]]), np.array([[0.5]], dtype=np.float32)
        )


def same(first: Candidates, second: Candidates) -> bool:
    return (
        first.ids == second.ids
        and np.array_equal(first.tokens, second.tokens)
        and {id: tuple(vector) for id, vector in first.vectors.items()}
        == {id: tuple(vector) for id, vector in second.vectors.items()}
        and first.signals.keys() == second.signals.keys()
        and all(
            np.array_equal(table, second.signals[name], equal_nan=True)
            for name, table in first.signals.items()
        )
    )


def test_only_new_questions_are_searched_for(tmp_path: Path) -> None:
    first, second = Searches(), Searches()
    build_pool(["ab", "cde"], first, key=KEY, folder=tmp_path)
    pool = build_pool(["cde", "f", "ab", "f"], second, key=KEY, folder=tmp_path)
    assert (first.asked, second.asked) == (["ab", "cde"], ["f"])
    assert (pool.questions, pool.fetched, pool.warning) == (("cde", "f", "ab"), 1, "")


def test_what_comes_from_disk_is_what_was_found(tmp_path: Path) -> None:
    wanted = build_pool(["ab", "cde"], Searches(), key=KEY, folder=tmp_path)
    again = build_pool(["ab", "cde"], Searches(), key=KEY, folder=tmp_path)
    assert again.fetched == 0
    assert same(again.candidates, wanted.candidates)
    assert same(again.take(["cde"]), wanted.candidates.take([1]))
    assert again.candidates.vectors["ab-1"].tolist() == [0, 57, 114]


@pytest.mark.parametrize("other", [PoolKey("index-2", "maxsim"), PoolKey("index-1", "cross")])
def test_another_index_or_reranker_has_another_pool(tmp_path: Path, other: PoolKey) -> None:
    build_pool(["ab"], Searches(), key=KEY, folder=tmp_path)
    assert build_pool(["ab"], Searches(), key=other, folder=tmp_path).fetched == 1


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_damaged_file_is_built_again_and_said(tmp_path: Path, keep: int) -> None:
    build_pool(["ab", "cde"], Searches(), key=KEY, folder=tmp_path)
    file = KEY.file(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    pool = build_pool(["ab", "cde"], Searches(), key=KEY, folder=tmp_path)
    assert pool.fetched == 2
    assert "was damaged" in pool.warning
    assert build_pool(["ab"], Searches(), key=KEY, folder=tmp_path).warning == ""


def test_a_pool_with_pickled_objects_is_not_read(tmp_path: Path) -> None:
    build_pool(["ab"], Searches(), key=KEY, folder=tmp_path)
    evil = np.array([{"a": 1}], dtype=object)
    np.savez(KEY.file(tmp_path), names=evil, tokens=evil)
    assert build_pool(["ab"], Searches(), key=KEY, folder=tmp_path).fetched == 1
