"""Self-supervised training of Paint by Example, on one device or many.

Needs the extra `train` of `pyproject.toml`, which the nodes do not.
"""
