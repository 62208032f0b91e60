"""Evaluation: the paper's three numbers, what later papers add, sets, baselines and the report."""
