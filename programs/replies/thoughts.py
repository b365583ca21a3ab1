"""Removes what a model thought aloud from its reply.

Thoughts stand between tags (`<think>`, `<thinking>`, `[THINK]`, ...) or in channels of their own
(`<|channel|>analysis<|message|>...<|end|>`). A thought that is never closed runs to the end; a
closing tag without an opening one (chat templates that open it in the prompt) ends a thought that
began with the text. Marks of chat templates, such as `<|im_end|>`, are no part of a reply either.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|seed:think"
_ATTRIBUTES = r"(?:\s+\w+=(?:\"[^\"]*\"|'[^']*'|\w+))*"
_TAG = re.compile(
    rf"<(?P<close>/)?(?P<name>{_NAMES}){_ATTRIBUTES}\s*>"
    r"|\[(?P<close2>/)?THINK\]"
    r"|<\|(?P<edge>begin|end)_of_thought\|>"
    r"|◁(?P<close3>/)?think▷",
    re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"<\|?channel\|?>\s*(?:analysis|commentary|thought|thinking|reasoning)\b.*?"
    r"(?:<\|end\|>|(?=<\|start\|>)|<channel\|>|(?=<\|channel\|>)|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_BARE_CHANNELS = re.compile(r"\A\s*analysis.*?assistantfinal", re.DOTALL)
_TURN = re.compile(
    r"<\|(?:im_start|start_header_id|start)\|>\s*assistant\s*(?:<\|end_header_id\|>)?"
    r"|<\|?channel\|?>\s*final\s*(?=<\|message\|>)|<\|message\|>|<\|assistant\|>",
    re.IGNORECASE,
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|end_of_turn|return|end|eot)\|>"
    r"|<end_of_turn>|</s>\s*\Z",
    re.IGNORECASE,
)
_BEGUN = re.compile(r"(?:<[^>\s]{0,24}|\[/?T?H?I?N?K?|◁/?\w{0,5})\Z", re.IGNORECASE)


def without_thoughts(text: str, *, keep: Collection[str] = ()) -> str:
    """Return what a model said, without what it thought and without marks of its template.

    Args:
        text: The raw reply.
        keep: Names of fields that are wanted: a tag of such a name is no thought.
    """
    said = _CHANNEL.sub("", _BARE_CHANNELS.sub("", text))
    said = _TURN.sub("", _untagged(said, keep)).lstrip("\ufeff")
    begun = 0
    for end in _END.finditer(said):
        if said[begun : end.start()].strip():
            return said[begun : end.start()]
        begun = end.end()
    return said[begun:]


def unfinished_tag(text: str) -> int:
    """Return where a tag begins that the end of the text may have cut; the length if none does."""
    begun = _BEGUN.search(text)
    return len(text) if begun is None else begun.start()


def _untagged(text: str, keep: Collection[str]) -> str:
    kept, depth, reached, last = "", 0, 0, len(text.rstrip())
    for tag in _TAG.finditer(text):
        if (tag["name"] or "").lower() in keep or _quoted(text, tag):
            continue
        before = text[reached : tag.start()] if not depth else ""
        reached = tag.end()
        if not _closes(tag):
            kept += before
            depth += 1
        elif depth:
            depth -= 1
        else:  # opened in the prompt: all that came before was thought
            kept = "" if reached < last else kept + before
    return kept if depth else kept + text[reached:]


def _closes(tag: re.Match[str]) -> bool:
    closed = tag["close"] or tag["close2"] or tag["close3"]
    return bool(closed) or (tag["edge"] or "").lower() == "end"


def _quoted(text: str, tag: re.Match[str]) -> bool:
    """Whether the tag is spoken of, not used."""
    return text[tag.start() - 1 : tag.start()] == "`" and text[tag.end() : tag.end() + 1] == "`"
