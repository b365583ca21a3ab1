"""What servers that speak OpenAI's protocol really send: read alike, however it is asked for.

Each case is one server's way of saying the same, over HTTP on loopback, asked for whole, awaited
and as a stream: no answer is lost, and what went wrong is called by its name.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError, LMError, LMInvalidRequestError

from ragwright.programs.causes import cause_of
from ragwright.programs.dspy_internals import ReplyKind
from ragwright.programs.lm import build_lm
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.calling import reading
from ragwright.programs.reply_limits import ReplyMeter, limit_stream
from ragwright.programs.reply_shapes import as_reply, complete_event_line
from ragwright.programs.signatures import AnswerWithCitations
from ragwright.programs.streaming import Sink, stream_predictor
from ragwright.programs.windows import learn_window

ANSWER = "[[ ## answer ## ]]\nLima\n\n[[ ## citations ## ]]\n[1]\n\n[[ ## completed ## ]]"
PIECES = [ANSWER[start : start + 7] for start in range(0, len(ANSWER), 7)]
INPUTS = {"context": ["[1] Lima is the capital of Peru."], "question": "Which is the capital?"}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Sent:
    """What a server sends."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    packed: bool = False


def whole(content: Any = ANSWER, end: Any = "stop", /, status: int = 200, **more: Any) -> Sent:
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "message": message, "finish_reason": end}
    return Sent(json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode(), status)


def piece(content: Any = None, end: Any = None, /, **more: Any) -> bytes:
    delta = {**more} if content is None else {"content": content, **more}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": end}]})


def event(said: Any) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def events(*said: bytes, done: bytes = DONE, kind: str = "text/event-stream") -> Sent:
    return Sent(b"".join((*said, done)), kind=kind)


def _choices(*said: Any) -> Sent:
    return Sent(json.dumps({"id": "x", "model": "m", "choices": said}).encode())


def refusal(status: int, said: Any) -> Sent:
    return Sent(json.dumps(said).encode(), status)


def page(status: int, title: str) -> Sent:
    text = f"<!DOCTYPE html><html><style>a {{}}</style><title>{title}</title><body></body></html>"
    return Sent(text.encode(), status, "text/html; charset=utf-8")


OF_PIECES = tuple(piece(one) for one in PIECES)
FUNCTION = {"name": "answer", "arguments": json.dumps({"answer": "Lima", "citations": [1]})}
CHUNK = {"choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": "stop"}]}
IN_LINES = "".join(f"data: {line}\n" for line in json.dumps(CHUNK, indent=1).split("\n")).encode()
WHOLE = whole()

