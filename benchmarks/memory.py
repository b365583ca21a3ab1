"""Memory of `rag serve` over questions that never repeat.

    python benchmarks/memory.py ARTIFACT [QUESTIONS.jsonl] [--count 20000] [--clients 4]

Every question of the file is asked in words that were never asked before, as often as it takes.
The server is as it comes: it keeps answers, and records them. Prints the resident memory of the
server's process after each tenth, and the growth over the second half, a question.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import resident_megabytes  # noqa: E402
from benchmarks.servers import parser_of, questions_in, rag_server  # noqa: E402

PARTS = 10


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--index", help="the index, if it is elsewhere by now")
    chosen = parser.parse_args()
    asked = questions_in(chosen.questions)
    moved = ("--index", chosen.index) if chosen.index else ()
    every = max(1, chosen.count // PARTS)
    with (
        TemporaryDirectory() as folder,
        rag_server(chosen.artifact, "--store", f"{folder}/store.sqlite", *moved) as server,
    ):
        print("| questions | MB | |")
        print("| --- | --- | --- |")
        sizes = [noted(0, server.pid)]
        for first in range(0, PARTS * every, every):
            fresh = [f"{asked[n % len(asked)]} ({n})" for n in range(first, first + every)]
            asyncio.run(ask_all(server.url, fresh, chosen.clients))
            sizes.append(noted(first + every, server.pid))
    half = len(sizes) // 2
    grown = 1024 * (sizes[-1] - sizes[half]) / (every * (len(sizes) - 1 - half))
    print(f"\nsecond half: {sizes[-1] - sizes[half]:+.1f} MB, {grown:+.2f} KB a question")


async def ask_all(url: str, questions: list[str], clients: int) -> None:
    """Ask each question once.

    Raises:
        httpx.HTTPError: One was not answered.
    """
    left = iter(questions)
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def ask() -> None:
            for question in left:
                reply = await client.post("/v1/ask", json={"question": question})
                reply.raise_for_status()

        await asyncio.gather(*(ask() for _ in range(clients)))


def noted(asked: int, pid: int) -> float:
    """Print the memory of a server after so many questions, and return it, in MB."""
    size = resident_megabytes(pid)
    print(f"| {asked:,} | {size:.0f} | {'█' * round(size / 20)} |", flush=True)
    return size


if __name__ == "__main__":
    main()
