"""The model without a host, on diffusers' UNet and autoencoder."""
