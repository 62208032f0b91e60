"""Tools for this repository: they never ship, and nothing that ships imports them."""
