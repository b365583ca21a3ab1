"""Removes what a model thought aloud from its reply.

Thoughts stand between tags (`<think>`, `<thinking>`, `[THINK]`, ...) or in channels of their own
(`<|channel|>analysis<|message|>...<|end|>`). A thought that is never closed runs to the end; a
closing tag without an opening one (chat templates that open it in the prompt) ends a thought that
began with the text. Marks of chat templates, such as `<|im_end|>`, are no part of a reply either.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_NAMES = (
    "think|thinking|thought|thoughts|thought_process|reasoning|reflection|scratchpad|analysis"
    "|inner_monologue|seed:think"
)
_ATTRIBUTES = r"(?:\s+\w+=(?:\"[^\"]*\"|'[^']*'|\w+))*"
_TAG = re.compile(
    rf"<(?P<close>/)?(?P<name>{_NAMES}){_ATTRIBUTES}\s*>"
    r"|\[(?P<close2>/)?THINK\]"
    r"|<\|(?P<edge>begin|end)_of_thought\|>"
    r"|<\|(?P<edge2>start|end)_thinking\|>"
    r"|◁(?P<close3>/)?think▷",
    re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"<\|?channel\|?>\s*(?:analysis|commentary|thought|thinking|reasoning)\b.*?"
    r"(?:<\|end\|>|(?=<\|start\|>)|<channel\|>|(?=<\|channel\|>)|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CALLED = re.compile(
    r"(?:<\|start\|>\s*assistant)?"
    r"(?:(?<!\s)\s*+to=[\w.]{1,80}\s*<\|channel\|>\s*(?:commentary|analysis)|"
    r"<\|channel\|>\s*(?:commentary|analysis)\s+to=[\w.]{1,80})[^<\n]{0,40}"
    r"(?:<\|constrain\|>\s*\w*\s*)?<\|message\|>",
    re.IGNORECASE,
)
"""The head of a message to a function that nobody offered: what it would be sent is the answer."""
_FINAL = re.compile(r"<\|?channel\|?>\s*final\b", re.IGNORECASE)
_BARE_CHANNELS = re.compile(r"\A\s*analysis.*?assistantfinal(?:\s*json(?=\s*[{\[]))?", re.DOTALL)
_TURN = re.compile(
    r"<\|(?:im_start|start_header_id|header_start|start|start_of_role)\|>\s*assistant\s*"
    r"(?:<\|(?:end_header_id|header_end|end_of_role|im_sep)\|>)?"
    r"|<\|?channel\|?>\s*final\s*(?:<\|constrain\|>\s*\w*\s*)?(?=<\|message\|>)"
    r"|<\|(?:message|assistant|chatbot_token|start_of_turn_token)\|>"
    r"|<\|(?:start_response|python_tag|begin_of_text|startoftext|tool_call|/tool_call)\|>"
    r"|<\|(?:begin|end)_of_(?:box|solution)\|>"
    r"|<start_of_turn>\s*model\s*|<(?:bos|pad|unk)>|\A\s*<s>|\A\s*(?:\[INST\].*?)?\[/INST\]"
    r"|<\uff5ctool▁call▁begin\uff5c>\w*<\uff5ctool▁sep\uff5c>[\w.]*|<\uff5c(?!end▁of▁sentence|User)[^\uff5c>\n]{1,40}\uff5c>"
    r"|</?co(?::\s*[\d,:\[\]\s]{1,40})?>",
    re.IGNORECASE | re.DOTALL,
)
"""Marks around an answer: of a turn, a box, or a citation within a text."""
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|end_of_turn|return|end|eot|call|user"
    r"|observation|end_response|end_of_turn_token|end_of_role)\|>"
    r"|<end_of_turn>|<start_of_turn>|<eos>|</s>\s*\Z|\[\|endofturn\|\]"
    r"|<\uff5c(?:end▁of▁sentence|User)\uff5c>",
    re.IGNORECASE,
)
_BEGUN = re.compile(
    r"(?:<\|?(?:channel|start|im_start|start_header_id|header_start|start_of_role|constrain"
    r"|end_header_id|channel\|><\|constrain)\|?>[^<\n]{0,80}<?\|?\w{0,24}\|?"
    r"|\bto=[\w.]{0,80}\s*(?:<\|channel\|>[^<\n]{0,40})?(?:<\|?\w{0,24}\|?)?"
    r"|<\uff5ctool▁call▁begin\uff5c>\w{0,40}(?:<\uff5ctool▁sep\uff5c>[\w.]{0,60}|<[^>\n]{0,40})?"
    r"|<start_of_turn>\s*\w{0,8}|</?co:[\d,:\[\]\s]{0,40}|<[^>\s]{0,40}"
    r"|\[/?I?N?S?T?|\[/?T?H?I?N?K?|\[\|?\w{0,10}\|?|◁/?\w{0,5})\Z",
    re.IGNORECASE,
)


def without_thoughts(text: str, *, keep: Collection[str] = ()) -> str:
    """Return what a model said, without what it thought and without marks of its template.

    Args:
        text: The raw reply.
        keep: Names of fields that are wanted: a tag of such a name is no thought.
    """
    said = _BARE_CHANNELS.sub("", text)
    if "<|channel|>" in said and not _FINAL.search(said):
        said = _CALLED.sub("", said)
    said = _untagged(_CHANNEL.sub("", said), keep)
    said = _TURN.sub(_unless_quoted, said).lstrip("\ufeff")
    begun = 0
    for end in _END.finditer(said):
        if _quoted(said, end):
            continue
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
    return bool(closed) or (tag["edge"] or tag["edge2"] or "").lower() == "end"


def _quoted(text: str, tag: re.Match[str]) -> bool:
    """Whether the tag is spoken of, not used."""
    return text[tag.start() - 1 : tag.start()] == "`" and text[tag.end() : tag.end() + 1] == "`"


def _unless_quoted(mark: re.Match[str]) -> str:
    return mark[0] if _quoted(mark.string, mark) else ""
