"""The recipe of `exemplar-tiny.safetensors`: its pictures from packages, its three stages."""
