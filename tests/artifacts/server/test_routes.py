"""The server's own routes, over real HTTP: what is asked, what comes back."""

from __future__ import annotations

import gc
import json
import re
from datetime import UTC, datetime
from importlib.metadata import version

import dspy
import httpx
import pytest

from ragwright.artifacts.golden import GOLDEN, GoldenAnswer, GoldenQuestion, dump_golden
from ragwright.artifacts.server.about import _about
from ragwright.artifacts.server.access import Access
from ragwright.artifacts.server.cache import CacheKey
from tests.artifacts.server.conftest import Running

QUESTION = "What is the capital of Peru?"


def test_an_answer_comes_with_its_passages(server: Running) -> None:
    response = server.ask(QUESTION)
    assert response.status_code == 200
    found = response.json()
    assert "Lima" in found["answer"]
    assert [p["number"] for p in found["passages"]] == [1, 2]
    cited = found["passages"][found["citations"][0] - 1]
    assert (cited["document"], cited["start"]) == ("Peru", 0)
    assert set(cited["signals"]) == {"dense", "bm25", "maxsim"}
    assert found["source"] == {"artifact": "capitals", "version": "1", "generation": 1}
    assert set(found["timings_ms"]) == {"queue", "retrieve", "generate", "total"}
    stages = sum(found["timings_ms"][stage] for stage in ("queue", "retrieve", "generate"))
    assert 0 < stages <= found["timings_ms"]["total"]
    assert found["usage"]["input_tokens"] > found["usage"]["output_tokens"] > 0
    assert (found["degraded"], found["cached"]) == ([], False)


def test_a_slash_too_many_is_answered_and_never_redirected(server: Running) -> None:
    """A redirect would name http://, whatever a proxy in front speaks."""
    for path in ("/v1/ask", "/v1/search", "/v1/ask/stream"):
        assert server.client.post(f"{path}/", json={"question": QUESTION}).status_code == 200
    for path in ("/v1/models", "/v1/models/capitals", "/healthz", "/readyz", "/docs", "/"):
        assert server.client.get(f"{path}/").status_code == 200
    for path in ("/v1/ask//", "/v1/nothing/", "/page/"):
        assert server.client.post(path, json={"question": QUESTION}).status_code == 404


def test_a_stream_tells_what_is_found_then_the_answer_word_by_word(server: Running) -> None:
    events = server.events(question=QUESTION)
    names = [name for name, _ in events]
    assert names == ["retrieval", *["token"] * (len(events) - 2), "done"]
    assert next(p["document"] for p in events[0][1]["passages"]) == "Peru"
    done = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "token") == done["answer"]
    assert done["answer"] == server.ask(QUESTION).json()["answer"]


def test_pages_of_a_search_follow_each_other(server: Running) -> None:
    def ids(**more: int) -> list[str]:
        body = {"question": QUESTION, **more}
        found = server.client.post("/v1/search", json=body).json()["passages"]
        return [passage["id"] for passage in found]

    every = ids(k=6)
    assert ids(k=3) + ids(k=3, offset=3) == every
    assert ids(offset=99, k=100) == []
    for wrong in ({"offset": -1}, {"k": True}, {"k": "3"}, {"k": 3.0}, {"offset": "0"}):
        refused = server.client.post("/v1/search", json={"question": "x", **wrong})
        assert refused.status_code == 422, wrong


def test_a_search_ranks_passages(server: Running) -> None:
    found = server.client.post("/v1/search", json={"question": QUESTION, "k": 3}).json()
    assert next(p["document"] for p in found["passages"]) == "Peru"
    assert len(found["passages"]) == 3
    scores = [p["score"] for p in found["passages"]]
    assert scores == sorted(scores, reverse=True)


def test_no_call_is_held_on_to(server: Running) -> None:
    """DSPy's history and trace would grow with every answer."""

    def held() -> int:
        gc.collect()
        return sum(issubclass(type(one), dspy.Prediction) for one in gc.get_objects())

    def use(turn: int) -> None:
        server.ask(f"Which river is in town {turn}?")
        server.events(question=f"What is the river of town {turn}?")
        server.client.post("/v1/search", json={"question": f"town {turn}"})

    use(0)
    before = held()
    for turn in range(1, 6):
        use(turn)
    assert held() <= before


def test_a_filter_is_heeded(server: Running) -> None:
    where = {"document": {"$in": ["Japan", "Kenya"]}}
    found = server.ask(QUESTION, where=where).json()
    assert {p["document"] for p in found["passages"]} == {"Japan", "Kenya"}


