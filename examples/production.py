"""In production: fallbacks that say so, time limits, filters, and an answer that streams.

python examples/production.py
"""

import asyncio
import logging
from tempfile import TemporaryDirectory

from ragwright.programs import FallbackSettings, HybridRAG, build_lm, protect, stream
from ragwright.programs.streaming import Done, Retrieved, Token
from ragwright.retrievers import Document
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("seine", "The Seine flows through Paris.", metadata={"team": "maps"}),
    Document("tiber", "The Tiber flows through Rome.", metadata={"team": "maps"}),
    Document("payroll", "Salaries are paid on the 25th.", metadata={"team": "hr"}),
]


async def answer(program: HybridRAG, question: str) -> None:
    async for event in stream(program, question, where={"team": "maps"}):
        match event:
            case Retrieved(passages):
                print("found:", [passage.document for passage in passages])
            case Token(text):
                print(text, end="")
            case Done(prediction):
                print("\ndegraded:", [str(noted) for noted in prediction.degraded])


def main() -> None:
    logging.disable(logging.WARNING)
    with TemporaryDirectory() as folder:
        ingest(DOCUMENTS, folder)
        program = HybridRAG(folder)
        # Nobody listens there: the second language model answers, and the answer says so.
        dead = build_lm("openai/any", api_base="http://127.0.0.1:9/v1", num_retries=0)
        program.set_lm(dead)
        settings = FallbackSettings(retrieve_seconds=10, respond_seconds=10, failures=1)
        protect(program, settings, second_lm=build_lm("extractive"))
        asyncio.run(answer(program, "Which river flows through Rome?"))
        asyncio.run(answer(program, "Which river flows through Paris?"))


if __name__ == "__main__":
    main()
