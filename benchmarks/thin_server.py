"""The thin server beside `rag serve`: FastAPI and uvicorn around the same program.

    python benchmarks/thin_server.py ARTIFACT --port 8001 [--index FOLDER] [--trust MODULE:CLASS]

`POST /v1/ask` takes a question as JSON and gives the fields that `rag serve` gives, spans kept on
both sides. It has no keys, limits, cache, record, log or metrics, and runs as uvicorn does unless
told otherwise, with its faster parser of HTTP.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from pathlib import Path

import dspy
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ragwright.artifacts import load  # noqa: E402
from ragwright.artifacts.server.replies import passage_reply  # noqa: E402
from ragwright.artifacts.server.run import KEPT_REPLIES  # noqa: E402
from ragwright.artifacts.server.stage_times import StageTimes, watch_stages  # noqa: E402
from ragwright.artifacts.wire import AskReply, Source, Usage  # noqa: E402


class Question(BaseModel):
    """What is posted."""

    question: str


def app_around(program: dspy.Module) -> FastAPI:
    app = FastAPI()
    watch_stages(program)
    source = Source(artifact="thin", version="1", generation=0)

    @app.post("/v1/ask")
    async def ask(body: Question) -> AskReply:
        begun, stage_times = time.perf_counter(), StageTimes()
        with dspy.context(
            track_usage=True, disable_history=True, max_trace_size=0,
            **stage_times.settings(program),
        ):  # fmt: skip
            found = await program.acall(question=body.question)
        spent = {stage: 1000 * (end - start) for stage, start, end in stage_times.spans}
        usage = list((found.get_lm_usage() or {}).values())
        return AskReply(
            id=uuid.uuid4().hex,
            question=body.question,
            answer=found.answer,
            citations=found.citations,
            passages=[
                passage_reply(one, number) for number, one in enumerate(found.passages, start=1)
            ],
            timings_ms={**spent, "total": 1000 * (time.perf_counter() - begun)},
            usage=Usage(
                input_tokens=sum(one.get("prompt_tokens") or 0 for one in usage),
                output_tokens=sum(one.get("completion_tokens") or 0 for one in usage),
            ),
            source=source,
        )

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--index")
    parser.add_argument("--trust", action="append", default=[])
    chosen = parser.parse_args()
    dspy.configure_cache(enable_disk_cache=False, memory_max_entries=KEPT_REPLIES)
    program = load(chosen.artifact, index=chosen.index, trust=chosen.trust)
    uvicorn.run(app_around(program), port=chosen.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
