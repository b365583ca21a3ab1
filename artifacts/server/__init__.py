"""A compiled program behind HTTP: `create_app(ServerSettings(artifact=...))` is an ASGI app.

Each module does one thing; `app.py` puts them together, `service.py` is the way of a question.
Importing this package loads neither MLflow nor `optimize` nor anything that trains.
"""

from __future__ import annotations

from ragwright.artifacts.server.app import create_app
from ragwright.artifacts.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]
