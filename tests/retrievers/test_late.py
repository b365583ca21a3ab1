"""Token vectors: 4 bits keep the cosines, and rows survive rewriting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.late import Span, TokenVectors

D = 64


def unit_rows(count: int, seed: int) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def exact(query: Floats, rows: Floats) -> float:
    return float((query @ rows.T).max(axis=1).mean()) if len(rows) else 0.0


@pytest.fixture
def tokens(tmp_path: Path) -> TokenVectors:
    return TokenVectors.create(tmp_path, D)


def test_maxsim_is_that_of_the_vectors_within_the_quantization(tokens: TokenVectors) -> None:
    texts = [unit_rows(count, seed) for seed, count in enumerate((3, 0, 12, 1))]
    query = unit_rows(4, 99)
    spans = tokens.write(0, 0, texts)
    assert [(span.start, span.count) for span in spans] == [(0, 3), (3, 0), (3, 12), (15, 1)]
    wanted = [exact(query, rows) for rows in texts]
    assert tokens.maxsim(query, 0, spans) == pytest.approx(wanted, abs=0.05)
    assert tokens.maxsim(query, 0, spans[::-1]) == pytest.approx(wanted[::-1], abs=0.05)


def test_a_vector_finds_itself(tokens: TokenVectors) -> None:
    texts = [unit_rows(1, seed) for seed in range(20)]
    spans = tokens.write(0, 0, texts)
    best = [int(np.argmax(tokens.maxsim(rows, 0, spans))) for rows in texts]
    assert best == list(range(20))


def test_what_a_crash_left_behind_is_overwritten(tokens: TokenVectors) -> None:
    (kept, lost) = tokens.write(0, 0, [unit_rows(5, 0), unit_rows(7, 1)])
    (written,) = tokens.write(0, kept.count, [unit_rows(2, 2)])
    assert (written.start, written.count) == (5, 2)
    assert tokens.maxsim(unit_rows(5, 0), 0, [kept])[0] == pytest.approx(1.0, abs=0.05)
    assert [tokens.intact(0, span) for span in (kept, lost, written)] == [True, False, True]


def test_rows_are_copied_to_another_file(tokens: TokenVectors) -> None:
    spans = tokens.write(0, 0, [unit_rows(count, count) for count in (4, 6, 3)])
    copied = tokens.copy([spans[2], spans[0]], source=0, target=1, start=0)
    assert [(span.start, span.count) for span in copied] == [(0, 3), (3, 4)]
    assert all(tokens.intact(1, span) for span in copied)
    query = unit_rows(2, 9)
    before = tokens.maxsim(query, 0, [spans[2], spans[0]]).tolist()
    assert tokens.maxsim(query, 1, copied).tolist() == before


def test_no_rows_and_no_question_score_zero(tokens: TokenVectors) -> None:
    assert tokens.maxsim(unit_rows(2, 0), 0, [Span()]).tolist() == [0.0]
    assert tokens.maxsim(unit_rows(0, 0), 0, [Span()]).tolist() == [0.0]
    assert tokens.maxsim(unit_rows(2, 0), 0, []).tolist() == []


def test_missing_or_foreign_files_are_refused(tokens: TokenVectors, tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match="expected d = 32"):
        TokenVectors(tmp_path, 32)
    (tmp_path / "tokens-0.bin").unlink()
    with pytest.raises(IndexFault, match="are missing"):
        tokens.require(0)
    with pytest.raises(IndexFault, match="are missing"):
        tokens.maxsim(unit_rows(1, 0), 0, [Span(0, 1)])
    (tmp_path / "rotation.npy").write_bytes(b"not an array")
    with pytest.raises(IndexFault, match="cannot be read"):
        TokenVectors(tmp_path, D)
