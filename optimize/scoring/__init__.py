"""Metrics, judges, evaluation and statistics."""
