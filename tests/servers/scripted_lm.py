"""An OpenAI-compatible language model over real HTTP on loopback, for tests.

Comes in: chat completions whose prompts DSPy's adapters wrote. Goes out: one value per wanted
field, from `script` where it names the field, otherwise worked out from the prompt: `answer` is
the sentence of the context that shares most words with the question, `citations` its number.
Faults are injected on purpose and every call is counted. It knows nothing of ragwright.

    with ScriptedLM() as server:
        lm = dspy.LM("openai/scripted", api_base=server.url, api_key="test", cache=False)
        server.fail("429", times=2)
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Fault = Literal["429", "500", "hang", "slow", "garbage", "empty", "half", "drop"]
"""429 and 500: that status. hang: no reply until the server closes. slow: a pause before the
reply. garbage: text that no adapter parses. empty: no text. half: the reply breaks off in the
middle (a stream is cut, a whole reply stops inside its JSON). drop: the connection closes at once.
"""

Script = Mapping[str, str | Callable[[Mapping[str, str]], object]]

_BLOCK = re.compile(r"\[\[ ## (\w+) ## \]\]\n(.*?)(?=\n\[\[ ## |\nRespond with|\Z)", re.DOTALL)
_WANTED = re.compile(r"\[\[ ## (\w+) ## \]\]")
_PASSAGE = re.compile(r"\[(\d+)\] ([^\[]*)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Call:
    """One request that arrived.

    Attributes:
        fields: The input fields of the last user message.
        wanted: The output fields that it asks for.
        messages: Everything that was sent.
        model: The model string.
        stream: Whether a stream was asked for.
        limit: The most tokens that were asked for, if any.
    """

    fields: dict[str, str]
    wanted: tuple[str, ...]
    messages: tuple[dict[str, Any], ...]
    model: str
    stream: bool
    limit: int | None = None


@dataclass
class ScriptedLM:
    """The server; a context manager.

    Attributes:
        script: What to say for a field: a text, or a function of the input fields.
        slow_seconds: How long "slow" waits.
        calls: Every request so far, in order of arrival.
    """

    script: Script = field(default_factory=dict)
    slow_seconds: float = 0.5
    calls: list[Call] = field(default_factory=list)
    _faults: deque[Fault] = field(default_factory=deque)
    _always: Fault | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        handler = type("Handler", (self.handler(),), {"scripted": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handler(self) -> type[_Handler]:
        """What answers a connection."""
        return _Handler

    @property
    def url(self) -> str:
        """The address to give as `api_base`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def fail(self, fault: Fault, *, times: int | None = None) -> None:
        """Answer the next `times` calls with a fault, or every call until `recover`."""
        with self._lock:
            if times is None:
                self._always = fault
            else:
                self._faults.extend([fault] * times)

    def recover(self) -> None:
        """Answer properly from now on."""
        with self._lock:
            self._always = None
            self._faults.clear()

    def arrived(self, call: Call) -> Fault | None:
        """Count a call and say what is to go wrong with it."""
        with self._lock:
            self.calls.append(call)
            return self._faults.popleft() if self._faults else self._always

    def wait(self, seconds: float | None) -> None:
        """Wait, but not past the closing of the server."""
        self._closing.wait(seconds)

    def reply(self, call: Call, *, as_json: bool) -> str:
        """Return the text of a proper reply."""
        values = {name: self._value(name, call) for name in call.wanted}
        if as_json:
            return json.dumps(values)
        blocks = [f"[[ ## {name} ## ]]\n{_shown(value)}" for name, value in values.items()]
        return "\n\n".join([*blocks, "[[ ## completed ## ]]"])

    def _value(self, name: str, call: Call) -> object:
        if name in self.script:
            said = self.script[name]
            return said(call.fields) if callable(said) else said
        number, sentence = best_sentence(call.fields)
        known: dict[str, object] = {"answer": sentence, "citations": [number] if number else []}
        return known.get(name, sentence)


def best_sentence(fields: Mapping[str, str]) -> tuple[int, str]:
    """Return the sentence of the numbered context that shares most words with the question.

    With its passage's number; (0, "I don't know") where nothing is shared.
    """
    asked = set(_WORD.findall(fields.get("question", "").lower()))
    best, chosen = 0, (0, "I don't know")
    for number, text in _PASSAGE.findall(_passages(fields.get("context", ""))):
        for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
            shared = len(asked & set(_WORD.findall(sentence.lower())))
            if shared > best:
                best, chosen = shared, (int(number), sentence.strip())
    return chosen


def _passages(context: str) -> str:
    try:
        listed = json.loads(context)
    except json.JSONDecodeError:
        return context
    return "\n".join(str(item) for item in listed) if isinstance(listed, list) else context


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def parse(body: Mapping[str, Any]) -> tuple[Call, bool]:
    messages = tuple(body["messages"])
    last = _text(messages[-1])
    asking = last[last.rfind("Respond with") :] if "Respond with" in last else last
    as_json = "JSON" in asking
    named = re.findall(r"`(\w+)`", asking) if as_json else _WANTED.findall(asking)
    wanted = tuple(name for name in dict.fromkeys(named) if name != "completed")
    given = last[: last.rfind("Respond with")] + "\nRespond with"
    fields = {name: value.strip() for name, value in _BLOCK.findall(given)}
    stream = bool(body.get("stream"))
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    return Call(fields, wanted, messages, str(body.get("model", "")), stream, limit), as_json


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    scripted: ScriptedLM
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call, as_json = parse(body)
        fault = self.scripted.arrived(call)
        if fault in ("429", "500"):
            self._json(int(fault), {"error": {"message": f"scripted {fault}", "type": "scripted"}})
            return
        if fault in ("hang", "drop"):
            self.scripted.wait(None if fault == "hang" else 0)
            self.close_connection = True
            return
        if fault == "slow":
            self.scripted.wait(self.scripted.slow_seconds)
        said = {"garbage": "%% !! @@", "empty": ""}.get(fault or "")
        text = self.scripted.reply(call, as_json=as_json) if said is None else said
        send = self._stream if call.stream else self._whole
        send(call, text, half=fault == "half")

    def _whole(self, call: Call, text: str, *, half: bool) -> None:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        value = {
            **_envelope(call, "chat.completion"),
            "choices": [choice],
            "usage": _usage(call, text),
        }
        self._json(200, value, half=half)

    def _stream(self, call: Call, text: str, *, half: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        pieces = re.findall(r"\s*\S+|\s+\Z", text)
        for piece in pieces[: len(pieces) // 2] if half else pieces:
            self._event(call, {"choices": [_delta({"content": piece}, None)]})
        if half:
            return
        self._event(call, {"choices": [_delta({}, "stop")]})
        self._event(call, {"choices": [], "usage": _usage(call, text)})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, call: Call, value: dict[str, Any]) -> None:
        line = json.dumps({**_envelope(call, "chat.completion.chunk"), **value})
        self.wfile.write(f"data: {line}\n\n".encode())
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any], *, half: bool = False) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if half else content)
        self.close_connection = half

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


def _envelope(call: Call, kind: str) -> dict[str, Any]:
    return {"id": "scripted", "object": kind, "created": 0, "model": call.model}


def _delta(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _usage(call: Call, text: str) -> dict[str, int]:
    asked = sum(len(_text(message).split()) for message in call.messages)
    said = len(text.split())
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
