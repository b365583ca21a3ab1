"""Filters of every wrong kind, with `[fallback]` on: nobody else's answers are the worse for them.

`make attack` tries more of them: RAGWRIGHT_REQUESTS.
"""

from __future__ import annotations

import json
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from ragwright.artifacts.server import ServerSettings, create_app
from ragwright.artifacts.store import save
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.artifacts.server.conftest import running

TRIED = int(os.environ.get("RAGWRIGHT_REQUESTS", "150"))
QUESTION = "What is the capital of Peru?"
KEYS = [
    "year", "share", "flag", "title", "document", "#document", "chroma:document", "$and", "$not",
    "", "é", "year ", "YEAR", "a.b", "a'b", 'a"b', "a;--", "x" * 300, "id", "\u202e", "_id",
]  # fmt: skip
OPERATORS = [
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$not_contains", "$and",
    "$or", "$not", "$exists", "$regex", "",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -0.0, 2000, 2001.0, 2**31, 2**53, 2**53 + 1, 2**63, 10**30, 1e308, 5e-324,
    float("nan"), float("inf"), "", "x", "2001", "\0", "\ud800", "\u202e", "x" * 3000, "'", "%",
]  # fmt: skip


def value(rng: random.Random, depth: int) -> Any:
    kind = rng.random() if depth > 0 else 0
    if kind < 0.6:
        return rng.choice(VALUES)
    if kind < 0.85:
        return [value(rng, depth - 2) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    return condition(rng, depth - 1)


def condition(rng: random.Random, depth: int) -> dict[str, Any]:
    return {rng.choice(OPERATORS): value(rng, depth - 1) for _ in range(rng.choice([0, 1, 1, 2]))}


def odd(rng: random.Random, depth: int = 3) -> Any:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(VALUES)
    if kind < 0.35 and depth:
        parts = [odd(rng, depth - 1) for _ in range(rng.choice([0, 1, 2, 3]))]
        return {rng.choice(["$and", "$or", "$not"]): parts}
    return {
        rng.choice(KEYS): rng.choice(VALUES) if rng.random() < 0.4 else condition(rng, depth)
        for _ in range(rng.choice([1, 1, 1, 2]))
    }


def standing(folder: Path) -> ServerSettings:
    table = {
        "name": "capitals",
        "index": {"path": str(folder / "index"), "embedder": "hash"},
        "fallback": {"failures": 2, "cooldown_seconds": 300},
    }
    recipe = Recipe.checked(table)
    documents = [
        Document(city, f"The capital of {land} is {city}.", metadata={"year": year, "flag": True})
        for land, city, year in (("Peru", "Lima", 2000), ("Italy", "Rome", 2001))
    ]
    ingest(documents, recipe.index.path, index_settings(recipe))
    save(build_program(recipe), folder / "artifact", recipe=recipe)
    artifact = str(folder / "artifact")
    return ServerSettings(artifact=artifact, feedback="", mcp=True, cache_entries=0)


def test_no_filter_costs_anybody_else_an_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(3)
    head = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    seen = set()
    with running(create_app(standing(tmp_path), keys=())) as server:
        for _ in range(TRIED):
            body: Any = {"question": QUESTION, "where": odd(rng)}
            path = rng.choice(["/v1/ask", "/v1/search", "/v1/ask/stream", "/mcp/"])
            if path == "/mcp/":
                call = {"name": rng.choice(["search", "ask"]), "arguments": body}
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
            said = server.client.post(path, content=json.dumps(body), headers=head)
            seen.add(said.status_code)
            assert said.status_code < 500, (path, body, said.text[:300])
            assert "event: error" not in said.text, (path, body)
        after = server.ask(QUESTION).json()
        assert (after["degraded"], "Lima" in after["passages"][0]["text"]) == ([], True)
    assert seen >= {200, 422}
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
