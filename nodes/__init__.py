"""Nodes of the pack: thin layers between the host and `exemplar_model`."""
