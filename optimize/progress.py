"""The type of progress callbacks: called with a stage, how much is done, and of how much.

Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable

StageProgress = Callable[[str, int, int], None]
"""Called with the name of the stage, how much is done, and how much there is (0: not known)."""
