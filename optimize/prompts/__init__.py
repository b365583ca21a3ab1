"""DSPy's optimizers and what they learn from."""
