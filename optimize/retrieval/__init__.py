"""Retrieval settings, tried on a stored pool of candidates: labels, search and replay."""
