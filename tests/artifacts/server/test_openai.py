"""The OpenAI Python client, pointed at the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.artifacts.server.conftest import KEY, Running

QUESTION = "What is the capital of Japan?"


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_the_artifact_is_the_one_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["capitals"]


def test_it_chats(client: openai.OpenAI, server: Running) -> None:
    done = client.chat.completions.create(
        model="capitals",
        temperature=0.3,
        messages=[
            {"role": "system", "content": "Answer like a pirate."},
            {"role": "user", "content": "What is the capital of Peru?"},
            {"role": "assistant", "content": "Lima"},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
    )
    answer = server.ask(QUESTION).json()["answer"]
    assert done.choices[0].message.content == f"{answer}\n\nSources:\n[1] Japan"
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0


def test_it_streams(client: openai.OpenAI, server: Running) -> None:
    stream = client.chat.completions.create(
        model="capitals",
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    answer = server.ask(QUESTION).json()["answer"]
    assert "".join(texts) == f"{answer}\n\nSources:\n[1] Japan"
    assert len([text for text in texts if text]) >= len(answer.split()) + 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


PARTS = [
    [{"type": "text", "text": None}, {"type": "input_text", "text": QUESTION}],
    [QUESTION], [{"text": QUESTION}], [{"type": "image_url", "image_url": {}}, {"text": QUESTION}],
]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [{"model": None}, {"stream": True, "stream_options": {"include_usage": None}},
     *({"messages": [{"role": "user", "content": parts}]} for parts in PARTS)],
)  # fmt: skip
def test_what_front_ends_leave_empty_or_spell_otherwise_is_taken(
    server: Running, body: dict[str, Any]
) -> None:
    asked = {"model": "capitals", "messages": [{"role": "user", "content": QUESTION}]}
    reply = server.client.post("/v1/chat/completions", json={**asked, **body})
    assert reply.status_code == 200, reply.text
    assert "Tokyo" in reply.text


def test_mistakes_are_the_clients_own_errors(client: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": QUESTION}]
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client.chat.completions.create(model="gpt", messages=asked)  # type: ignore[arg-type]
    with pytest.raises(openai.UnprocessableEntityError, match="no text"):
        client.chat.completions.create(
            model="capitals", messages=[{"role": "system", "content": "hello"}]
        )
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


WORK = (
    "### Task:\nSuggest 3-5 relevant follow-up questions.\n### Output:\nJSON format: "
    f'{{ "follow_ups": [] }}\n### Chat History:\n<chat_history>\nUSER: {QUESTION}\n</chat_history>',
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. "
    f"Only return the title itself.\n\nConversation:\nUser: {QUESTION}\nAI: Paris",
    "Please generate a concise, 5-word-or-less title for the conversation, in its language.",
    "Please generate a concise title (max 40 characters) for a conversation that starts with:\n"
    f"User: {QUESTION}",
    "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A "
    f"concise title in the detected language\n\nUser: {QUESTION}",
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", WORK)
def test_work_on_a_chat_is_no_question(
    client: openai.OpenAI, server: Running, asked: str, stream: bool
) -> None:
    """Front ends ask the same route for a title, tags and follow-up questions of each chat."""
    before = server.metric("ragwright_answers_total", outcome="ok")
    with pytest.raises(openai.UnprocessableEntityError, match="work on a chat"):
        client.chat.completions.create(
            model="capitals", messages=[{"role": "user", "content": asked}], stream=stream
        )
    assert server.metric("ragwright_answers_total", outcome="ok") == before
    done = client.chat.completions.create(
        model="capitals", messages=[{"role": "user", "content": f"### Task: {QUESTION}"}]
    )
    assert done.choices[0].message.content


@pytest.mark.parametrize(
    "question",
    ["How do I generate a title for the conversation?", "Which title for a chat is the best?",
     "Create a user. Where is the title for the conversation kept?"],
)  # fmt: skip
def test_a_question_about_titles_is_one(client: openai.OpenAI, question: str) -> None:
    done = client.chat.completions.create(
        model="capitals", messages=[{"role": "user", "content": question}]
    )
    assert done.choices
