"""What this server is, for people: `/page/about` for the page, `/docs` for who writes programs.

`/docs` shows the OpenAPI description as one page without scripts, that loads nothing from anywhere.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ragwright.artifacts.golden import read_golden
from ragwright.artifacts.integrity import read_manifest
from ragwright.artifacts.server.access import Access
from ragwright.artifacts.server.auth import Caller
from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.requests import service_of
from ragwright.artifacts.server.swap import ServedVersion
from ragwright.artifacts.wire import AboutReply
from ragwright.retrievers.errors import ArtifactError

EXAMPLES = 3
LONGEST_EXAMPLE = 120
"""Characters of a question that is shown as an example."""

CODE = re.compile(r"`([^`]+)`")

router = APIRouter()


@router.get("/page/about", include_in_schema=False)
async def about(request: Request, caller: Caller) -> AboutReply:
    """Say which version answers, when it was compiled, and what may be asked."""
    service = service_of(request)
    if not service.serving.ready:
        raise RefusedRequest(503, "not_ready", "No version is loaded.")
    return await asyncio.to_thread(_about, service.serving.current, caller)


def _about(served: ServedVersion, caller: Access) -> AboutReply:
    try:
        created = read_manifest(served.folder).created
        golden = read_golden(served.folder)
    except ArtifactError as error:  # its folder was removed since it was loaded
        raise RefusedRequest(503, "no_artifact", "The version's folder cannot be read.") from error
    # Questions tell of documents: whoever sees only a part of them gets none.
    asked = (one.question for one in golden if one.given.score > 0 and not one.example)
    short = [one for one in asked if len(one) <= LONGEST_EXAMPLE] if caller.where is None else []
    return AboutReply(
        artifact=served.name,
        version=served.version,
        created=created,
        release=version("ragwright"),
        examples=short[:EXAMPLES],
    )


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The OpenAPI description, to be read."""
    page = "".join(_page(request.app.openapi()))
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, **_HEADERS})


def _page(described: Mapping[str, Any]) -> Iterator[str]:
    title = escape(f"HTTP API of {described['info']['title']} {described['info']['version']}")
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>'
        f'{title}</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/page/page.css"></head><body><header>'
        f"<h1>{title}</h1><p class='quiet'><a href='/openapi.json'>openapi.json</a></p></header>"
        "<main><p>Types stand for values; a key with ? may be left out.</p>"
    )
    schemas = described.get("components", {}).get("schemas", {})
    for path, methods in described["paths"].items():
        for method, what in methods.items():
            yield from _operation(f"{method.upper()} {path}", what, schemas)
    yield "</main></body></html>"


def _operation(name: str, what: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section class='card'><h2>{escape(name)}</h2>"
    yield f"<p>{_prose(what.get('description') or what.get('summary', ''))}</p>"
    for given in what.get("parameters", ()):
        needed = ", required" if given.get("required") else ""
        kind = given.get("schema", {}).get("type", "any")
        yield f"<p><code>{escape(given['name'])}</code> ({given['in']}, {kind}{needed})</p>"
    yield from _body("Takes", what.get("requestBody", {}), schemas)
    for status, reply in what.get("responses", {}).items():
        if status.startswith("2"):
            yield from _body(f"Gives {status}", reply, schemas)
    refused = [status for status in what.get("responses", {}) if not status.startswith("2")]
    if refused:
        yield f"<p class='quiet'>Refusals: {', '.join(refused)}</p>"
    yield "</section>"


def _prose(text: str) -> str:
    """Return text as HTML, its `code` in a face of its own."""
    return CODE.sub(r"<code>\1</code>", escape(text))


def _body(title: str, body: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    for kind, content in body.get("content", {}).items():
        shown = _shape(content.get("schema", {}), schemas, depth=4)
        if not shown and kind == "application/json":
            continue  # what FastAPI says of every reply, also where it is a stream
        yield f"<h3>{escape(title)} <span class='quiet'>{escape(kind)}</span></h3>"
        if shown:
            yield f"<pre>{escape(json.dumps(shown, indent=2, ensure_ascii=False))}</pre>"


def _shape(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    """Show a schema as what it describes looks like, with types for values."""
    if "$ref" in schema:
        schema = schemas.get(schema["$ref"].rpartition("/")[2], {})
    if "properties" in schema and depth:
        needed = set(schema.get("required", ()))
        return {
            name if name in needed else f"{name}?": _shape(one, schemas, depth - 1)
            for name, one in schema["properties"].items()
        }
    if "items" in schema and depth:
        return [_shape(schema["items"], schemas, depth - 1)]
    options = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ())]
    if options and depth:
        return _shape(options[0], schemas, depth)
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return schema.get("const") or schema.get("type", "")


_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
