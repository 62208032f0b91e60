"""What can be trained: denoiser, autoencoder and vision tower, and what they share."""
