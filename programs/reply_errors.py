"""Reads a server's error, in whatever form, as the error object that DSPy's client reads.

Servers say it in forms of their own (`message` or `detail` without `error`, a list, text), or in a
reply that is none: with status 200, in a choice, or as the reason why it ended.
"""

from __future__ import annotations

import re
from typing import Any

_ENDED = {"error": "server_error", "abort": "server_error", "content_filter": "invalid_prompt",
          "insufficient_system_resource": "server_error"}  # fmt: skip
"""Reasons to end a reply that are none to take it, and what DSPy's client knows them as."""
_EVEN_PARTLY = {"content_filter"}
"""Of these, those that leave what was written before a reply."""
_CODES = {"400": "invalid_prompt", "401": "invalid_api_key", "402": "insufficient_quota",
          "404": "model_not_found", "408": "server_error", "413": "context_length_exceeded",
          "429": "rate_limit_exceeded"}  # fmt: skip
_SERVERS = re.compile(r"5\d\d")
NO_CHOICES = "the reply holds no choices, so it is none of OpenAI's protocol"
NO_REPLY = {"error": {"message": NO_CHOICES, "code": "invalid_prompt"}}
"""What stands for a reply in another protocol, or a page; asking again would not help."""


def error_object(error: Any, *, named: bool = False) -> dict[str, Any] | None:
    """Return an error as the object that it should be; None if it says nothing.

    Args:
        error: What the server sent as one.
        named: Whether a number stands for a status that the reply itself has not.
    """
    if not isinstance(error, dict):
        error = {"message": str(error)} if error else {}
    if not any(value for value in error.values()):
        return None
    code = str(error.get("code") or error.get("type") or 500)
    known = "server_error" if _SERVERS.fullmatch(code) else _CODES.get(code)
    return {**error, "code": known} if named and known else error


def normalize_refusal(said: Any) -> Any:
    """Return the body of a refusal with its message where DSPy's client looks for it."""
    if isinstance(said, list) and said and isinstance(said[0], dict):
        said = said[0]
    if not isinstance(said, dict) or said.get("error"):
        return said
    message = said.get("message") or said.get("detail")
    if not message:
        return said
    kept = {name: said[name] for name in ("code", "type") if said.get(name)}
    return {"error": {**kept, "message": message if isinstance(message, str) else str(message)}}


def choice_error(choice: Any, *, spoke: bool = False) -> dict[str, Any] | None:
    """Return the error that a choice, whole or of a stream, holds or ended with; None if none.

    Args:
        choice: The choice.
        spoke: Whether events before it held text.
    """
    if not isinstance(choice, dict):
        return None
    if isinstance(choice.get("error"), dict):
        return error_object(choice["error"], named=True)
    ended = str(choice.get("finish_reason") or "")
    code = _ENDED.get(ended)
    if code is None or (ended in _EVEN_PARTLY and (spoke or _holds_text(choice))):
        return None
    return {"message": f"the server ended the reply: {ended}", "code": code}


def response_error(said: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error for which a reply of the Responses API holds nothing; None if none."""
    if said.get("status") == "failed":
        return error_object(said.get("error") or "the server ended the reply: failed", named=True)
    why = said.get("incomplete_details")
    reason = why.get("reason") if isinstance(why, dict) else None
    output = said.get("output")
    spoke = isinstance(output, list) and any(map(_is_message, output))
    if reason != "content_filter" or spoke:
        return None
    return {"message": f"the server ended the reply: {reason}", "code": _ENDED[reason]}


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "message"


def _holds_text(choice: dict[str, Any]) -> bool:
    said = choice.get("message") or choice.get("delta")
    return isinstance(said, dict) and bool(said.get("content"))
