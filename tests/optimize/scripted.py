"""Compiles of the small world with a language model over HTTP: the scripted server."""

from __future__ import annotations

import gc
import inspect
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy

from ragwright.optimize.questions.data import Side, TrainingSet, read_questions
from tests.servers.scripted_lm import Call, ScriptedLM, best_sentence

TOLD = "Answer with one word."
WRITTEN = (
    "proposed_instruction", "new_instruction", "improved_instruction", "natural_language_rules",
    "module_advice",
)  # fmt: skip
_TOWN = re.compile(r"(\d{4})|by the name of (\w+)")


def short_answer(fields: Mapping[str, str]) -> str:
    """The wanted word of the sentence that fits, as a model answers that has understood."""
    _, sentence = best_sentence(fields)
    found = _TOWN.search(sentence)
    return (found[1] or found[2]) if found else sentence


class Writing(ScriptedLM):
    """Answers in a whole sentence until it is told, or shown, to give the word alone.

    It writes instructions that say so, each one different.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._written = itertools.count(1)

    def _value(self, name: str, call: Call) -> object:
        if name == "answer" and self._knows(call):
            return short_answer(call.fields)
        if name in WRITTEN:
            return f"{TOLD} Version {next(self._written)}."
        if name == "queries":
            return [call.fields["question"]]
        return super()._value(name, call)

    def _knows(self, call: Call) -> bool:
        shown = [message for message in call.messages if message["role"] == "assistant"]
        return bool(shown) or TOLD in json.dumps(call.messages)


def small(world: Path, train: int = 10, dev: int = 10, test: int = 20) -> TrainingSet:
    """So many questions to learn from, to choose on, to test on."""
    counts: dict[Side, int] = {"train": train, "dev": dev, "test": test}
    questions = read_questions(world / "questions.jsonl").questions[: sum(counts.values())]
    sides = [side for side, count in counts.items() for _ in range(count)]
    pairs = zip(questions, sides, strict=True)
    return TrainingSet(tuple(replace(question, split=side) for question, side in pairs))


def few(world: Path) -> TrainingSet:
    """As few as can be compiled with where `few_are_enough`, for what optimizers do."""
    return small(world, train=8, dev=8, test=8)


def lm_of(server: ScriptedLM, **options: Any) -> dspy.LM:
    """The server through DSPy's own client, as for users, without any cache of DSPy's."""
    settings = {"num_retries": 3, "timeout": 60, "temperature": 0.0, **options}
    return dspy.LM("openai/scripted", api_base=server.url, api_key="test", cache=False, **settings)


def close_clients() -> None:
    """Close the connections that LiteLLM keeps, which would else be left to the collector."""
    import litellm

    kept = litellm.in_memory_llm_clients_cache
    for client in list(kept.cache_dict.values()):
        if hasattr(client, "close") and not inspect.iscoroutinefunction(client.close):
            client.close()
    kept.flush_cache()
    gc.collect()
