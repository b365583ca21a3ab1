"""Streams: typed events in order, alone and many at once, cached and from an artifact."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts import load, save
from ragwright.programs.build import build_program, build_recipe_lm
from ragwright.programs.kinds import HybridRAG
from ragwright.programs.recipe import Recipe
from ragwright.programs.streaming import Cited, Done, Event, Retrieved, Token, Used, stream
from tests.programs.conftest import FACTS, client
from tests.servers.scripted_lm import ScriptedLM

QUESTION = "What is the capital of France?"


async def collect(program: dspy.Module, question: str = QUESTION) -> list[Event]:
    return [event async for event in stream(program, question)]


def joined(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def program(index_path: str, lm: dspy.LM) -> HybridRAG:
    built = HybridRAG(index_path)
    built.set_lm(lm)
    return built


def test_the_events_come_in_order(index_path: str, server: ScriptedLM) -> None:
    events = asyncio.run(collect(program(index_path, client(server))))
    kinds = [type(event) for event in events]
    tokens = kinds.count(Token)
    assert tokens > 3
    assert kinds == [Retrieved, *[Token] * tokens, Cited, Used, Done]
    cited, used = events[-3], events[-2]
    assert isinstance(cited, Cited)
    assert {number: passage.document for number, passage in cited.citations.items()} == {1: "paris"}
    assert isinstance(used, Used)
    assert used.usage["openai/scripted"]["completion_tokens"] > 0


def test_64_streams_at_once_each_say_their_own(index_path: str, server: ScriptedLM) -> None:
    asked = [text.split(" is ")[0].split(" was ")[0] for text in FACTS.values()]
    questions = [f"What about {asked[n % len(asked)]} number {n}?" for n in range(64)]
    server.script = {"answer": lambda fields: f"You asked: {fields['question']} I say {'so ' * 9}."}
    shared = program(index_path, client(server))

    async def together() -> list[list[Event]]:
        return await asyncio.gather(*(collect(shared, question) for question in questions))

    for question, events in zip(questions, asyncio.run(together()), strict=True):
        done = events[-1]
        assert isinstance(done, Done)
        assert joined(events) == done.prediction.answer
        assert question in joined(events)
        assert sum(isinstance(event, Token) for event in events) > 5
    assert len(server.calls) == 64


def test_a_cached_answer_is_streamed_too(index_path: str, server: ScriptedLM) -> None:
    cached = program(index_path, client(server, cache=True, temperature=0.125))
    first, second = (asyncio.run(collect(cached)) for _ in range(2))
    assert len(server.calls) == 1
    assert joined(first) == joined(second) == "Paris is the capital of France."


def test_a_program_from_an_artifact_streams(index_path: str, tmp_path: Path) -> None:
    recipe = Recipe.checked({"index": {"path": index_path, "embedder": "hash"}})
    save(build_program(recipe, lm=build_recipe_lm(recipe)), tmp_path / "saved", recipe=recipe)
    loaded = load(tmp_path / "saved")
    events = asyncio.run(collect(loaded, "Who wrote Python?"))
    assert joined(events) == loaded(question="Who wrote Python?").answer
    assert "Rossum" in joined(events)
    assert sum(isinstance(event, Token) for event in events) > 1


def test_leaving_early_cancels_the_call(index_path: str, server: ScriptedLM) -> None:
    server.slow_seconds = 30
    server.fail("slow")
    running = program(index_path, client(server))

    async def leave() -> tuple[Event, int]:
        events = stream(running, QUESTION)
        found = await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        return found, len([task for task in asyncio.all_tasks() if not task.done()])

    found, tasks = asyncio.run(leave())
    assert isinstance(found, Retrieved)
    assert tasks == 1


def test_another_module_gives_its_answer_as_one_token() -> None:
    class Echo(dspy.Module):
        async def aforward(self, question: str) -> Any:
            return dspy.Prediction(answer=question.upper())

    events = asyncio.run(collect(Echo(), "hi there"))
    assert [type(event) for event in events] == [Token, Cited, Used, Done]
    assert joined(events) == "HI THERE"


def test_the_event_loop_stays_free(index_path: str, server: ScriptedLM) -> None:
    turned = threading.Event()
    server.script = {"answer": lambda _: "free" if turned.wait(20) else "held"}
    running = program(index_path, client(server))

    async def both() -> list[Event]:
        task = asyncio.create_task(collect(running))
        while not server.calls:
            await asyncio.sleep(0.001)
        for _ in range(10):  # while the model has yet to answer
            await asyncio.sleep(0.001)
        turned.set()
        return await task

    assert joined(asyncio.run(both())) == "free"
