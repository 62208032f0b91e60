"""Reading model files in every layout: which tensors they hold, and which sizes the model has."""
