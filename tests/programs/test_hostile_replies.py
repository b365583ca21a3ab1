"""Replies of a language model's server that are wrong below their text: bodies, heads, bills.

Over real HTTP on loopback, through DSPy's own client: a body without an end took the memory of the
process, one that drips its time, and numbers of tokens that are none the answer.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.exceptions import LMError

from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.ledger import CallLedger
from ragwright.optimize.spending.metered import MeteredLM
from ragwright.programs.causes import cause_of
from ragwright.programs.lm import build_lm
from ragwright.programs.lm_wrapper import as_lm
from ragwright.programs.reply_limits import MOST_PAUSE, cap_retry_after
from ragwright.programs.reply_shapes import as_events
from ragwright.programs.usage import MOST_TOKENS, plain_usage
from ragwright.programs.windows import served_window

ANSWER = "[[ ## answer ## ]]\nLima\n\n[[ ## completed ## ]]"
Body = Callable[[BaseHTTPRequestHandler], None]


def whole(
    usage: Any = None, *, raw: bytes | None = None, head: tuple[tuple[str, str], ...] = ()
) -> Body:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Lima"},
    }
    said = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}
    body = json.dumps({**said, "usage": usage}).encode() if raw is None else raw

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, text in (("Content-Length", str(len(body))), *head):
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def endless(piece: bytes, pause: float) -> Body:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(piece)
            time.sleep(pause)

    return send


def dripping_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        handler.wfile.write(b"y")
        time.sleep(0.05)


def interim(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.001)


def events(usage: Any) -> Body:
    delta = {"choices": [{"index": 0, "delta": {"content": ANSWER}}]}
    said = [delta, {"choices": [], "usage": usage}]
    lines = [f"data: {json.dumps(one)}\n\n" for one in said] + ["data: [DONE]\n\n"]
    return whole(raw="".join(lines).encode(), head=(("Content-Type", "text/event-stream"),))


def bomb() -> Body:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(b"x" * (8 << 20))
    return whole(raw=packed + packer.flush(), head=(("Content-Encoding", "gzip"),))


@pytest.fixture
def serve() -> Iterator[Callable[[Body], dspy.LM]]:
    """Start a server that answers whatever it is asked by one body; a language model of it."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: Body, seconds: float = 60) -> dspy.LM:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                try:
                    body(self)
                except OSError:  # whoever asked has gone
                    self.close_connection = True

            def do_GET(self) -> None:
                self.headers["Content-Length"] = "0"
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        return build_lm("openai/m", api_base=address, cache=False, num_retries=0, timeout=seconds)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


USAGES = [
    "x", [], [1], 7, True, None, {"prompt_tokens": -5, "completion_tokens": -1},
    {"prompt_tokens": "ten", "completion_tokens": {}},
    {"prompt_tokens": 1.5, "total_tokens": 10**400},
    {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    {"prompt_tokens": 3, "prompt_tokens_details": "x", "completion_tokens_details": [1]},
    {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": -(10**20)}},
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGES)
def test_no_answer_is_lost_to_its_bill(serve: Callable[[Body], dspy.LM], usage: Any) -> None:
    assert serve(whole(usage))("Where?") == ["Lima"]


def test_nor_is_a_stream_nor_an_awaited_one(serve: Callable[[Body], dspy.LM]) -> None:
    assert asyncio.run(serve(whole("x")).acall("Where?")) == ["Lima"]
    with dspy.context(lm=serve(events({"prompt_tokens": -1, "completion_tokens": "x"}))):
        told = [str(one) for one in dspy.streamify(dspy.Predict("question -> answer"),
                async_streaming=False)(question="Where?")]  # fmt: skip
    assert "Lima" in told[-1]


def _odd(message: Any = None, **more: Any) -> bytes:
    said = {"role": "assistant", "content": ANSWER, **(message or {})}
    choice = {"index": 0, "finish_reason": "stop", "message": said}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], **more}).encode()


_BLANK = {"message": "", "type": "", "param": "", "code": None}
_CHOICES = json.loads(_odd())["choices"]
_PARTS = [{"type": "output_text", "text": ANSWER[:9]}, {"type": "reasoning", "text": "Quito?"}]
SHAPES = [
    _odd(error=_BLANK), _odd(error=None), _odd(choices=[*_CHOICES, *_CHOICES]),
    _odd({"content": [*_PARTS, ANSWER[9:]]}), _odd(x=float("nan"), y=float("-inf")),
    _odd({"content": [{"type": "text", "text": ANSWER}]}), _odd(usage="x"),
]  # fmt: skip


@pytest.mark.parametrize("body", SHAPES)
@pytest.mark.parametrize("way", ["plain", "awaited", "streamed"])
def test_no_answer_is_lost_to_what_stands_around_it(
    serve: Callable[[Body], dspy.LM], body: bytes, way: str
) -> None:
    # A server that heeds no `stream` answers whole.
    with dspy.context(lm=serve(whole(raw=body))):
        assert _asked(way).answer == "Lima"


