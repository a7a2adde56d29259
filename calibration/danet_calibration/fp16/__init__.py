"""What FP16 can hold, and the islands that stay in FP32."""
