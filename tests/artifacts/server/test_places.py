"""Where in a document a citation is: its page, slide or sheet."""

from __future__ import annotations

import dspy
import pytest

from ragwright.artifacts.cli.view import show_answer
from ragwright.artifacts.server.openai import source_lines
from ragwright.artifacts.server.replies import passage_reply
from ragwright.artifacts.wire import AskReply, Source
from ragwright.retrievers.types import Passage

PLACES: dict[str, int | str] = {"page": 3, "slide": 2, "sheet": "Prices"}


def passage(**facts: int | str) -> Passage:
    known = {"document": "a.pdf", "title": "Leave", "start": 0, "end": 4, **facts}
    return Passage("text", id="a.pdf:0", score=1.0, metadata=known)


@pytest.mark.parametrize("kind", PLACES)
def test_a_citation_says_its_place(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    cited = passage(**{kind: PLACES[kind]})
    place = f"{kind} {PLACES[kind]}"
    reply = passage_reply(cited, 1)
    assert reply.place == place
    answer = AskReply(
        id="1",
        question="?",
        answer="30",
        citations=[1],
        passages=[reply],
        degraded=[],
        timings_ms={},
        source=Source(artifact="a", version="1", generation=1),
    )
    assert source_lines(answer).endswith(f"[1] Leave, {place}")
    show_answer("?", dspy.Prediction(answer="30", citations=[1], passages=[cited]), as_json=False)
    assert f"a.pdf, {place}, characters 0-4" in capsys.readouterr().out


def test_a_text_has_no_pages() -> None:
    assert passage_reply(passage(), 1).place == ""
