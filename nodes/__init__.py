"""Nodes of the pack: thin layers between the host, ComfyUI, and `exemplar_model`."""
