"""In production: the language model goes down and comes back, and every answer says what it is.

python examples/production.py
"""

import asyncio
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import TemporaryDirectory

from ragwright.programs import FallbackSettings, HybridRAG, build_lm, protect, stream
from ragwright.programs.streaming import Done, Retrieved
from ragwright.retrievers import Document
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("seine", "The Seine flows through Paris.", metadata={"team": "maps"}),
    Document("tiber", "The Tiber flows through Rome.", metadata={"team": "maps"}),
    Document("payroll", "Salaries are paid on the 25th.", metadata={"team": "hr"}),
]
REPLY = "[[ ## answer ## ]]\nIt is the Tiber.\n\n[[ ## citations ## ]]\n[1]"


class Model(BaseHTTPRequestHandler):
    """Stands for a hosted language model: OpenAI's protocol, streamed, one reply."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for delta, reason in (({"content": REPLY}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            part = {"id": "1", "object": "chat.completion.chunk", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


def started(port: int = 0) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", port), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def ask(program: HybridRAG, when: str) -> None:
    async for event in stream(program, "Which river flows through Rome?", where={"team": "maps"}):
        match event:
            case Retrieved(passages):
                found = [passage.document for passage in passages]
            case Done(prediction):
                degraded = [str(noted) for noted in prediction.degraded]
                print(f"{when}: {prediction.answer!r} from {found}, degraded: {degraded}")


def main() -> None:
    logging.disable(logging.WARNING)
    model = started()
    port = model.server_port
    with TemporaryDirectory() as folder:
        ingest(DOCUMENTS, folder)
        program = HybridRAG(folder)
        hosted = f"http://127.0.0.1:{port}/v1"
        program.set_lm(build_lm("openai/any", api_base=hosted, num_retries=0, cache=False))
        settings = FallbackSettings(respond_seconds=10, failures=1, cooldown_seconds=4)
        protect(program, settings, second_lm=build_lm("extractive"))
        asyncio.run(ask(program, "up"))
        model.shutdown()
        model.server_close()  # the outage: nobody listens at that address any more
        asyncio.run(ask(program, "down"))
        asyncio.run(ask(program, "down, not even tried"))
        model = started(port)
        time.sleep(4.1)  # the circuit breaker probes again after its cooldown
        asyncio.run(ask(program, "back"))
        model.shutdown()
        model.server_close()


if __name__ == "__main__":
    main()
