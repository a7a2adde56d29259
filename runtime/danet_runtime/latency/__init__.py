"""Measurement of the latency of a frame."""
