"""The three operators as TensorRT's plugins, and the lowerings of one ONNX file."""
