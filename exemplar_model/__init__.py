"""Paint by Example (Yang et al., CVPR 2023, arXiv 2211.13227) in pure PyTorch.

This package knows no host application: the encoder, checkpoint layouts, preprocessing, region
geometry, colour match and the reference sampler, for nodes, scripts and training alike.
"""
