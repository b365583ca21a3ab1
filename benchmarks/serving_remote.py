"""Load with a language model as far away as those behind an API: next to `mlflow models serve`.

    python benchmarks/serving_remote.py ARTIFACT [QUESTIONS.jsonl] [--away 1.0] [--clients 64]

The artifact's program, answered by a scripted model on loopback (tests/servers) that waits before
every reply. What is measured is how many questions a server keeps in the air while it waits. Every
question is asked in new words, so that no cache answers. Otherwise as benchmarks/serving.py.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import Ask, Load, Way, asks, invokes, measured  # noqa: E402
from benchmarks.servers import parser_of, questions_in  # noqa: E402
from ragwright.artifacts import open_artifact, save  # noqa: E402
from tests.servers.scripted_lm import ScriptedLM  # noqa: E402


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--away", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    chosen = parser.parse_args()
    load = Load(questions_in(chosen.questions), chosen.clients, chosen.seconds)
    ways = (
        Way("rag serve", new_words(asks)),
        Way("rag serve, 64 at once", new_words(asks), ("--concurrency", "64")),
    )
    with (
        TemporaryDirectory() as folder,
        far(chosen.artifact, Path(folder), chosen.away) as artifact,
    ):
        found = measured(artifact, Path(folder), load, ways, new_words(invokes))
    print(f"{load.clients} clients, {load.seconds:.0f} s each, a model {chosen.away:.1f} s away,")
    print(f"{os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}\n")
    print("| server | answers/s | median ms | p95 ms | errors |")
    print("| --- | --- | --- | --- | --- |")
    for name, one in found.items():
        shown = f"{1000 * one.percentile(50):.0f} | {1000 * one.percentile(95):.0f}"
        print(f"| {name} | {one.throughput:.1f} | {shown} | {sum(one.errors.values())} |")


def new_words(ask: Ask) -> Ask:
    """Ask every question as it was never asked before."""
    turns = itertools.count()

    async def asked(client: httpx.AsyncClient, question: str) -> bool:
        return await ask(client, f"{question} ({next(turns)})")

    return asked


@contextmanager
def far(artifact: str, folder: Path, seconds: float, *, index: str | None = None) -> Iterator[str]:
    """Run the model, and save the artifact's program anew for it; yields the new artifact."""
    os.environ["OPENAI_API_KEY"] = "none"
    with ScriptedLM(slow_seconds=seconds) as model:
        model.fail("slow")
        found = open_artifact(artifact, index=index)
        changed = {"model": "openai/scripted", "api_base": model.url}
        lm = found.recipe.lm.model_copy(update=changed)
        recipe = found.recipe.model_copy(update={"lm": lm})
        yield str(save(found.program, folder / "far", recipe=recipe))


if __name__ == "__main__":
    main()
