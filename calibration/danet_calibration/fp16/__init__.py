"""The range of FP16, and the islands that stay in FP32."""
