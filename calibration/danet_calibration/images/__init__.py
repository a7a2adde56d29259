"""Choosing, checking and counting the frames of calibration and gate."""
