"""Questions that documents answer by their own form, written without a language model.

Headings that ask, pairs of "Q:" and "A:", definitions, docstrings and table rows become *probes*: a
question, an answer and a verbatim piece of evidence. They tell one way of retrieving from another.
They do not tell whether answers are good, for nobody who needs something asks like this.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ragwright.retrievers.types import Chunk, content_hash

ProbeKind = Literal["asked", "definition", "docstring", "row", "section", "terms"]

MOST_ANSWER_WORDS = 30
_ASKED = re.compile(
    r"^(?:#{1,6}\s*|\*\*|Q[:.]\s*)?(?P<question>[^\n?]{8,160}[?\uff1f])[*]*\s*$", re.MULTILINE
)
_DEFINED = re.compile(
    r"(?:^|(?<=[.!?]\s)|(?<=\n))(?:(?:The|A|An)\s+)?(?P<subject>[A-Z`][\w`'()./+#-]*(?:\s[\w`'()./+#-]+){0,4})"
    r"\s(?P<verb>is|are|was|were|means|refers to|denotes)\s(?P<rest>[^\n]{12,400}?[.!?])(?=\s|$)"
)
_DOCSTRING = re.compile(
    r"^[ \t]*(?:async\s+)?(?:def|class)\s+(?P<name>\w+)[^\n]*:\s*\n[ \t]*[rRuU]?(?:\"\"\"|''')"
    r"[ \t]*(?P<doc>[^\n\"']{12,300})",
    re.MULTILINE,
)
_ROW = re.compile(r"^\|(?P<cells>[^\n]+)\|[ \t]*$", re.MULTILINE)
_HEADING = re.compile(
    r"^#{1,4}[ \t]+(?P<heading>[^\n#?]{6,90})\n+(?P<text>[^\n#|`>-][^\n]{40,})", re.MULTILINE
)
_POINTING = frozenset(
    """it this that these those there he she they we you i here what which who such one each all
    both some many most other another his her its their our your note example yes no every a an at
    as before after although because but by during for from if in like on once or and since so then
    though to under until when where whether while with within without how none nothing nobody
    neither either everything something anything only""".split()
)
"""Words that no subject begins with of which somebody could ask."""
_INSIDE = frozenset(
    """that which who if when while as because whose what how where there is are was were has have
    does do did can will not nothing""".split()
)
"""Words that stand in clauses, and in no name of a thing."""
_PARTICIPLE = (
    r"\w+(?:ed|wn)|built|made|held|found|written|set|given|taken|born|led|won|kept|sent|sold|read|"
    r"split|put|cut|left|lost|met|paid|run|said|seen|spent|spread|told|thought|understood|begun"
)
_DONE = re.compile(
    rf"(?P<done>{_PARTICIPLE})\s(?P<how>(?P<place>(?:in|at|on|near|along|between)\s)?.*)"
)
_UNDEFINING = re.compile(
    r"(?:not|never|also|only|in|on|at|to|of|by|for|with|without|from|under|missing|those|as|so|too"
    rf"|then|there|no|still|now|just|more|less|very|{_PARTICIPLE})\b"
)
"""How what is said of a subject begins where it doesn't say what the subject is."""
_DATED = re.compile(
    r"\b(?:1[0-9]{3}|20[0-9]{2}|January|February|March|April|June|July|August|September|October"
    r"|November|December|century)\b"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question that a document answers by its form.

    Attributes:
        question: What is asked.
        answer: What the document says.
        document: The document's id.
        evidence: A verbatim piece of the chunk.
        kind: Which form it was found by.
    """

    question: str
    answer: str
    document: str
    evidence: str
    kind: ProbeKind

    def row(self) -> dict[str, object]:
        """Return the line of a training set."""
        return {
            "id": f"probe-{content_hash(self.document, self.question)[:12]}",
            "question": self.question,
            "answer": self.answer,
            "documents": [self.document],
            "evidence": [self.evidence],
            "group": self.document,
            "synthetic": True,
            "kind": self.kind,
        }


@dataclass(frozen=True)
class Probes:
    """What was found, and what was dropped by reason."""

    kept: tuple[Probe, ...]
    dropped: Mapping[str, int]


def find_probes(chunks: Iterable[Chunk], count: int) -> Probes:
    """Find up to `count` probes, spread over documents and kinds.

    One is dropped where the same question is asked of several places, since nobody could say which
    is meant, and where the answer stands in the question.
    """
    found = [probe for chunk in chunks for probe in _of(chunk)]
    dropped: Counter[str] = Counter()
    asked = Counter(
        _plain(probe.question) for probe in {_identity(one): one for one in found}.values()
    )
    kept: dict[str, Probe] = {}
    for probe in found:
        if asked[_plain(probe.question)] > 1:
            dropped["asked of several places"] += 1
        elif _plain(probe.answer) in _plain(probe.question):
            dropped["the question gives the answer"] += 1
        elif _plain(probe.question) in kept:
            dropped["found twice"] += 1
        else:
            kept[_plain(probe.question)] = probe
    chosen = spread_over_documents(list(kept.values()), count)
    if len(kept) > len(chosen):
        dropped["more than were asked for"] = len(kept) - len(chosen)
    return Probes(tuple(chosen), dict(dropped))


def _of(chunk: Chunk) -> Iterator[Probe]:
    finders = (_asked, _definitions, _docstrings, _rows, _sections)
    seen: set[str] = set()
    for finder in finders:
        for probe in finder(chunk):
            question, answer = (" ".join(one.split()) for one in (probe.question, probe.answer))
            if probe.evidence in chunk.text and question not in seen:
                seen.add(question)
                yield replace(probe, question=question, answer=answer)


def _asked(chunk: Chunk) -> Iterator[Probe]:
    """A line that ends with a question mark, and the sentence after it."""
    for match in _ASKED.finditer(chunk.text):
        following = chunk.text[match.end() :].lstrip("\n")
        line = following.partition("\n")[0].strip()
        evidence = _sentence(re.sub(r"^(?:A[:.]|\*\*A[:.]?\*\*)\s*", "", line))
        if len(evidence) > 12 and not evidence.endswith(("?", "\uff1f")):
            question = match["question"].strip(" *#")
            yield Probe(question, evidence, chunk.document_id, evidence, "asked")


def _definitions(chunk: Chunk) -> Iterator[Probe]:
    for match in _DEFINED.finditer(chunk.text):
        subject = match["subject"].replace("`", "").strip("'")
        words = subject.split()
        first = words[0].casefold()
        if first in _POINTING or any(w in _INSIDE or w.endswith((".", ":")) for w in words):
            continue
        verb = "is" if match["verb"] in {"means", "refers to", "denotes"} else match["verb"]
        if first == "the":
            subject = f"the{subject[3:]}"
        if about := _about(subject, verb, match["rest"].rstrip(".!?")):
            question, answer = about
            yield Probe(question, _short(answer), chunk.document_id, match[0].strip(), "definition")


def _about(subject: str, verb: str, said: str) -> tuple[str, str] | None:
    """Ask what something is; or, of what was done to it, when, where or how."""
    done = _DONE.fullmatch(said)
    if done is None:
        return None if _UNDEFINING.match(said) else (f"What {verb} {subject}?", said)
    asking = "When" if _DATED.search(done["how"]) else "Where" if done["place"] else "How"
    return f"{asking} {verb} {subject} {done['done']}?", done["how"]


def _docstrings(chunk: Chunk) -> Iterator[Probe]:
    for match in _DOCSTRING.finditer(chunk.text):
        said = match["doc"].strip()
        if not match["name"].startswith("_"):
            yield Probe(
                f"What does {match['name']} do?", _short(said), chunk.document_id, said, "docstring"
            )


def _rows(chunk: Chunk) -> Iterator[Probe]:
    """The rows of a Markdown table, asked for by their first cell and a column's heading."""
    rows = list(_ROW.finditer(chunk.text))
    if len(rows) < 3 or not set(rows[1]["cells"]) <= set("|-: "):
        return
    header = [cell.strip() for cell in rows[0]["cells"].split("|")]
    for row in rows[2:]:
        cells = [cell.strip() for cell in row["cells"].split("|")]
        if len(cells) != len(header) or not cells[0]:
            continue
        for name, value in zip(header[1:], cells[1:], strict=True):
            if name and value and len(value.split()) <= MOST_ANSWER_WORDS:
                question = f"What is the {name} of {cells[0]}?"
                yield Probe(question, value, chunk.document_id, row[0].strip(), "row")


def _sections(chunk: Chunk) -> Iterator[Probe]:
    """A heading and the first sentence below it: the weakest form."""
    title = str(chunk.metadata.get("title") or "").strip()
    for match in _HEADING.finditer(chunk.text):
        heading = match["heading"].strip(" *`")
        evidence = _sentence(match["text"].strip())
        if len(evidence) > 30:
            about = f" in {title}" if title and title.casefold() != heading.casefold() else ""
            yield Probe(
                f"What is said about {heading}{about}?",
                _short(evidence.rstrip(".")),
                chunk.document_id,
                evidence,
                "section",
            )


def spread_over_documents(found: Sequence[Probe], count: int) -> list[Probe]:
    """Take turns among documents, and in each among kinds, the strong ones first."""
    order: Mapping[ProbeKind, int] = {
        "asked": 0, "definition": 1, "row": 2, "docstring": 2, "section": 3, "terms": 4,
    }  # fmt: skip
    waiting: dict[str, list[Probe]] = defaultdict(list)
    for probe in sorted(found, key=lambda one: (order[one.kind], content_hash(one.question))):
        waiting[probe.document].append(probe)
    documents = sorted(waiting, key=content_hash)
    chosen: list[Probe] = []
    while documents and len(chosen) < count:
        for document in documents:
            chosen.append(_next(waiting[document], chosen))
        documents = [document for document in documents if waiting[document]]
    return chosen[:count]


def _next(waiting: list[Probe], chosen: Sequence[Probe]) -> Probe:
    """Take the first of the kind that this document has given least of."""
    document = waiting[0].document
    given = Counter(probe.kind for probe in chosen if probe.document == document)
    best = min(range(len(waiting)), key=lambda place: (given[waiting[place].kind], place))
    return waiting.pop(best)


def _identity(probe: Probe) -> tuple[str, str, str]:
    return _plain(probe.question), probe.document, _plain(probe.evidence)


def _sentence(text: str) -> str:
    """Return the first sentence of a line."""
    match = re.match(r".+?[.!\u3002\uff01](?=\s|$)", text)
    return (match[0] if match else text).strip()


def _short(text: str) -> str:
    words = text.split()
    return " ".join(words[:MOST_ANSWER_WORDS])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
