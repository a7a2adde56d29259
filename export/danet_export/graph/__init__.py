"""The exported graph: wrapper, geometry, ONNX model and its parity."""
