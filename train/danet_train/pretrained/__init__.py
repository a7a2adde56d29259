"""Networks that ship with the package: weights as safetensors, each with the record of its training."""
