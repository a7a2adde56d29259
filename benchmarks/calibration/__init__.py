"""Cost of a calibration, and accuracy of its INT8 files."""
