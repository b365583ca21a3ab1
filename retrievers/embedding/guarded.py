"""What LiteLLM sends requests through: no reply without a bound, and none that sends on to others.

A server that names another one is not followed there: its clients would take some keys along
(Azure's, Gemini's), and the documents' texts. Requests by way of a proxy do without all of this,
and so do those through a client that LiteLLM was given.
"""

from __future__ import annotations

import time

import httpx

MOST_BYTES = 64 << 20
"""Of one reply, unpacked: 96 vectors of 4,096 numbers take 9 MB."""
SECONDS = 600.0
"""That one reply may take."""


def guard_litellm() -> None:
    """Have LiteLLM send requests through a transport with limits, unless it was given another."""
    import litellm
    from litellm.llms.custom_httpx.http_handler import HTTPHandler, get_ssl_configuration

    if getattr(litellm, "sync_transport", None) is None:  # read by its clients, declared nowhere
        transport = GuardedTransport(verify=get_ssl_configuration())
        litellm.sync_transport = transport
    if litellm.client_session is None:  # of OpenAI's client, and of Azure's
        litellm.client_session = HTTPHandler(timeout=SECONDS).client


class GuardedTransport(httpx.HTTPTransport):
    """Reads replies whole, but for streams, and refuses in the place of what is too much."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if other := _other_server(request, response):
            response.close()
            return _refusal(f"the server sends on to {other}, where nothing is sent")
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return response
        return _whole(response)


def _other_server(request: httpx.Request, response: httpx.Response) -> str:
    """Return the server that a reply sends on to, if it is another one; encrypted, it is the same.

    Keys of the environment go to the server that was named, and to no other.
    """
    if not response.has_redirect_location:
        return ""
    asked = request.url
    try:
        told = asked.join(response.headers["location"])
    except httpx.InvalidURL:
        return "an address that is none"
    encrypted = (asked.scheme, told.scheme) == ("http", "https")
    same = told.host == asked.host and (told.netloc == asked.netloc or encrypted)
    return "" if same else f"{told.scheme}://{told.host}"


def _whole(response: httpx.Response) -> httpx.Response:
    held, until = bytearray(), time.monotonic() + SECONDS
    try:
        for piece in response.iter_bytes():
            held += piece
            if len(held) > MOST_BYTES:
                return _refusal(f"the reply is larger than {MOST_BYTES >> 20} MB")
            if time.monotonic() > until:
                return _refusal(f"the reply was not whole after {SECONDS:g} s")
    finally:
        response.close()
    packed = {"content-encoding", "content-length", "transfer-encoding"}
    headers = [(name, text) for name, text in response.headers.items() if name not in packed]
    return httpx.Response(response.status_code, headers=headers, content=bytes(held))


def _refusal(what: str) -> httpx.Response:
    """Return it as the server's own refusal: what breaks off is asked for again by every client."""
    return httpx.Response(400, json={"error": {"message": what}})