def test_a_document_is_shown_whole(server: Running) -> None:
    found = server.client.get("/v1/document", params={"id": "Peru"}).json()
    assert found["title"] == "Peru"
    piece = found["pieces"][0]
    assert piece["text"] == "The capital of Peru is Lima. It is a large city."
    assert (piece["start"], piece["end"]) == (0, len(piece["text"]))
    missing = server.client.get("/v1/document", params={"id": "../../etc/passwd"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_document")


def test_a_long_request_does_not_stay_in_the_cache() -> None:
    """A thousand filters of a quarter of a megabyte would be as much memory."""
    keys = [CacheKey.of("1", "0", "What?", {"where": {"a": "x" * n}}) for n in (200_000, 200_001)]
    assert len(set(keys)) == 2
    assert max(len(str(key)) for key in keys) < 300


def test_the_same_question_is_answered_from_the_cache(server: Running) -> None:
    first, second = server.ask(QUESTION).json(), server.ask(QUESTION).json()
    assert (first["cached"], second["cached"]) == (False, True)
    assert second["answer"] == first["answer"]
    assert second["id"] != first["id"]
    assert server.metric("ragwright_cache_total", result="hit") == 1
    streamed = server.events(question=QUESTION)
    assert [name for name, _ in streamed] == ["token", "done"]
    assert streamed[-1][1]["cached"]


def test_probes_need_no_key(server: Running) -> None:
    server.client.headers.pop("Authorization")
    assert server.client.get("/healthz").json() == {"status": "ok"}
    ready = server.client.get("/readyz").json()
    assert (ready["status"], ready["source"]["version"]) == ("ok", "1")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/page/page.css", "/v1/models"])
def test_a_head_is_what_a_get_would_have(server: Running, path: str) -> None:
    """Monitors ask for it."""
    whole, head = server.client.get(path), server.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert server.client.head("/v1/ask").status_code == 405


def test_metrics_count_what_was_done(server: Running) -> None:
    server.ask(QUESTION)
    server.ask("")
    text = server.client.get("/metrics").text
    assert 'ragwright_requests_total{route="/v1/ask",status="200"} 1.0' in text
    assert 'ragwright_requests_total{route="/v1/ask",status="422"} 1.0' in text
    assert 'ragwright_stage_seconds_count{stage="retrieve"} 1.0' in text
    assert 'ragwright_tokens_total{direction="output"}' in text
    assert "ragwright_queue 0.0" in text


@pytest.mark.parametrize("given", ["an-id.1", "evil\\id", "x" * 65, ""])
def test_a_request_id_is_taken_if_harmless(server: Running, given: str) -> None:
    response = server.client.get("/healthz", headers={"X-Request-ID": given})
    returned = response.headers["x-request-id"]
    assert (returned == given) == (given == "an-id.1")
    assert len(returned) in (7, 32)


def test_an_error_names_the_request(server: Running) -> None:
    response = server.client.post(
        "/v1/ask", json={"question": " "}, headers={"X-Request-ID": "abc"}
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_request")
    assert error["request_id"] == "abc"
    assert "question" in error["message"]


def test_an_unknown_operator_is_the_callers_mistake(server: Running) -> None:
    response = server.ask(QUESTION, where={"title": {"$regex": ".*"}})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")


def test_the_description_of_the_api_names_every_route(server: Running) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/ask", "/v1/ask/stream", "/v1/search", "/v1/document", "/v1/feedback",
        "/v1/chat/completions", "/v1/models", "/v1/models/{name}",
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    json.dumps(paths)


def test_the_description_can_be_read_without_a_network(server: Running) -> None:
    page = server.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://|<script|url\(", page.text)
    for path in server.client.get("/openapi.json").json()["paths"]:
        assert f" {path}</h2>" in page.text
    assert "&quot;answer_id&quot;: &quot;string&quot;" in page.text
    assert "`" not in page.text
    assert "<code>retrieval</code>" in page.text


def test_a_server_says_what_it_is(server: Running) -> None:
    said = server.client.get("/page/about").json()
    assert (said["artifact"], said["version"], said["examples"]) == ("capitals", "1", [])
    assert datetime.fromisoformat(said["created"]) < datetime.now(UTC)
    assert said["release"] == version("ragwright")
    assert httpx.get(f"{server.url}/page/about").status_code == 401
    served = server.app.state.service.serving.current
    given = GoldenAnswer(answer="Lima", score=1.0)
    asked = [GoldenQuestion(id=q, question=q, answers=("Lima",), given=given) for q in "abcd"]
    (served.folder / GOLDEN).write_text(dump_golden(asked))
    assert server.client.get("/page/about").json()["examples"] == ["a", "b", "c"]
    assert _about(served, Access("a part", {"land": "Peru"})).examples == []
    (served.folder / GOLDEN).unlink()
    assert httpx.get(f"{server.url}/readyz").headers["x-ragwright-keys"] == "required"


def test_the_page_asks_for_nothing_by_an_absolute_path(server: Running) -> None:
    """A proxy may have put the server below a path of its own: https://intranet.example/rag/."""
    page = server.client.get("/").text
    texts = [page, *(server.client.get(f"/page/{name}").text for name in ("page.js", "stream.js"))]
    assert [found for text in texts for found in re.findall(r"""["'`(]/\w[^"'`)]*""", text)] == []
    assert 'src="page/page.js"' in page
