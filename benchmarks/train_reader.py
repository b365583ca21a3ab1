"""Train the offline reader: a LoRA adapter and a span head on MiniLM, from SQuAD questions.

    python benchmarks/train_reader.py [--out FOLDER] [--epochs 3]
    python benchmarks/train_reader.py --average ADAPTER... [--out FOLDER]

Articles are split, never questions: `HELD_OUT` ones are for tests alone, `SELECTION` ones for
choosing a checkpoint and thresholds. Every question is read once an epoch with its own paragraph,
and one in three once more with a wrong paragraph that keyword search finds for it, where the right
reading is "no answer" (the first token). Annotators who disagree share the target.
With `--average` the mean of several adapters' weights is written (as in model soups: Wortsman et
al., ICML 2022): those of one seed and one order of data, trained for different times. The adapter
in the package is that of one run of one epoch, and of steps 600 and 1,746 of one of three epochs.
Data: `squad` in the folder RAG_DATA (default ../shared/data), CC BY-SA 4.0. Neither covid-qa nor
the Python sample takes part. Needs torch and transformers; writes `adapter-STEP.safetensors`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from ragwright.optimize.scoring.metrics import exact_match, normalize_answer, token_f1  # noqa: E402
from ragwright.retrievers.embedding import MINILM  # noqa: E402
from ragwright.retrievers.embedding.files import find_model  # noqa: E402

HELD_OUT = ("Chloroplast", "Normans", "Kenya", "Steam_engine", "Black_Death")
SELECTION = ("Rhine", "Packet_switching")

RANK = 16
SCALE = 2.0
BATCH = 16
RATE = 1e-3
WARM_STEPS = 60
MAX_TOKENS = 320
WRONG_SHARE = 1 / 3
TITLED_SHARE = 0.3
CUT_SHARE = 0.75
CUT_CHARACTERS = (300, 650)
SPAN_TOKENS = 30
SENTENCE_END = re.compile(r"[.!?][\"\u201d)\]]*\s+(?=[A-Z\"\u201c(\[0-9])")
MAPS = (
    "attention.self.query", "attention.self.key", "attention.self.value",
    "attention.output.dense", "intermediate.dense", "output.dense",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A question with its paragraph: `spans` are (start, end) in characters of `context`."""

    question: str
    title: str
    context: str
    spans: tuple[tuple[int, int], ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """A question and a passage; without spans the answer is not there."""

    question: str
    passage: str
    spans: tuple[tuple[int, int], ...]


class Lora(nn.Module):
    """A frozen linear map plus `SCALE` times a product of two thin ones."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.empty(RANK, base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        thin = SCALE * nn.functional.linear(rows, self.a)
        found = torch.addmm(self.base(rows), thin, self.b.T)
        return found.unflatten(0, x.shape[:-1])


class Reader(nn.Module):
    """MiniLM with an adapter and a head: (n, t) token ids to (n, t, 2) start and end scores."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel

        self.bert = AutoModel.from_pretrained(
            str(find_model(MINILM).folder), add_pooling_layer=False, attn_implementation="sdpa",
            attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0,
        )  # fmt: skip
        self.bert.requires_grad_(False)
        for layer in self.bert.encoder.layer:
            for name in MAPS:
                parent, _, last = name.rpartition(".")
                module = layer.get_submodule(parent)
                setattr(module, last, Lora(getattr(module, last)))
        self.head = nn.Linear(384, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        hidden = self.bert(
            input_ids=batch["ids"], attention_mask=batch["mask"], token_type_ids=batch["types"]
        ).last_hidden_state
        scores: Tensor = self.head(hidden)
        return scores.float().masked_fill(~batch["readable"][..., None], -1e4)

    def adapter(self) -> dict[str, Tensor]:
        """Return what was trained, in half precision, under short names."""
        found = {}
        for name, weights in self.named_parameters():
            if weights.requires_grad:
                short = name.removeprefix("bert.encoder.")
                found[short] = weights.detach().half().contiguous()
        return found


def read_squad() -> list[Asked]:
    """Read every question with its paragraph."""
    asked = []
    with gzip.open(DATA / "squad" / "spans.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            spans = tuple(
                (one["answer_start"], one["answer_start"] + len(one["text"]))
                for one in row["answers"]
            )
            texts = tuple(dict.fromkeys(one["text"] for one in row["answers"]))
            asked.append(Asked(row["question"], row["title"], row["context"], spans, texts))
    return asked


def wrong_paragraphs(asked: Sequence[Asked], count: int = 8) -> list[list[str]]:
    """Return per question paragraphs that keyword search finds and that lack its answers."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = list(dict.fromkeys(one.context for one in asked))
    weigh = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    index = weigh.fit_transform(texts)
    found = np.argsort(-(weigh.transform([a.question for a in asked]) @ index.T).toarray())
    found = found[:, :count]
    kept = []
    for one, places in zip(asked, found, strict=True):
        answers = [normalize_answer(text) for text in one.answers]
        candidates = [texts[int(place)] for place in places]
        kept.append([
            text for text in candidates
            if text != one.context and not any(a in normalize_answer(text) for a in answers)
        ])  # fmt: skip
    return kept


def epoch_of(
    asked: Sequence[Asked], wrong: Sequence[Sequence[str]], chance: random.Random
) -> list[Example]:
    """Draw one epoch's examples."""
    examples = []
    for one, others in zip(asked, wrong, strict=True):
        head = f"{one.title.replace('_', ' ')}\n" if chance.random() < TITLED_SHARE else ""
        first, last = window(one.context, chance.choice(one.spans), chance)
        shift = len(head) - first
        spans = tuple(
            (start + shift, end + shift)
            for start, end in one.spans
            if first <= start and end <= last
        )
        examples.append(Example(one.question, head + one.context[first:last], spans))
        if others and chance.random() < WRONG_SHARE:
            other = chance.choice(others)
            first, last = window(other, (chance.randrange(len(other)),) * 2, chance)
            examples.append(Example(one.question, other[first:last], ()))
    return examples


def window(text: str, kept: tuple[int, int], chance: random.Random) -> tuple[int, int]:
    """Draw a run of whole sentences around a span: passages come in all lengths."""
    if chance.random() > CUT_SHARE:
        return 0, len(text)
    cuts = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    first = max(cut for cut in cuts if cut <= kept[0])
    last = min(cut for cut in cuts if cut >= kept[1])
    size = chance.uniform(*CUT_CHARACTERS)
    while last - first < size and (first, last) != (0, len(text)):
        if last == len(text) or (first > 0 and chance.random() < 0.5):
            first = max(cut for cut in cuts if cut < first)
        else:
            last = min(cut for cut in cuts if cut > last)
    return first, last


class Encoder:
    """Examples in, padded batches out."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(find_model(MINILM).folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
        self.tokenizer.no_padding()

    def encode(self, examples: Sequence[Example]) -> list[Any]:
        return list(self.tokenizer.encode_batch([(one.question, one.passage) for one in examples]))

    def batch(self, examples: Sequence[Example], read: Sequence[Any]) -> dict[str, Tensor]:
        longest = max(len(one.ids) for one in read)
        shape = (len(read), longest)
        made = {key: torch.zeros(shape, dtype=torch.long) for key in ("ids", "mask", "types")}
        made["readable"] = torch.zeros(shape, dtype=torch.bool)
        made["targets"] = torch.zeros(*shape, 2)
        for row, (example, one) in enumerate(zip(examples, read, strict=True)):
            length = len(one.ids)
            made["ids"][row, :length] = torch.tensor(one.ids)
            made["mask"][row, :length] = 1
            made["types"][row, :length] = torch.tensor(one.type_ids)
            readable = [sequence == 1 for sequence in one.sequence_ids]
            made["readable"][row, :length] = torch.tensor([True, *readable[1:]])
            made["targets"][row, :length] = targets(example, one)
        return made


def targets(example: Example, read: Any) -> Tensor:
    """Share a weight of 1 among the tokens where annotators start, and where they end."""
    target = torch.zeros(len(read.ids), 2)
    places = []
    for start, end in example.spans:
        first = read.char_to_token(start, 1)
        last = read.char_to_token(end - 1, 1)
        if first is not None and last is not None:
            places.append((first, last))
    for first, last in places or [(0, 0)]:
        target[first, 0] += 1 / max(1, len(places))
        target[last, 1] += 1 / max(1, len(places))
    return target


def batches(
    examples: Sequence[Example], encoder: Encoder, chance: random.Random
) -> Iterator[dict[str, Tensor]]:
    """Yield batches of examples of like length, in random order."""
    read = encoder.encode(examples)
    order = sorted(range(len(read)), key=lambda i: len(read[i].ids) + chance.uniform(0, 8))
    groups = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    chance.shuffle(groups)
    for group in groups:
        yield encoder.batch([examples[i] for i in group], [read[i] for i in group])


def loss_of(scores: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross entropy of starts and ends over the readable tokens."""
    return -(torch.log_softmax(scores, dim=1) * target).sum(dim=1).mean()


def best_span(scores: Tensor) -> tuple[float, int, int]:
    """Return the best span's score less that of "no answer", and its first and last token."""
    start, end = scores[:, 0], scores[:, 1]
    pairs = start[:, None] + end[None, :]
    allowed = torch.ones_like(pairs, dtype=torch.bool).triu().tril(SPAN_TOKENS - 1)
    allowed[0] = False
    pairs = pairs.masked_fill(~allowed, -1e9)
    place = int(pairs.argmax())
    first, last = divmod(place, len(scores))
    return float(pairs.flatten()[place] - start[0] - end[0]), first, last


class Judge:
    """Scores a reader on gold paragraphs, and on telling them from wrong ones."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.asked = asked
        self.wrong = wrong_paragraphs(asked)

    @torch.inference_mode()
    def verdict(self, reader: Reader, encoder: Encoder) -> str:
        reader.eval()
        found = [self._scored(reader, encoder, first) for first in range(0, len(self.asked), BATCH)]
        reader.train()
        exact, f1, told = (sum(column) / len(self.asked) for column in zip(*found, strict=True))
        return f"n {len(self.asked)}  EM {exact:.3f}  F1 {f1:.3f}  gold over wrong {told:.3f}"

    def _scored(self, reader: Reader, encoder: Encoder, first: int) -> tuple[float, float, float]:
        group = self.asked[first : first + BATCH]
        pairs = [Example(one.question, one.context, one.spans) for one in group]
        pairs += [
            Example(one.question, (other or [""])[0], ())
            for one, other in zip(group, self.wrong[first : first + BATCH], strict=True)
        ]
        read = encoder.encode(pairs)
        scores = reader(encoder.batch(pairs, read))
        spans = [best_span(row[: len(one.ids)]) for row, one in zip(scores, read, strict=True)]
        texts = [
            one.context[part.offsets[start][0] : part.offsets[end][1]]
            for one, part, (_, start, end) in zip(group, read, spans, strict=False)
        ]
        pairs_of_scores = zip(spans[: len(group)], spans[len(group) :], strict=True)
        return (
            sum(exact_match(text, one.answers) for text, one in zip(texts, group, strict=True)),
            sum(token_f1(text, one.answers) for text, one in zip(texts, group, strict=True)),
            float(sum(gold[0] > other[0] for gold, other in pairs_of_scores)),
        )


def split(asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """Return the questions to train on, to select by and to test on."""
    rest = [one for one in asked if one.title not in (*HELD_OUT, *SELECTION)]
    selection = [one for one in asked if one.title in SELECTION]
    return rest, selection, [one for one in asked if one.title in HELD_OUT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/reader"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end by then, annealed")
    parser.add_argument("--processes", type=int, default=2, help="they share every batch")
    parser.add_argument("--average", type=Path, nargs="+", help="adapters to take the mean of")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.average:
        average(given.average, given.out / "adapter.safetensors")
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            train, (given, f"file://{folder}/meeting"), nprocs=given.processes
        )  # type: ignore[no-untyped-call]


def train(rank: int, given: argparse.Namespace, meeting: str) -> None:
    """Train in one of several processes of one thread each, which average their gradients."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=given.processes
    )
    torch.set_num_threads(1)
    torch.manual_seed(0)
    asked, selection, _ = split(read_squad())
    judge = Judge(random.Random(0).sample(selection, 160))
    learner = Learner(given)
    total = given.epochs * math.ceil(len(asked) * (1 + WRONG_SHARE) / BATCH)
    for step, batch in enumerate(examples_of(asked, given.epochs, learner.encoder), start=1):
        done = max(step / total, learner.seconds / (60 * given.minutes))
        if done >= 1:
            break
        loss = learner.learn({k: v[rank :: given.processes] for k, v in batch.items()}, step, done)
        if rank == 0 and step % 20 == 0:
            print(f"{step}/{total}  {learner.seconds:.0f} s  loss {loss:.3f}", flush=True)
        if rank == 0 and step % given.every == 0:
            save(learner.reader, given.out / f"adapter-{step}.safetensors")
            print(judge.verdict(learner.reader, learner.encoder), flush=True)
    if rank == 0:
        save(learner.reader, given.out / "adapter.safetensors")
        print(Judge(selection).verdict(learner.reader, learner.encoder), flush=True)


def examples_of(
    asked: Sequence[Asked], epochs: int, encoder: Encoder
) -> Iterator[dict[str, Tensor]]:
    """Yield the batches of all epochs; the same ones in every process."""
    chance, wrong = random.Random(0), wrong_paragraphs(asked)
    for _ in range(epochs):
        yield from batches(epoch_of(asked, wrong, chance), encoder, chance)


class Learner:
    """A reader, its optimizer, and how long it has been learning: mean seconds of all processes."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.reader, self.encoder = Reader().train(), Encoder()
        self.weights = [one for one in self.reader.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=RATE, weight_decay=0.01)
        self.processes = int(given.processes)
        self.began, self.seconds = time.monotonic(), 0.0

    def learn(self, part: dict[str, Tensor], step: int, done: float) -> float:
        """Take one step; `done` is the share of the training that is over."""
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(step / WARM_STEPS, max(0.01, 1 - done))
        loss = loss_of(self.reader(part), part["targets"])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        told = [loss.item(), time.monotonic() - self.began]
        shared, self.seconds = averaged(self.weights, told, self.processes)
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        return shared


def averaged(weights: Sequence[Tensor], told: Sequence[float], processes: int) -> list[float]:
    """Average gradients, and what else is told, over the processes; gradients in place."""
    gradients = [one.grad for one in weights if one.grad is not None]
    flat = torch.cat([*(one.flatten() for one in gradients), torch.tensor(told)])
    distributed.all_reduce(flat)
    flat /= processes
    *parts, rest = flat.split([*(one.numel() for one in gradients), len(told)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return rest.tolist()


def save(reader: Reader, path: Path) -> None:
    """Write the adapter."""
    from safetensors.torch import save_file

    save_file(reader.adapter(), path)


def average(paths: Sequence[Path], target: Path) -> None:
    """Write the mean of several adapters, in half precision."""
    from safetensors.numpy import load_file, save_file

    read = [load_file(path) for path in paths]
    save_file(
        {
            name: np.mean([one[name] for one in read], axis=0, dtype=np.float32).astype(np.float16)
            for name in read[0]
        },
        target,
    )


if __name__ == "__main__":
    main()
