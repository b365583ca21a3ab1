"""Saving and loading: what was learned comes back, what does not fit is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.artifacts import (
    Comparison,
    Interval,
    Manifest,
    Provenance,
    load,
    open_artifact,
    save,
)
from ragwright.artifacts.versions import resolve_version
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.lm import build_lm
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError, IndexFault
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.artifacts.conftest import documents

QUESTION = "What is the capital of Peru?"


def test_a_loaded_program_is_the_saved_one(home: Path, program: dspy.Module) -> None:
    loaded = load(home)
    assert loaded.knobs.values == program.knobs.values
    assert loaded.respond.signature.instructions == "Name the city."
    assert [dict(demo) for demo in loaded.respond.demos] == [
        dict(demo) for demo in program.respond.demos
    ]


def test_a_new_process_gives_the_same_answer(
    home: Path, program: dspy.Module, recipe: Recipe
) -> None:
    program.set_lm(build_lm("extractive", embedder="hash"))
    here = program(question=QUESTION)
    code = (
        "import sys, json; from ragwright.artifacts import load; "
        "p = load(sys.argv[1])(question=sys.argv[2]); "
        "print(json.dumps([p.answer, p.citations, p.context]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:artifacts", "-c", code, str(home), QUESTION],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [here.answer, here.citations, here.context]
    assert "Lima" in here.answer


def test_what_lies_on_disk_is_text(home: Path) -> None:
    version = resolve_version(home)
    names = {file.relative_to(version).as_posix() for file in version.rglob("*") if file.is_file()}
    assert names == {"manifest.json", "recipe.json", "state.json", "prompts/respond.md"}
    prompt = (version / "prompts/respond.md").read_text()
    assert "Name the city." in prompt
    assert "N'Djamena" in prompt
    assert "{question}" in prompt


def test_the_manifest_says_where_a_program_comes_from(
    tmp_path: Path, program: dspy.Module, recipe: Recipe
) -> None:
    even = Interval(mean=0.5, low=0.4, high=0.6)
    facts = Provenance(
        comparison=Comparison(
            metric="answer_f1", n=80, chosen="knobs only", baseline=even, compiled=even,
            difference=Interval(mean=0.0, low=-0.1, high=0.1), p=1.0, verdict="keep the baseline",
        ),
        seeds={"split": 3},
    )  # fmt: skip
    report = tmp_path / "report"
    (report / "figures").mkdir(parents=True)
    (report / "report.md").write_text("# Report\n")
    (report / "figures" / "a.png").write_bytes(b"\x89PNG")
    version = save(program, tmp_path / "artifact", recipe=recipe, provenance=facts, report=report)
    manifest = Manifest.parse((version / "manifest.json").read_text(), source="manifest.json")
    assert manifest.provenance == facts
    assert manifest.index is not None
    assert manifest.index.documents == 6
    assert manifest.index.embedder.model == "hash"
    assert manifest.parameters == tuple(name for name, _ in program.named_parameters())
    assert [field.name for field in manifest.signatures["respond"]] == [
        "context", "question", "answer", "citations",
    ]  # fmt: skip
    assert set(manifest.files) == {
        "recipe.json", "state.json", "prompts/respond.md", "report/report.md",
        "report/figures/a.png",
    }  # fmt: skip


def test_parts_marked_as_compiled_are_kept(
    tmp_path: Path, program: dspy.Module, recipe: Recipe
) -> None:
    """DSPy leaves such a part out of the state: "tune retrieval first, prompts second"."""
    program.retriever._compiled = True
    program.respond._compiled = True
    program.retriever.retriever.dense.k = 7
    assert set(program.dump_state()) != set(build_program(recipe).dump_state())
    loaded = load(save(program, tmp_path / "artifact", recipe=recipe))
    assert loaded.knobs.values == program.knobs.values
    assert loaded.retriever.retriever.dense.k == 7
    assert len(loaded.respond.demos) == 1
    assert program.retriever._compiled, "saving must not change the program"


def test_a_program_of_another_recipe_is_not_saved(tmp_path: Path, recipe: Recipe) -> None:
    plain = recipe.model_copy(update={"program": recipe.program.model_copy(update={"kind": "rag"})})
    with pytest.raises(ArtifactError, match=r"lacks .* and has unknown"):
        save(build_program(plain), tmp_path / "artifact", recipe=recipe)
    assert not (tmp_path / "artifact").exists()


def test_the_language_model_does_not_travel(
    tmp_path: Path, program: dspy.Module, recipe: Recipe
) -> None:
    key = "a-key-that-must-stay-here"
    program.set_lm(dspy.LM("openai/some", api_key=key))
    version = save(program, tmp_path / "artifact", recipe=recipe)
    assert json.loads((version / "state.json").read_text())["respond"]["lm"] is None
    assert not [f for f in version.rglob("*") if f.is_file() and key.encode() in f.read_bytes()]
    assert program.respond.lm is not None, "saving must not change the program"


def test_a_secret_of_the_environment_is_not_saved(
    tmp_path: Path, program: dspy.Module, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "tEr4-0123456789abcdef")
    program.respond.demos[0]["answer"] = "it is tEr4-0123456789abcdef"
    with pytest.raises(ArtifactError, match="environment variable SOME_API_KEY"):
        save(program, tmp_path / "artifact", recipe=recipe)
    assert not (tmp_path / "artifact").exists()


def test_saving_without_an_index_writes_nothing(
    tmp_path: Path, program: dspy.Module, recipe: Recipe
) -> None:
    section = recipe.index.model_copy(update={"path": str(tmp_path / "elsewhere")})
    with pytest.raises(IndexFault, match="There is no index"):
        save(program, tmp_path / "artifact", recipe=recipe.model_copy(update={"index": section}))
    assert not (tmp_path / "artifact").exists()


# Loading


def test_another_embedder_is_refused(home: Path, tmp_path: Path, recipe: Recipe) -> None:
    section = recipe.index.model_copy(update={"embedder": "hash:32"})
    other = recipe.model_copy(update={"index": section})
    ingest(documents(), tmp_path / "other", index_settings(other))
    with pytest.raises(ArtifactError, match=r"embedder .*v1-64.* has .*v1-32.*--index"):
        load(home, index=tmp_path / "other")


def test_other_chunks_are_refused(home: Path, tmp_path: Path, recipe: Recipe) -> None:
    chunking = recipe.index.chunking.model_copy(update={"size": 50})
    section = recipe.index.model_copy(update={"chunking": chunking})
    ingest(
        documents(),
        tmp_path / "other",
        index_settings(recipe.model_copy(update={"index": section})),
    )
    with pytest.raises(ArtifactError, match=r"chunking .*200.* has .*50"):
        load(home, index=tmp_path / "other")


def test_changed_documents_are_noted(home: Path, recipe: Recipe) -> None:
    assert open_artifact(home).notes == ()
    ingest([*documents(), Document("Cuba", "Havana.")], recipe.index.path, index_settings(recipe))
    with pytest.warns(UserWarning, match="6 chunks then, 7 now.*`rag artifacts check`"):
        load(home)


def test_index_and_artifact_move_together(home: Path, tmp_path: Path, recipe: Recipe) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "index").rename(moved / "index")
    home.rename(moved / "artifact")
    found = open_artifact(moved / "artifact")
    assert found.recipe.index.path == str(moved / "index")
    assert found.notes == ()


def test_a_missing_index_is_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "index").rename(tmp_path / "gone")
    with pytest.raises(IndexFault, match="There is no index"):
        load(home)


Edit = Callable[[dict[str, Any]], object]


def _state(change: Edit) -> Callable[[Path], None]:
    return _edited("state.json", change)


def _manifest(change: Edit) -> Callable[[Path], None]:
    return _edited("manifest.json", change)


def _edited(name: str, change: Edit) -> Callable[[Path], None]:
    def edit(version: Path) -> None:
        file = version / name
        table = json.loads(file.read_text())
        change(table)
        file.write_text(json.dumps(table))

    return edit


def _cut(version: Path) -> None:
    text = (version / "state.json").read_text()
    (version / "state.json").write_text(text[: len(text) // 2])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (_cut, r"state\.json.* is damaged"),
    "empty": (lambda v: (v / "state.json").write_text(""), r"state\.json.* is damaged"),
    "binary": (lambda v: (v / "state.json").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "deep": (lambda v: (v / "state.json").write_text("[" * 100_000), "damaged"),
    "list": (lambda v: (v / "state.json").write_text("[]"), "not a table but list"),
    "missing": (lambda v: (v / "state.json").unlink(), "No such file"),
    "reworded": (_state(lambda s: s["respond"]["signature"].update(instructions="x")), "SHA-256"),
    "unknown parameter": (_state(lambda s: s.update(extra={})), "has unknown extra"),
    "lost parameter": (_state(lambda s: s.pop("knobs")), "lacks knobs"),
    "unknown knob": (_state(lambda s: s["knobs"].update(depth=3)), "depth: Extra inputs"),
    "lost knob": (_state(lambda s: s["knobs"].pop("k")), "lacks the knobs k"),
    "knob out of range": (_state(lambda s: s["knobs"].update(k=0)), r"k: .*\(got 0\)"),
    "knob of another type": (_state(lambda s: s["knobs"].update(k="3")), "k: .*'3'"),
    "retriever k": (
        _state(lambda s: s["retriever.retriever.dense"].update(k=-1)),
        "k is -1",
    ),
    "attribute": (_state(lambda s: s["respond"].update(forward="x")), "forward: Extra inputs"),
    "language model": (_state(lambda s: s["respond"].update(lm={"model": "x"})), "lm: .*None"),
    "demo": (_state(lambda s: s["respond"]["demos"].append("x")), "demos.1: .*dictionary"),
    "field": (
        _state(lambda s: s["respond"]["signature"]["fields"].pop()),
        "describes 3 fields, and its signature has 4",
    ),
    "format": (_manifest(lambda m: m.update(format=99)), "has format 99.*reads format 1"),
    "manifest key": (_manifest(lambda m: m.update(extra=1)), "extra: Extra inputs"),
    "manifest cut": (lambda v: (v / "manifest.json").write_text('{"format"'), "damaged"),
    "signature": (
        _manifest(lambda m: m["signatures"]["respond"][0].update(name="passages")),
        r"'respond' was saved for passages: list\[str\].* is now context",
    ),
    "parameters": (_manifest(lambda m: m["parameters"].append("gone")), "has unknown gone"),
    "recipe key": (_edited("recipe.json", lambda r: r.update(extra=1)), "extra: Extra inputs"),
    "recipe knob": (
        _edited("recipe.json", lambda r: r["knobs"].update(k=99)),
        r"knobs\.k: .*\(got 99\)",
    ),
    "prompt": (lambda v: (v / "prompts/respond.md").write_text("x"), "SHA-256"),
    "lost prompt": (lambda v: (v / "prompts/respond.md").unlink(), "lacks its file"),
    "path trick": (
        _manifest(lambda m: m["files"].update({"../../../etc/passwd": "0" * 64})),
        "is no path in",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_one_line_that_says_what_to_do(
    home: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(resolve_version(home))
    with pytest.raises(ArtifactError, match=message) as caught:
        load(home)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_resealed_state_is_still_checked(home: Path) -> None:
    """The hashes are for accidents; whoever can rewrite them must not get past the checks."""
    version = resolve_version(home)
    state = json.loads((version / "state.json").read_text())
    state["respond"]["__class__"] = "x"
    (version / "state.json").write_text(json.dumps(state))
    manifest = json.loads((version / "manifest.json").read_text())
    manifest["files"]["state.json"] = hashlib.sha256(
        (version / "state.json").read_bytes()
    ).hexdigest()
    (version / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="__class__: Extra inputs"):
        load(home)


def test_another_dspy_is_noted(home: Path) -> None:
    version = resolve_version(home)
    _manifest(lambda m: m["versions"].update(dspy="2.6.1"))(version)
    assert open_artifact(home).notes[0].startswith("The artifact was saved with dspy 2.6.1")


NAMES = [
    "a\0b",
    "\ud800",
    "x" * 5000,
    "../up",
    "/etc/passwd",
    "a//b",
    "a\\b",
    "c:d",
    "",
    "a\x1b[2J",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_manifest_with_a_name_that_is_none_is_refused(home: Path, name: str) -> None:
    file = home / "1" / "manifest.json"
    table = json.loads(file.read_text())
    file.write_text(json.dumps({**table, "files": {**table["files"], name: "0" * 64}}))
    with pytest.raises(ArtifactError):
        load(home)
    if "/" not in name and ":" not in name and "\\" not in name:
        file.write_text(json.dumps({**table, "name": name}))
        with pytest.raises(ArtifactError):
            load(home)


def test_a_plain_artifact_of_0_1_is_opened(recipe: Recipe, tmp_path: Path) -> None:
    """0.1 called the dense retriever's parameter `retriever`."""
    plain = recipe.model_copy(update={"program": recipe.program.model_copy(update={"kind": "rag"})})
    version = save(build_program(plain), tmp_path / "old", recipe=plain)
    for name in ("state.json", "manifest.json"):
        text = (version / name).read_text().replace('"retriever.dense"', '"retriever"')
        if name == "manifest.json":
            state = (version / "state.json").read_bytes()
            manifest = json.loads(text)
            manifest["files"]["state.json"] = hashlib.sha256(state).hexdigest()
            manifest["versions"]["ragwright"] = "0.1.0"
            text = json.dumps(manifest)
        (version / name).write_text(text)
    loaded = load(tmp_path / "old")
    assert "Lima" in loaded(question="What is the capital of Peru?").answer


@pytest.mark.parametrize(
    ("base", "environment", "sent"),
    [
        ("https://evil.example/v1", {"OPENAI_API_KEY": "a-key"}, True),
        ("https://evil.example/v1", {}, False),
        ("http://127.0.0.1:8000/v1", {"OPENAI_API_KEY": "a-key"}, False),
        (
            "https://gate.example/v1",
            {"OPENAI_API_KEY": "a-key", "OPENAI_BASE_URL": "https://gate.example"},
            False,
        ),
    ],
)
def test_a_key_that_goes_where_an_artifact_says_is_told_of(
    recipe: Recipe, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, base: str, environment: dict[str, str], sent: bool,
) -> None:  # fmt: skip
    """An artifact may come from anywhere, and names the server that its questions go to."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    lm = recipe.lm.model_copy(update={"model": "openai/x", "api_base": base})
    asking = recipe.model_copy(update={"lm": lm})
    save(build_program(asking), tmp_path / "asking", recipe=asking)
    caplog.clear()
    load(tmp_path / "asking")
    told = [text for text in caplog.messages if "OPENAI_API_KEY" in text]
    assert len(told) == sent
    assert all("evil.example" in text and "a-key" not in text for text in told)