READ: dict[str, tuple[Sent, Sent]] = {
    "openrouter": (
        Sent(b"\n       \n\n" + WHOLE.body),
        events(b": OPENROUTER PROCESSING\n\n" * 3, *OF_PIECES, piece("", "stop")),
    ),
    "deepseek": (
        whole(reasoning_content="Quito?"),
        events(b": keep-alive\n\n\n\n", piece(None, reasoning_content="Quito?"), *OF_PIECES,
               piece("", "stop", reasoning_content=None)),
    ),
    "mistral": (
        whole([{"type": "thinking", "thinking": [{"type": "text", "text": "Quito?"}]},
               {"type": "text", "text": ANSWER}]),
        events(piece([{"type": "thinking", "thinking": []}]),
               *(piece([{"type": "text", "text": one}]) for one in PIECES), piece("", "stop")),
    ),
    "one part": (whole({"type": "text", "text": ANSWER}),
                 events(*(piece({"type": "text", "text": one}) for one in PIECES))),
    "gemini": (whole(f"<thought>Quito?</thought>{ANSWER}"),
               events(piece("<thou"), piece("ght>Quito?</thought>"), *OF_PIECES)),
    "azure": (whole(refusal=None), events(
        event({"id": "", "choices": [], "prompt_filter_results": [{}]}),
        piece("", role="assistant", refusal=None), *OF_PIECES, piece(None, "stop"))),
    "tgi": (whole(ANSWER, "eos_token"), events(
        *(one.replace(b"data: ", b"data:") for one in OF_PIECES), done=b"data:[DONE]\n\n")),
    "a tool": (
        whole(None, "tool_calls", tool_calls=[{"id": "1", "function": FUNCTION}]),
        events(piece(None, tool_calls=[{"index": 0, "id": "1", "function": FUNCTION}]),
               piece(None, "tool_calls")),
    ),
    "a function": (whole(None, "function_call", function_call=FUNCTION),
                   events(piece(None, function_call=FUNCTION), piece(None, "function_call"))),
    "text alone": (Sent(json.dumps({"choices": [{"text": ANSWER}]}).encode()),
                   events(*(event({"choices": [{"text": one}]}) for one in PIECES))),
    "a message as an event": (WHOLE, events(b"data: " + WHOLE.body + b"\n\n")),
    "a mark of order": (Sent(b"\xef\xbb\xbf" + WHOLE.body), events(b"\xef\xbb\xbf", *OF_PIECES)),
    "gzip": (Sent(WHOLE.body, packed=True),
             Sent(events(*OF_PIECES).body, kind="text/event-stream", packed=True)),
    "carriage returns": (WHOLE, events(*(one.replace(b"\n", b"\r") for one in OF_PIECES))),
    "both": (WHOLE, events(*(one.replace(b"\n", b"\r\n") for one in OF_PIECES))),
    "events of one line": (WHOLE, events(*(one[:-1] for one in OF_PIECES))),
    "an event of many lines": (WHOLE, events(IN_LINES + b"\n")),
    "lines of JSON": (WHOLE, events(*(one[6:-1] for one in (*OF_PIECES, piece("", "stop"))),
                                    done=b"", kind="application/x-ndjson")),
    "a stream in plain text": (WHOLE, events(*OF_PIECES, piece("", "stop"), kind="text/plain")),
    "a stream unasked": (
        events(b": hello\n\n", *OF_PIECES, piece("", "stop"), event({"choices": [], "usage": {}})),
        events(*OF_PIECES)),
    "capitals": (Sent(WHOLE.body, kind="Application/JSON"),
                 events(*OF_PIECES, kind="Text/Event-Stream; charset=UTF-8")),
    "filtered at its end": (whole(ANSWER, "content_filter"),
                            events(*OF_PIECES, piece("", "content_filter"))),
    "nothing but thoughts": (
        whole(None, reasoning_content=f"Quito? No.\n{ANSWER}"),
        events(piece(None, reasoning_content="Quito? No.\n"),
               *(piece(None, reasoning_content=one) for one in PIECES), piece(None, "stop"))),
    "thoughts in JSON": (whole("", reasoning_content=FUNCTION["arguments"]), events(
        piece(None, reasoning_content=FUNCTION["arguments"]), piece("", "stop"))),
    "an object": (whole({"answer": "Lima", "citations": [1]}),
                  events(piece({"answer": "Lima", "citations": [1]}), piece("", "stop"))),
    "a text with its notes": (
        whole([{"type": "text", "text": {"value": ANSWER, "annotations": []}}]),
        events(*(piece([{"type": "text", "text": {"value": one}}]) for one in PIECES))),
    "a tool's input": (
        whole([{"type": "tool_use", "name": "x", "input": {"answer": "Lima", "citations": [1]}}]),
        events(*OF_PIECES)),
    "several tools": (whole(None, "tool_calls", tool_calls=[
        {"id": "0", "function": {"name": "find", "arguments": '{"q": "Peru"}'}},
        {"id": "1", "function": FUNCTION}]), events(*OF_PIECES)),
    "a message that is text": (_choices({"message": ANSWER}), events(*OF_PIECES)),
    "an empty choice first": (
        _choices(*({"index": at, "message": {"content": said}, "finish_reason": "stop"}
                   for at, said in enumerate(("", ANSWER, "Quito")))),
        events(*(event({"choices": [{"index": at, "delta": {"content": said}}]})
                 for one in PIECES for at, said in ((0, one), (1, "Quito"))))),
    "logprobs": (
        Sent(WHOLE.body.replace(b'"finish', b'"logprobs": {"content": []}, "finish')),
        events(*OF_PIECES, piece("", "stop"))),
}  # fmt: skip

_TOO_LONG = {"object": "error", "message": "This model's maximum context length is 2048 tokens.",
             "code": 400}  # fmt: skip
