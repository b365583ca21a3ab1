"""Compiles of the small world with a language model over HTTP: the scripted server."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import dspy

from tests.servers.scripted_lm import ScriptedLM, best_sentence

_TOWN = re.compile(r"(\d{4})|by the name of (\w+)")


def short_answer(fields: Mapping[str, str]) -> str:
    """The wanted word of the sentence that fits, as a model answers that has understood."""
    _, sentence = best_sentence(fields)
    found = _TOWN.search(sentence)
    return (found[1] or found[2]) if found else sentence


class Writing(ScriptedLM):
    """Answers from the context and writes numbered instructions, each one different."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        count = itertools.count(1)
        written = {
            name: (lambda fields: f"Answer with one word. Version {next(count)}.")
            for name in ("proposed_instruction", "new_instruction", "improved_instruction",
                         "natural_language_rules")
        }  # fmt: skip
        self.script = {"answer": short_answer, "reasoning": "It stands there.", **written}


def lm_of(server: ScriptedLM, **options: Any) -> dspy.LM:
    """The server through LiteLLM, without any cache of DSPy's."""
    settings = {"num_retries": 3, "timeout": 5, "temperature": 0.0, **options}
    return dspy.LM(
        "openai/scripted", api_base=server.url, api_key="test", cache=False, engine="litellm",
        **settings,
    )  # fmt: skip
