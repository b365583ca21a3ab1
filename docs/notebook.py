"""Runs the cells of docs/notebook.ipynb and keeps what they print.

    python docs/notebook.py [--output FILE]

The cells run in order in a process of their own, in an empty folder, without a network. Paths of
the machine in what they print end the script. A page of the site shows the cells (docs/hooks.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_suffix(".ipynb")
ROOT = NOTEBOOK.parent.parent
PLACES = {str(place) for place in (Path.home(), tempfile.gettempdir(), sys.prefix, ROOT)}
"""Where things lie on this machine; a home folder of `/` would be everywhere."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
    "TERM": "dumb",
}


def executed(path: Path = NOTEBOOK, seconds: int = 300) -> Any:
    """Return the notebook with what its cells print now.

    Raises:
        CellExecutionError: A cell failed.
        ValueError: A cell printed a path of this machine.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    os.environ.update(OFFLINE)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=seconds, resources=resources)
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if found := places_in(str(cell.get("outputs", ""))):
            raise ValueError(f"A cell prints {found}: {cell.source[:60]!r}")
    notebook.metadata.pop("language_info", None)
    return notebook


def places_in(text: str) -> list[str]:
    """Return the places of this machine that a text names."""
    return [place for place in PLACES if len(place) > 1 and place in text]


def main() -> None:
    import nbformat

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=NOTEBOOK)
    nbformat.write(executed(), parser.parse_args().output)


if __name__ == "__main__":
    main()
