"""A compiled program behind HTTP: `create_app(ServerSettings(artifact=...))` is an ASGI app.

Each module does one thing; `app.py` puts them together, `service.py` is the way of a question.
Importing this package loads neither MLflow nor `optimize` nor anything that trains; what is
exported is imported when it is first used, so that feedback is read without a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import lazy_exports

if TYPE_CHECKING:
    from ragwright.artifacts.server.app import create_app
    from ragwright.artifacts.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]

__getattr__, __dir__ = lazy_exports(__name__, {"ServerSettings": "settings", "create_app": "app"})
