"""A window that only the server knows: asked for, learned from a refusal, and kept to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ragwright.programs import HybridRAG
from ragwright.programs.lm import build_lm
from ragwright.programs.windows import learned_window, served_slots, served_window
from ragwright.retrievers.errors import InputError


class Small(BaseHTTPRequestHandler):
    """Refuses prompts of more than `limit` characters, as llama.cpp does."""

    limit = 1500
    states: dict[str, Any] | None = None
    asked: list[int]

    def do_GET(self) -> None:
        known = self.path.endswith("/models") and self.states is not None
        self._send(200 if known else 404, self.states if known else {"error": "none"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        size = sum(len(message["content"]) for message in body["messages"])
        self.asked.append(size)
        if size > self.limit:
            said = "the request exceeds the available context size (1300 tokens), try increasing it"
            self._send(400, {"error": {"message": said, "type": "exceed_context_size_error"}})
            return
        text = "[[ ## answer ## ]]\nParis\n\n[[ ## citations ## ]]\n[1]\n\n[[ ## completed ## ]]"
        choice = {"index": 0, "message": {"role": "assistant", "content": text},
                  "finish_reason": "stop"}  # fmt: skip
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self._send(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m",
                         "choices": [choice], "usage": usage})  # fmt: skip

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def small() -> Iterator[tuple[type[Small], str]]:
    handler = type("Handler", (Small,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def program(index_path: str, url: str, **more: Any) -> HybridRAG:
    built = HybridRAG(index_path)
    lm = build_lm("openai/m", api_base=url, cache=False, num_retries=0, max_tokens=100, **more)
    built.set_lm(lm)
    return built


def test_a_server_of_ones_own_needs_no_key_and_says_its_window(
    small: tuple[type[Small], str], index_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    handler, url = small
    handler.limit = 10**6
    handler.states = {"data": [{"id": "m", "max_model_len": 4096}]}
    built = program(index_path, url)
    assert built(question="What is the capital of France?").answer == "Paris"
    assert served_window(built.respond.lm) == 4096


@pytest.mark.parametrize(
    "states", [{"n_ctx": True}, {"default_generation_settings": [1]}, {"data": [3]}, [], 7, "x"]
)
def test_a_server_that_says_something_else_has_a_window_that_is_not_known(
    small: tuple[type[Small], str], states: Any
) -> None:
    handler, url = small
    handler.states = states
    lm = build_lm("openai/m", api_base=url)
    assert served_window(lm) is None
    assert served_slots(lm) is None


def test_a_refused_prompt_is_packed_anew_once_and_then_refused_as_the_clients(
    small: tuple[type[Small], str], index_path: str
) -> None:
    handler, url = small
    built = program(index_path, url)
    handler.limit = 0
    with pytest.raises(InputError, match=r"do not fit the window|leave 100 tokens"):
        built(question="What is the capital of France?")
    assert len(handler.asked) <= 2
    assert learned_window(built.respond.lm) is not None