def test_a_whole_reply_as_a_stream_has_all_of_it() -> None:
    calls = [{"id": "1", "function": {"name": "find", "arguments": "{}"}}]
    message = {"content": "\N{ROCKET}" * 9000, "reasoning_content": "hm", "tool_calls": calls}
    events = list(as_events({"choices": [{"message": message}], "usage": {"total_tokens": 3}}))
    said = [json.loads(event[6:]) for event in events[:-1]]
    deltas = [one["choices"][0]["delta"] for one in said]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    assert deltas[0] == {"reasoning_content": "hm"}
    assert deltas[-2]["tool_calls"] == [{"index": 0, **calls[0]}]
    assert said[-1]["choices"][0]["finish_reason"] == "stop"
    assert said[-1]["usage"] == {"total_tokens": 3}
    assert max(map(len, events)) < 64 << 10


def test_half_a_pair_and_nul_are_no_part_of_a_text(serve: Callable[[Body], dspy.LM]) -> None:
    odd = _odd({"content": "Li\0ma \ud83d"}, **{"a\ud83d": ["\ud83d"]})
    assert serve(whole(raw=odd))("Where?") == ["Li\ufffdma \ufffd"]


def test_a_compile_reads_any_models_replies_so(
    serve: Callable[[Body], dspy.LM],
) -> None:
    address = serve(whole(raw=SHAPES[2])).kwargs["api_base"]
    plain = dspy.LM("openai/m", api_base=address, api_key="x", cache=False)
    account = Account(CallLedger(run="one"), stage="dev")
    own = as_lm(DummyLM([{"answer": "Lima \ud83d"}]))
    for lm, answer in ((plain, "Lima"), (own, "Lima \ufffd")):
        with dspy.context(lm=MeteredLM(lm, account)):
            assert _asked("plain").answer == answer
    account.close()


PAGE = whole(raw=b"<html>Welcome", head=(("Content-Type", "text/html"),))


def _asked(way: str) -> Any:
    ask = dspy.Predict("question -> answer")
    if way == "awaited":
        return asyncio.run(ask.acall(question="Where?"))
    if way == "plain":
        return ask(question="Where?")
    *_, told = dspy.streamify(ask, async_streaming=False)(question="Where?")
    return told


@pytest.mark.parametrize(
    ("body", "kinds"),
    [(PAGE, {"no reply"}), (whole(raw=b""), {"no reply"}),
     (whole(raw=b'{"error": "full"}'), {"server", "refused"}), (endless(b" ", 0.02), {"timeout"})],
)  # fmt: skip
@pytest.mark.parametrize("way", ["plain", "streamed"])
def test_what_is_no_reply_is_told_from_what_cannot_be_reached(
    serve: Callable[[Body, float], dspy.LM], body: Body, kinds: set[str], way: str
) -> None:
    lm = serve(body, 0.5)
    with dspy.context(lm=lm), pytest.raises((LMError, ExceptionGroup)) as met:
        _asked(way)
    error: BaseException = met.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert cause_of(error, lm).kind in kinds


def test_plain_usage_keeps_what_is_told() -> None:
    told = {
        "prompt_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 2},
        "cost": 0.1,
        "n": None,
    }
    assert plain_usage(told) == {k: v for k, v in told.items() if v is not None}
    assert plain_usage({"total_tokens": 10**30}) == {"total_tokens": MOST_TOKENS}


@pytest.mark.parametrize(
    ("body", "seconds", "said"),
    [(endless(b"x" * 65_536, 0), 60, "larger than 1 MB"), (bomb(), 60, "larger than 1 MB"),
     (endless(b" ", 0.02), 2, "not whole after 2 s"),
     (dripping_head, 2, "not whole after 2 s|timed out"), (interim, 0.5, "."),
     (whole(raw=b"[" * 100_000), 60, "recursion|JSON")],
)  # fmt: skip
@pytest.mark.parametrize("awaited", [False, True])
def test_a_reply_ends(
    serve: Callable[[Body, float], dspy.LM], monkeypatch: pytest.MonkeyPatch,
    body: Body, seconds: float, said: str, awaited: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr("ragwright.programs.reply_limits.MOST_BYTES", 1 << 20)
    lm = serve(body, seconds)
    with pytest.raises(LMError, match=said):
        asyncio.run(lm.acall("Where?")) if awaited else lm("Where?")


@pytest.mark.parametrize(
    "body",
    [endless(b"x" * 65_536, 0), dripping_head, whole(raw=b"[" * 100_000),
     whole(raw=b'{"data": [7]}')],
)  # fmt: skip
def test_no_window_is_learned_from_it(
    serve: Callable[[Body], dspy.LM], monkeypatch: pytest.MonkeyPatch, body: Body
) -> None:
    monkeypatch.setattr("ragwright.programs.windows._WHOLE_SECONDS", 0.2)
    assert served_window(serve(body)) is None


def test_a_pause_is_kept_within_reason() -> None:
    far, most = "Fri, 31 Dec 2100 23:59:59 GMT", str(MOST_PAUSE)
    headers = [("Retry-After", "1e9"), ("retry-after", far), ("Retry-After", "7"), ("X-A", "1e9"),
               ("retry-after", "soon"), ("retry-after-ms", "1e9"),
               ("retry-after", "inf")]  # fmt: skip
    kept = [text for _, text in cap_retry_after(headers)]
    assert kept == [most, most, "7", "1e9", "soon", f"{1000 * MOST_PAUSE}", most]
