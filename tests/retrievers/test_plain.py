"""Text that was written for programs is read as people read it: JSON, subtitles, cards, XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.documents.json_text import format_json
from ragwright.retrievers.documents.plain import READERS

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES, st.sampled_from([(",", ":"), (", ", ": ")]))
def test_json_says_the_same_with_its_letters_and_on_several_lines(
    value: object, separators: tuple[str, str]
) -> None:
    written = json.dumps({"value": value, "padding": "x" * 200}, separators=separators)
    text = format_json(written)
    assert json.loads(text) == json.loads(written)
    assert format_json(text) == text


def test_letters_of_json_are_found_and_its_parts_are_lines() -> None:
    rows = [{"name": "Müller", "said": 'a "quote"\n你好 😀', "n": [1, 2]} for _ in range(9)]
    text = format_json(json.dumps(rows))
    assert text.startswith('[\n {\n  "name": "Müller",\n  "said": "a \\"quote\\"\\n你好 😀",')
    assert '"n": [1, 2]}' in text
    broken = json.dumps(rows)[:-5]
    assert format_json(broken) == broken.replace("\\u00fc", "ü").replace(
        "\\u4f60\\u597d", "你好"
    ).replace("\\ud83d\\ude00", "😀")


SAID = {
    "a.srt": "1\n00:00:01,000 --> 00:00:04,000\nWelcome to the <i>yearly</i>\n\n"
    "2\n00:00:04,000 --> 00:00:08,000\nbudget meeting &amp; more\n",
    "a.vtt": "WEBVTT\n\nNOTE a remark\n\n00:01.000 --> 00:04.000 align:start\nWelcome to the "
    "yearly\n\nx\n00:04.000 --> 00:08.000\nbudget <00:05.000><c>meeting</c> &amp; more\n\n"
    "00:08.000 --> 00:09.000\nbudget meeting &amp; more\n",
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_in_subtitles_is_in_one_piece(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SAID[name])
    (document,) = read_documents(tmp_path / name)
    assert document.text == "Welcome to the yearly\nbudget meeting & more"
    assert [(place.start, str(place.metadata["moment"])[-5:]) for place in document.places] == [
        (0, "00:01"), (22, "00:04")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "text", "said"),
    [
        (".vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann Lee>Hello", "Ann Lee: Hello"),
        (".srt", "no subtitle at all", "no subtitle at all"),
        (".ics", "SUMMARY:A descrip\n tion\\, with comma\\nand line", "description, with comma\n"),
        (".vcf", "FN:Ann\nPHOTO;ENCODING=b:AAAA\n BBBB\nEMAIL:a@x.org", "FN:Ann\nEMAIL:a@x.org"),
        (".xml", "<a>Caf&#233; &lt;b&gt; &amp; &#x4f60;</a>", "<a>Café &lt;b&gt; &amp; 你</a>"),
        (".svg", '<svg><text x="&quot;">A &lt;&#10;B</text></svg>', "A < B"),
        (".xsl", '<text x="&quot;">&#10;</text>', '<text x="&quot;">&#10;</text>'),
    ],
)  # fmt: skip
def test_folded_lines_and_references_are_read(suffix: str, text: str, said: str) -> None:
    assert said in READERS[suffix](text).text


@settings(deadline=None)
@given(st.text('ab1\n\\u-> :.,<>&;"{}[]#', max_size=60), st.sampled_from(sorted(READERS)))
def test_any_text_may_have_any_of_these_names(text: str, suffix: str) -> None:
    READERS[suffix](text)


def _node(above: str | None, who: str, said: str) -> dict[str, Any]:
    text = {"content_type": "text", "parts": [said]}
    return {"parent": above, "message": {"author": {"role": who}, "content": text}}


ASKED, REPLIED = "How is it?", "It is broken."
SLACK = [
    {"type": "message", "user": "ann", "text": ASKED, "ts": "1704153600.0001", "blocks": [{}]},
    {"type": "message", "subtype": "channel_join", "user": "eve", "text": "joined", "ts": "2"},
    {"type": "message", "user": "bob", "text": REPLIED, "ts": "1704153660.0"},
]
CHATS: dict[str, Any] = {
    "lists of messages (Slack)": SLACK,
    "channel (Discord)": {
        "channel": {"name": "Pumps"},
        "messages": [
            {"content": ASKED, "author": {"name": "ann"}, "timestamp": "2024-01-02T00:00:00+00:00"},
            {"content": "", "author": {"name": "ann"}, "timestamp": "2024-01-02T00:00:30+00:00"},
            {"content": REPLIED, "author": {"name": "bob"}, "timestamp": "2024-01-02T00:01:00"},
        ],
    },
    "text in parts (Telegram)": {
        "name": "Pumps",
        "messages": [
            {"type": "service", "from": "ann", "text": "", "date": "2024-01-01"},
            {"from": "ann", "text": ["How ", {"type": "bold", "text": "is it?"}], "date": "2024"},
            {"from": "bob", "text": REPLIED, "date": "2024-01-02T00:01:00"},
        ],
    },
    "trees (ChatGPT)": [
        {
            "title": "Pumps",
            "current_node": "b",
            "mapping": {
                "b": _node("a", "bob", REPLIED),
                "x": _node("a", "bob", "Not this one."),
                "a": _node(None, "ann", ASKED),
            },
        }
    ],
    "newest first, in letters of bytes (Messenger)": {
        "title": "Pumps",
        "messages": [
            {"sender_name": "bob", "timestamp_ms": 1704153660000, "content": REPLIED},
            {"sender_name": "ann", "timestamp_ms": 1704153600000, "content": ASKED},
        ],
    },
}


@pytest.mark.parametrize("kind", CHATS)
def test_a_conversation_is_a_line_a_message(kind: str) -> None:
    found = READERS[".json"](json.dumps(CHATS[kind]))
    title = "" if kind.endswith("(Slack)") else "Pumps"
    assert found.title == title
    assert found.text.removeprefix("# Pumps\n\n") == f"ann: {ASKED}\nbob: {REPLIED}"
    if found.places:
        assert [found.text[at:].partition(":")[0] for at, _ in found.places] == ["ann", "bob"]
        assert found.places[1][1]["time"].startswith("2024-01-02T00:01:00")


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"key": "a", "text": "Sign in"}]},
        {"messages": {"login": "Sign in"}},
        {"messages": [1]},
        [{"messages": []}, {"other": 1}],
        {"mapping": {"a": 1}, "title": "x"},
        {"messages": [{"from": "a", "text": [[[[[["deep"]]]]]]}]},
    ],
)
def test_what_is_no_conversation_stays_as_it_is(value: Any) -> None:
    said = json.dumps(value)
    assert READERS[".json"](said).text == said


@pytest.mark.parametrize("time", [10**400, 1e308, -1, "9" * 400, float("nan"), [], True])
def test_a_message_whose_time_is_none_has_none(time: Any) -> None:
    message = {"role": "user", "content": "Hello.", "timestamp": time}
    found = READERS[".json"](json.dumps({"messages": [message]}))
    assert found.text == "user: Hello."
    assert all(not known.get("time", "").startswith("2") for _, known in found.places)


def test_a_transcript_is_a_line_a_segment_with_its_moment() -> None:
    parts = [{"start": 0, "text": " Hello."}, {"start": 3725.4, "text": " Bye.", "tokens": [1]}]
    found = READERS[".json"](json.dumps({"text": " Hello. Bye.", "segments": parts}))
    assert found.text == "Hello.\nBye."
    assert found.places == [(0, {"moment": "00:00:00"}), (7, {"moment": "01:02:05"})]
    other = json.dumps({"segments": [{"start": "x", "text": 1}]})
    assert READERS[".json"](other).text == other


def test_lists_of_numbers_that_nobody_reads_are_told_and_left_out() -> None:
    corners = [[6.95, 50.94]] * 40
    place = {"name": "Cathedral", "geometry": {"coordinates": [corners]}, "vector": [0.5] * 400}
    found = READERS[".geojson"](json.dumps({"features": [{**place, "years": [1248, 1880]}]}))
    said = json.loads(found.text)["features"][0]
    assert said["geometry"] == {"coordinates": "80 numbers"}
    assert (said["vector"], said["years"], said["name"]) == (
        "400 numbers",
        [1248, 1880],
        "Cathedral",
    )
    assert found.notes == ["2 long lists of numbers in it are not read"]
