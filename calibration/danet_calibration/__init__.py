"""DANet Edge: danet_calibration."""
