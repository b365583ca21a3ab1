"""Reads documents from files and rows, one at a time. Knows nothing of chunks."""

from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.documents.reading import HUB, STDIN, is_folder, read_documents

__all__ = ["HUB", "STDIN", "Problem", "ReadOptions", "is_folder", "read_documents"]
