"""Training samples: sources of pictures, holes, exemplars."""
