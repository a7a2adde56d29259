"""TensorRT and TensorRT for RTX: building engines from a bundle, with the attention fused."""
