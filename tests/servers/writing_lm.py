"""A language model on loopback that writes questions about passages, answers them, and judges.

It does what a small hosted model does, from a script: most of its questions are sound, some quote
what does not stand there, turn a sentence round, ask what anybody knows, or are cut off. It answers
in a whole sentence until it is shown how short an answer is wanted.

    python -m tests.servers.writing_lm 8000      serves until it is interrupted
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from tests.servers.scripted_lm import Call, ScriptedLM

_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")
_WORD = re.compile(r"[^\W_][\w-]{3,}")
UNKNOWN = "unknown"
DECOYS = ("quoted", "turned round", "common knowledge", "unreadable")
"""What is wrong with one question in sixteen each."""


@dataclass
class WritingLM(ScriptedLM):
    """The scripted server with a memory of what it asked.

    Attributes:
        known: The answer of every question that it wrote last, and the decoy it is, if any.
        flawed: Every decoy that was to have an answer: question and answer. The same question about
            another passage may be sound.
    """

    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    flawed: set[tuple[str, str]] = field(default_factory=set)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, call: Call, *, as_json: bool) -> str:
        """Return the text of a reply: a written question whole, other fields one by one."""
        if "evidence" not in call.wanted or "passages" not in call.fields:
            return super().reply(call, as_json=as_json)
        written = self._written(call.fields)
        if written is None:
            return "I could not think of a question."
        said = {name: partial(_given, written[name]) for name in call.wanted}
        return ScriptedLM(script=said).reply(call, as_json=as_json)

    def _written(self, fields: Mapping[str, str]) -> dict[str, object] | None:
        passages, kind = json.loads(fields["passages"]), fields["kind"].partition(":")[0]
        evidence = [sentence_of(passage) for passage in passages]
        subject = " and ".join(" ".join(rare(part)[-2:]) for part in evidence)
        answer = ", ".join(tail(part) for part in evidence)
        decoy = decoy_of(fields["passages"])
        if decoy == "unreadable":
            return None
        if kind == "unanswerable":
            question, answer, evidence = f"Who invented {subject}, and when?", "", []
        elif decoy == "turned round":
            question = evidence[0]
        else:
            question = f"What should a newcomer know of {subject}?"
        if decoy == "quoted":
            evidence = [f"As it says, {part}" for part in evidence]
        with self._writing:
            self.known[question] = (answer, decoy)
            if answer and decoy:
                self.flawed.add((question, answer))
        return {"question": question, "answer": answer, "evidence": evidence}

    def _value(self, name: str, call: Call) -> object:
        answer, decoy = self.known.get(call.fields.get("question", ""), ("", ""))
        read = call.fields.get("context", call.fields.get("evidence"))
        if name == "answer" and read is None:
            return answer if decoy == "common knowledge" else UNKNOWN
        if name == "answer":
            return self._read(answer, read or "", call)
        if name in {"precision", "recall", "groundedness"}:
            return "0.9" if answer and answer in call.fields.get("system_response", answer) else "0"
        return super()._value(name, call)

    def _read(self, answer: str, read: str, call: Call) -> str:
        """The answer where what it read holds it; in a sentence unless it was shown otherwise."""
        if not answer or not all(part in read for part in answer.split(", ")):
            return UNKNOWN
        shown = any(message["role"] == "assistant" for message in call.messages)
        brief = shown or "evidence" in call.fields
        return answer if brief else f"According to the documents, the answer to this is {answer}"


def sentence_of(passage: str) -> str:
    """The longest sentence of a passage that JSON and a model's copy leave as it is."""
    plain = [part.strip() for part in _SENTENCE.split(passage)]
    return max((part for part in plain if '"' not in part and "\\" not in part), key=len)


def rare(sentence: str) -> list[str]:
    """The longest words of a sentence, the longest last."""
    return sorted(set(_WORD.findall(sentence)), key=lambda word: (len(word), word))


def tail(sentence: str) -> str:
    """The last three words of a sentence, as they stand there."""
    return " ".join(sentence.rstrip(".!?:;").replace(",", "").split()[-3:])


def decoy_of(text: str) -> str:
    """What will be wrong with a question about a text; nothing with most."""
    drawn = hashlib.sha256(text.encode()).digest()[0] % 16
    return DECOYS[drawn] if drawn < len(DECOYS) else ""


def _given(value: object, _: Mapping[str, str]) -> object:
    return value


def main() -> None:
    """Serve on loopback until Ctrl-C."""
    with WritingLM() as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
