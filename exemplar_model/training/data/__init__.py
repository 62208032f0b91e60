"""Training data: sources of pictures, and the samples that are made of them."""
