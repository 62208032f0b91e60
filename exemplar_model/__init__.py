"""Paint by Example (Yang et al., CVPR 2023, arXiv 2211.13227) in pure PyTorch.

Encoder, layouts of model files, preprocessing, region geometry, blending and the reference
samplers, for nodes, scripts and training alike. Nothing here depends on ComfyUI.
"""
