"""The GPU executor over CUDA's driver API."""
