"""Sources in, documents out, one at a time. Knows nothing of chunks."""

from retrievers.documents.options import Problem, ReadOptions
from retrievers.documents.reading import HUB, STDIN, read_documents

__all__ = ["HUB", "STDIN", "Problem", "ReadOptions", "read_documents"]
