"""Frames and pictures as bytes: their formats, sizes and decoding."""