_FILTER = {"message": "The response was filtered", "code": "content_filter"}
_TPM = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 8000"
LOST: dict[str, tuple[str, Sent, Sent | None]] = {
    "vllm, too long": ("context too long", refusal(400, _TOO_LONG), None),
    "tgi, too long": ("context too long", refusal(422, {
        "error": "`inputs` tokens + `max_new_tokens` must be <= 2048."}), None),
    "groq, too long": ("context too long", refusal(413, {"error": {"message": _TPM}}), None),
    "vllm, no model": ("model name", refusal(404, {**_TOO_LONG, "message": "No `m`."}), None),
    "mistral, no model": ("model name", refusal(400, {"object": "error", "code": "1500",
                                                      "message": "Invalid model: m"}), None),
    "groq, no model": ("model name", refusal(400, {"error": {
        "message": "`m` is gone", "code": "model_decommissioned"}}), None),
    "gemini, key": ("key", refusal(400, [{"error": {"message": "API key not valid."}}]), None),
    "mistral, key": ("key", refusal(401, {"message": "Unauthorized"}), None),
    "gemini, busy": ("overloaded", refusal(503, [{"error": {"message": "Overloaded."}}]), None),
    "anthropic, busy": ("overloaded", refusal(529, {"type": "error", "error": {
        "type": "overloaded_error", "message": "Overloaded"}}), None),
    "llama.cpp, loading": ("loading", refusal(503, {"error": {"message": "Loading model"}}), None),
    "deepseek, credit": ("credit", refusal(402, {"error": {"message": "No Balance"}}), None),
    "cohere, rate": ("rate limit", refusal(429, {"message": "40 calls a minute"}), None),
    "openrouter, rate": ("rate limit", refusal(200, {"error": {"code": 429, "message": "No"}}),
                         None),
    "openrouter, midway": (
        "server", refusal(200, {"error": {"code": 502, "message": "Provider disconnected"}}),
        events(*OF_PIECES[:3], event({
            "error": {"code": 502, "message": "Provider disconnected"},
            "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]})),
    ),
    "openrouter, in a choice": (
        "server", Sent(json.dumps({"choices": [{"error": {"code": 502, "message": "Died"},
                                                "message": {"content": ""}}]}).encode()), None),
    "lm studio, midway": ("server", refusal(200, {"error": "The model has crashed."}), events(
        *OF_PIECES[:3], b"event: error\n", event({"error": {"message": "Crashed"}}), done=b"")),
    "deepseek, ended": ("server", whole("Li", "insufficient_system_resource"),
                        events(*OF_PIECES[:3], piece("", "insufficient_system_resource"))),
    "azure, asked": ("content filter", refusal(400, {"error": _FILTER}), None),
    "azure, answered": ("content filter", whole(None, "content_filter"),
                        events(event({"error": _FILTER}))),
    "azure, answered without words": (
        "content filter", whole("", "content_filter"),
        events(piece("", role="assistant"), piece(None, "content_filter"))),
    "no words": ("unreadable", whole("", "length"), events(piece("", "length"))),
    "thoughts alone": ("unreadable", whole(None, "length", reasoning_content="Quito?"),
                       events(piece(None, reasoning_content="Quito?"), piece(None, "length"))),
    "another protocol": ("no reply", refusal(200, {"type": "message", "content": []}), None),
    "a page": ("no reply", page(200, "Log in"), None),
    "a page that forbids": ("no reply", page(403, "Attention Required!"), None),
    "a page of a gateway": ("server", page(502, "Bad Gateway"), None),
    "no such method": ("no reply", Sent(b"Method Not Allowed", 405, "text/plain"), None),
    "an error in a stream unasked": (
        "server", events(*OF_PIECES[:3], event({"error": "It broke."})), None),
    "broken off": ("broken off", Sent(b"", 0), None),
}  # fmt: skip
CASES = {f"/read/{name}": case for name, case in READ.items()} | {
    f"/lost/{name}": (one, stream or one) for name, (_, one, stream) in LOST.items()
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.partition("/v1/")[0].replace("%20", " ")
        sent = CASES[name][bool(asked.get("stream"))]
        if not sent.status:
            return self.connection.close()
        self.send_response(sent.status)
        self.send_header("Content-Type", sent.kind)
        if sent.packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(gzip.compress(sent.body) if sent.packed else sent.body)
        return None

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,)).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def asked(lm: dspy.LM, way: str) -> dspy.Prediction:
    predict = dspy.Predict(AnswerWithCitations)
    with dspy.context(lm=lm), reading():
        if way == "whole":
            return predict(**INPUTS)
        if way == "awaited":
            return asyncio.run(predict.acall(**INPUTS))
        return asyncio.run(stream_predictor(predict, INPUTS, Sink()))


def served(address: str, path: str, **options: Any) -> dspy.LM:
    base = f"{address}{path}/v1".replace(" ", "%20")
    limits: dict[str, Any] = {"num_retries": 0, "timeout": 20, "max_tokens": 50}
    return build_lm("openai/m", api_base=base, **limits, **options)


@pytest.mark.parametrize("way", ["whole", "awaited", "streamed"])
@pytest.mark.parametrize("name", READ)
def test_no_servers_way_of_saying_it_costs_the_answer(address: str, name: str, way: str) -> None:
    said = asked(served(address, f"/read/{name}"), way)
    assert (said.answer, said.citations) == ("Lima", [1])


@pytest.mark.parametrize("way", ["whole", "awaited", "streamed"])
@pytest.mark.parametrize("name", LOST)
def test_what_went_wrong_is_called_by_its_name(address: str, name: str, way: str) -> None:
    lm = served(address, f"/lost/{name}")
    with pytest.raises((LMError, AdapterParseError, ExceptionGroup)) as met:
        asked(lm, way)
    error: BaseException = met.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = cause_of(error, lm)
    assert cause.kind == LOST[name][0], cause
    assert cause.hint
    assert not [part for part in ("<title", "To fix:", "[openai/m]") if part in cause.what]


@pytest.mark.parametrize("way", ["whole", "awaited", "streamed"])
def test_a_refusal_is_what_the_model_said(
    address: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    said = "I can't help with that."
    parts = events(
        piece(None, refusal=said[:8]), piece(None, refusal=said[8:]), piece(None, "stop")
    )
    monkeypatch.setitem(CASES, "/refusal", (whole(None, refusal=said), parts))
    assert asked(served(address, "/refusal"), way).answer == said


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_byte_that_is_no_text_costs_one_sign(
    address: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    odd = Sent(WHOLE.body.replace(b"Lima", b"Lim\xe1"))
    stream = Sent(events(piece(ANSWER)).body.replace(b"Lima", b"Lim\xe1"), kind="text/event-stream")
    monkeypatch.setitem(CASES, "/bytes", (odd, stream))
    assert asked(served(address, "/bytes"), way).answer == "Lim\ufffd"


def test_a_filter_does_not_speak_against_a_form(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragwright.programs.replies.learned.supports_schema", lambda _: True)
    monkeypatch.setitem(CASES, "/filter", CASES["/lost/azure, asked"])
    lm = served(address, "/filter")
    with pytest.raises(LMError):
        asked(lm, "whole")
    assert ReplyAdapter().order(lm, AnswerWithCitations)[0] == "json_schema"


def test_the_window_is_learned_from_what_servers_call_it() -> None:
    for said in ("must be <= 2048. Given: 1900", "must have less than 2048 tokens",
                 "(TPM): Limit 2048, Requested 8000"):  # fmt: skip
        lm = build_lm("openai/m", api_base=f"http://127.0.0.1:9/{len(said)}")
        assert learn_window(lm, ValueError(said), 8000) == 2048


def response(*parts: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": list(parts)}
    told = {"output": [message] if parts else [], "error": None, "incomplete_details": None}
    return {"id": "r", "object": "response", "status": status, "model": "m", **told, **more}


def of_responses(last: str, said: dict[str, Any], *deltas: tuple[str, str]) -> tuple[Sent, Sent]:
    """A reply of the Responses API, whole and as a stream."""
    first = [event({"type": "response.created", "response": response(status="in_progress")})]
    first += [event({"type": f"response.{kind}.delta", "delta": text}) for kind, text in deltas]
    end = event({"type": last, "response": said})
    return Sent(json.dumps(said).encode()), events(*first, end, done=b"")


LONG = {"incomplete_details": {"reason": "max_output_tokens"}}
FILTERED = {"incomplete_details": {"reason": "content_filter"}}
BROKEN = {"error": {"code": "server_error", "message": "It broke."}}
RESPONSES: dict[str, tuple[str, tuple[Sent, Sent]]] = {
    "cut": ("Lima", of_responses(
        "response.incomplete",
        response({"type": "output_text", "text": ANSWER}, status="incomplete", **LONG),
        ("output_text", ANSWER))),
    "refusing": ("No.", of_responses(
        "response.completed", response({"type": "refusal", "refusal": "No."}), ("refusal", "No."))),
    "filtered": ("content filter", of_responses(
        "response.incomplete", response(status="incomplete", **FILTERED))),
    "failed": ("server", of_responses(
        "response.failed", response(status="failed", **BROKEN), ("output_text", PIECES[0]))),
}  # fmt: skip


@pytest.mark.parametrize("way", ["whole", "awaited", "streamed"])
@pytest.mark.parametrize("name", RESPONSES)
def test_replies_of_the_responses_api(
    address: str, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    expected, sent = RESPONSES[name]
    monkeypatch.setitem(CASES, f"/responses/{name}", sent)
    lm = served(address, f"/responses/{name}", model_type="responses")
    try:
        said = asked(lm, way).answer
    except (LMError, ExceptionGroup) as error:
        lost = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        said = cause_of(lost, lm).kind
    assert said == expected


@pytest.mark.parametrize(
    ("said", "kind"),
    [("Your credit balance is too low", "credit"), ("Candidate blocked: SAFETY", "content filter"),
     ("Prompt blocked: PROHIBITED_CONTENT", "content filter")],
)  # fmt: skip
def test_what_other_providers_call_it(said: str, kind: str) -> None:
    assert cause_of(LMInvalidRequestError(said)).kind == kind


def test_a_stream_unasked_may_hold_anything() -> None:
    odd = [{"choices": ["x", None, {"delta": 3}, {}]}, {"choices": 4}, [], 7, {"choices": [[]]}]
    lines = b"".join(event(one) for one in odd) + b"data: {\n: hi\n" + piece("Li") + piece("ma")
    assert as_reply(lines)["choices"][0]["message"]["content"] == "Lima"
    assert as_reply(b"data: [DONE]\n") == {"choices": []}
    assert "error" not in as_reply(piece("Lima") + piece("", "content_filter"))
    assert "error" in as_reply(piece("") + piece("", "content_filter"))


NAMES = """choices message delta content error code type object response output status reason
incomplete_details finish_reason usage refusal function_call tool_calls text detail""".split()
VALUES: list[Any] = [
    None, "", 0, 1.5, True, "content_filter", "response", "error", "response.failed", "abort",
    "response.incomplete", "failed", "message", [], {}, "429", 429,
]  # fmt: skip


def anything(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random() if depth < 5 else 0
    if kind < 0.35:
        return rng.choice(VALUES)
    if kind < 0.5:
        return [anything(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(NAMES): anything(rng, depth + 1) for _ in range(rng.randint(0, 5))}


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("failed", [True, False])
def test_no_json_whatever_ends_in_a_traceback(streams: bool, wanted: bool, failed: bool) -> None:
    rng, kind = random.Random(5), ReplyKind(streams, wanted and not failed, 60, failed, chat=True)
    for _ in range(1500):
        said = {name: anything(rng, 1) for name in rng.sample(NAMES, 5)}
        body = event(said) if streams else json.dumps(said).encode()
        assert b"".join(limit_stream(iter([body]), ReplyMeter.of(kind), kind))


def test_an_event_is_kept_apart_and_the_parts_of_one_together() -> None:
    assert complete_event_line(b'data: {"a": 1}\r\n') == b'data: {"a": 1}\n\n'
    assert complete_event_line(b"data:[DONE]\n") == b"data:[DONE]\n\n"
    assert complete_event_line(b'data: {"a":\n') == b'data: {"a":\n'
    assert complete_event_line(b": hello\r") == b": hello\n"
