"""DANet Edge export: a checkpoint becomes a bundle of ONNX models with fused attention nodes."""
