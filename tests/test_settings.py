"""Settings, files of settings and arguments that are wrong: an error of ours, whatever it is."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMUnexpectedError

import ragwright.artifacts.server.settings
import ragwright.programs.recipe  # noqa: F401 - so that all settings are known
from ragwright.artifacts.store import load
from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.programs.causes import cause_of
from ragwright.programs.hybrid import DenseRetriever, HybridRetriever
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.errors import IndexFault, InputError, RagError, RecipeError
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.settings import Settings
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.toml import read_toml
from ragwright.retrievers.types import Document

WRONG: tuple[Any, ...] = (object(), float("nan"), -1, "no such", [[]], {"no": {"such": 1}}, b"\xff")
PLACES: tuple[Any, ...] = (None, 5, "", "\0", "x" * 5000)


def _all(base: type[Settings]) -> list[type[Settings]]:
    return [base, *(below for one in base.__subclasses__() for below in _all(one))]


@pytest.mark.parametrize("kind", _all(Settings)[1:], ids=lambda kind: kind.__name__)
def test_a_wrong_value_of_any_setting_is_an_error_of_ours(kind: type[Settings]) -> None:
    for name in (*kind.model_fields, "no such key"):
        for value in WRONG:
            with suppress(RagError):  # and no other error passes
                kind(**{name: value})


def test_what_is_wrong_is_said_with_the_value() -> None:
    with pytest.raises(InputError, match=r"Wrong ChunkSettings: size: .* equal to 8 \(got 4\)"):
        IndexSettings(chunking=_chunking(size=4))
    with pytest.raises(InputError, match=r"Wrong IndexSettings: chunking.size: .*\(got 4\)"):
        IndexSettings(**{"chunking": {"size": 4}})


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ({"compile": {"optimiser": "mipro"}}, "compile.optimiser: .* mean compile.optimizer[?]"),
        ({"index": {"chunking": {"sise": 200}}}, "mean index.chunking.size[?]"),
        ({"chunking": {"size": 200}}, "mean index.chunking[?]"),
        ({"programm": {}}, "mean program[?]"),
        ({"compile": {"max_calls": 9}}, "an option of `rag compile`, --max-calls[.] docs"),
        ({"lm": "extractive"}, "lm: Input should be a table, .lm. .got 'extractive'"),
        ({"index": {"zebra": 1}}, r"zebra: Extra inputs are not permitted \(got 1\)\. docs"),
    ],
)
def test_a_misspelt_key_is_told_what_may_be_meant(table: dict[str, Any], meant: str) -> None:
    with pytest.raises(RecipeError, match=meant):
        Recipe.checked({"name": "t", **table})


@pytest.mark.parametrize("name", ["api_key", "apiKey", "hub-token", "password"])
def test_a_secret_in_a_recipe_is_not_repeated(name: str) -> None:
    with pytest.raises(RecipeError, match="secrets stand in the environment") as raised:
        Recipe.checked({"lm": {"model": "openai/x", name: "sk-1234"}})
    assert "sk-1234" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = handbook", "Texts stand in quotes"),
        ("[index.chunking]\nheaders = True", "true and false in small letters"),
        ('index = {\n  path = "x"\n}', "stands on one line"),
        ('index.path = "C:\\Users"', "Write paths with /"),
    ],
)
def test_what_is_often_written_for_toml_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        Recipe.from_toml(tmp_path / "recipe.toml")


def _chunking(**values: Any) -> Any:
    from ragwright.retrievers.chunking import ChunkSettings

    return ChunkSettings(**values)


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + b'name = "t"\r\n',
        'name = "t"\n'.encode("utf-16"),
        codecs.BOM_UTF16_BE + 'name = "t"\r\n'.encode("utf-16-be"),
        b'name = "t"',
    ],
)
def test_a_recipe_is_read_however_an_editor_saved_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(data)
    assert Recipe.from_toml(tmp_path / "recipe.toml").name == "t"


@pytest.mark.parametrize("path", ["C:\\docs", "C:\\users", ".\\new", "\\\\server\\x"])
def test_paths_of_windows_are_explained(tmp_path: Path, path: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(f'[index]\ndocuments = "{path}"\n', encoding="utf-8")
    if "\\n" in path or "\\\\" in path:
        return  # an escape that TOML knows: nothing is wrong with it
    with pytest.raises(InputError, match="Write paths with /"):
        read_toml(file)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("unsupported proxy scheme 'socks5' in 'socks5://127.0.0.1:9'", "NO_PROXY"),
        ("certificate verify failed: unable to get local issuer certificate", "SSL_CERT_FILE"),
        ("URL missing scheme: 'localhost:9/v1/chat/completions'", "begins with http"),
    ],
)
def test_what_stands_between_a_model_and_us_is_named(error: str, hint: str) -> None:
    assert hint in cause_of(LMUnexpectedError(error)).hint


@pytest.mark.parametrize("path", PLACES)
def test_no_place_for_an_index(tmp_path: Path, path: Any) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for place in (path, tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((InputError, IndexFault)):
            ingest([Document("a", "b")], place, IndexSettings(embedder="hash"))


@pytest.mark.parametrize("settings", [5, "hash", {"embedder": "hash"}])
def test_settings_of_another_kind(tmp_path: Path, settings: Any) -> None:
    with pytest.raises(InputError, match="not IndexSettings"):
        ingest([Document("a", "b")], tmp_path, settings)


@pytest.mark.parametrize("query", [None, 5, ["a"], b"alpha", {}])
def test_a_stage_asked_with_no_text(tmp_path: Path, query: Any) -> None:
    ingest([Document("a", "alpha")], tmp_path, IndexSettings(embedder="hash"))
    for stage in (HybridRetriever(str(tmp_path)), DenseRetriever(str(tmp_path))):
        with pytest.raises(InputError, match="not text"):
            stage(query)


@pytest.mark.parametrize("path", [None, 5, ["a"], b"x", {}, "\0"])
@pytest.mark.parametrize(
    "reads",
    [load, Recipe.from_toml, read_questions, lambda path: list(read_documents(path))],
    ids=["load", "recipe", "questions", "documents"],
)
def test_what_is_no_path(reads: Callable[[Any], object], path: Any) -> None:
    with pytest.raises(InputError, match="is not a path"):
        reads(path)


@pytest.mark.parametrize(
    "questions", [None, [], "file", ["q"], [{"question": "q", "answer": "a"}], iter([])]
)
def test_an_evaluation_of_no_questions(questions: Any) -> None:
    with pytest.raises(InputError, match="list of one Question or more"):
        evaluate(dspy.Predict("question -> answer"), questions, build_metric("answer_f1"))
