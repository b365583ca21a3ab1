"""Token vectors: 4 bits keep the cosines, and rows survive rewriting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IdentityError, IndexFault, InputError
from ragwright.retrievers.index import IndexSettings, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.late import TokenVectors, VectorSpan
from ragwright.retrievers.stamp import STAMP, Stamp
from ragwright.retrievers.token_codes import (
    CodedRows,
    TokenSettings,
    dequantize,
    draw_rotation,
    encode_token_vectors,
    pool_token_vectors,
    quantize,
    token_cosines,
)
from ragwright.retrievers.types import Document

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
    spans = tokens.write(0, 0, tokens.coded(texts))
    assert [(span.start, span.count) for span in spans] == [(0, 3), (3, 0), (3, 12), (15, 1)]
    wanted = [exact(query, rows) for rows in texts]
    assert tokens.maxsim(query, 0, spans) == pytest.approx(wanted, abs=0.05)
    assert tokens.maxsim(query, 0, spans[::-1]) == pytest.approx(wanted[::-1], abs=0.05)


def test_a_vector_finds_itself(tokens: TokenVectors) -> None:
    texts = [unit_rows(1, seed) for seed in range(20)]
    spans = tokens.write(0, 0, tokens.coded(texts))
    best = [int(np.argmax(tokens.maxsim(rows, 0, spans))) for rows in texts]
    assert best == list(range(20))


def test_what_a_crash_left_behind_is_overwritten(tokens: TokenVectors) -> None:
    (kept, lost) = tokens.write(0, 0, tokens.coded([unit_rows(5, 0), unit_rows(7, 1)]))
    (written,) = tokens.write(0, kept.count, tokens.coded([unit_rows(2, 2)]))
    assert (written.start, written.count) == (5, 2)
    assert tokens.maxsim(unit_rows(5, 0), 0, [kept])[0] == pytest.approx(1.0, abs=0.05)
    assert tokens.intact(0, [kept, lost, written]) == [True, False, True]


def test_rows_are_copied_to_another_file(tokens: TokenVectors) -> None:
    spans = tokens.write(0, 0, tokens.coded([unit_rows(count, count) for count in (4, 6, 3)]))
    copied = tokens.copy([spans[2], spans[0]], source=0, target=1, start=0)
    assert [(span.start, span.count) for span in copied] == [(0, 3), (3, 4)]
    assert all(tokens.intact(1, copied))
    query = unit_rows(2, 9)
    before = tokens.maxsim(query, 0, [spans[2], spans[0]]).tolist()
    assert tokens.maxsim(query, 1, copied).tolist() == before


def test_no_rows_and_no_question_score_zero(tokens: TokenVectors) -> None:
    assert tokens.maxsim(unit_rows(2, 0), 0, [VectorSpan()]).tolist() == [0.0]
    assert tokens.maxsim(unit_rows(0, 0), 0, [VectorSpan()]).tolist() == [0.0]
    assert tokens.maxsim(unit_rows(2, 0), 0, []).tolist() == []


def test_missing_or_foreign_files_are_refused(tokens: TokenVectors, tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match="expected d = 32"):
        TokenVectors(tmp_path, 32)
    (tmp_path / "tokens-0.bin").unlink()
    with pytest.raises(IndexFault, match="are missing"):
        tokens.require(0)
    with pytest.raises(IndexFault, match="are missing"):
        tokens.maxsim(unit_rows(1, 0), 0, [VectorSpan(0, 1)])
    (tmp_path / "rotation.npy").write_bytes(b"not an array")
    with pytest.raises(IndexFault, match="cannot be read"):
        TokenVectors(tmp_path, D)


# Fewer bits, and pooled vectors


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_codes_stand_for_what_gives_them_again(bits: int) -> None:
    rows = unit_rows(30, 5)
    codes = quantize(rows, bits)
    assert codes.shape == (30, D * bits // 8)
    back = dequantize(codes, bits)
    assert np.array_equal(quantize(back, bits), codes)
    query = unit_rows(4, 6)
    assert token_cosines(codes, query, bits) == pytest.approx(back @ query.T, abs=1e-5)
    # The product of a vector with what its code stands for is 1, on average.
    assert float((rows * back).sum(axis=1).mean()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("bits", [1, 2])
def test_vectors_kept_in_four_bits_give_the_codes_of_fresh_ones(bits: int) -> None:
    rows = unit_rows(200, 7)
    assert np.array_equal(quantize(dequantize(quantize(rows)), bits), quantize(rows, bits))


@pytest.mark.parametrize(
    "settings", [TokenSettings(bits=bits, pool=pool) for bits in (1, 4) for pool in (1, 3)]
)
@pytest.mark.parametrize("turned", [False, True], ids=["same rotation", "another"])
def test_what_the_cache_kept_becomes_the_codes_that_its_vectors_become(
    settings: TokenSettings, turned: bool
) -> None:
    rotation = draw_rotation(D)
    kept = CodedRows(encode_token_vectors([unit_rows(7, 1), unit_rows(4, 2)], rotation), rotation)
    wanted = rotation[::-1].copy() if turned else rotation
    made, again = (encode_token_vectors(rows, wanted, settings) for rows in (kept, list(kept)))
    assert [codes.tolist() for codes in made] == [codes.tolist() for codes in again]
    assert len(kept[1:]) == 1
    assert np.allclose(kept[1:][0], kept[1])


@pytest.mark.parametrize(("bits", "pool"), [(1, 1), (2, 1), (2, 2), (4, 3), (1, 4)])
def test_settings_decide_the_room_and_a_text_finds_itself(
    tmp_path: Path, bits: int, pool: int
) -> None:
    settings = TokenSettings(bits=bits, pool=pool)
    kept = TokenVectors.create(tmp_path, D, settings)
    counts = (1, 7, 12, 24, 0)
    texts = [unit_rows(count, seed) for seed, count in enumerate(counts)]
    spans = kept.write(0, 0, kept.coded(texts))
    assert [span.count for span in spans] == [-(-count // pool) for count in counts]
    assert kept.path(0).stat().st_size == sum(span.count for span in spans) * D * bits // 8
    for number, rows in enumerate(texts[:-1]):
        assert int(np.argmax(kept.maxsim(rows, 0, spans))) == number
    again = TokenVectors(tmp_path, D, settings)
    assert all(again.intact(0, spans))


def test_alike_vectors_become_one_and_others_stay_apart() -> None:
    two = unit_rows(2, 1)
    noise = 0.02 * np.random.default_rng(2).standard_normal((8, D))
    rows = np.asarray(np.repeat(two, 4, axis=0) + noise, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centres = pool_token_vectors(rows, 4)
    assert centres.shape == (2, D)
    assert (centres * two).sum(axis=1) == pytest.approx([1, 1], abs=0.02)
    assert np.array_equal(pool_token_vectors(rows, 1), rows)


def test_an_index_keeps_to_its_settings(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"Text number {n} of a few words, {n * n}.") for n in range(6)]
    plain = IndexSettings(embedder="hash")
    small = IndexSettings(embedder="hash", tokens=TokenSettings(bits=2, pool=2))
    sizes, found = [], []
    for name, settings in (("plain", plain), ("small", small), ("again", small)):
        ingest(documents, tmp_path / name, settings)
        index = open_index(tmp_path / name)
        scores = index.maxsim("Text number 3", sorted(chunk.id for chunk in index.chunks()))
        found.append((index.fingerprint, tuple(scores)))
        sizes.append((tmp_path / name / "tokens-0.bin").stat().st_size)
    assert sizes[1] == sizes[2] < sizes[0] / 3
    assert found[1] == found[2]
    assert found[0][0] != found[1][0]
    with pytest.raises(IdentityError, match="was made with"):
        ingest(documents, tmp_path / "plain", small)


def test_a_stamp_from_before_there_were_settings_says_the_same(tmp_path: Path) -> None:
    settings = IndexSettings(embedder="hash")
    ingest([Document("d", "A text.")], tmp_path, settings)
    before = Stamp.read(tmp_path).manner
    old = json.loads((tmp_path / STAMP).read_text(encoding="utf-8"))
    del old["settings"]["tokens"]
    (tmp_path / STAMP).write_text(json.dumps(old), encoding="utf-8")
    assert Stamp.read(tmp_path).manner == before
    assert "tokens" not in json.loads(before)["settings"]
    assert ingest([Document("d", "A text.")], tmp_path, settings).unchanged == 1


def test_bits_that_fill_no_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no whole bytes"):
        TokenVectors.create(tmp_path, 12, TokenSettings(bits=1))
