"""DANet Edge calibration: a bundle and images become an INT8 bundle with its measured accuracy."""
