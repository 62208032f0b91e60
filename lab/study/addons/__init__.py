"""Small add-ons for the shipped model: a LoRA, a ControlNet and an upscaler."""
