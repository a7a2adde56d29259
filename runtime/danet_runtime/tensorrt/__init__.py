"""TensorRT and TensorRT for RTX: building engines from a bundle, and running them."""
