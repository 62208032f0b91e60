"""Self-supervised training of Paint by Example, on one device or many.

Needs accelerate, diffusers, pydantic and PyYAML, which the nodes do not.
"""
