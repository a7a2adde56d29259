"""What a calibration costs, and how accurate what it writes is."""
