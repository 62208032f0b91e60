"""What is trained: denoiser, autoencoder, tower."""
