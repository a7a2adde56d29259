"""The frames of calibration and of the gate: chosen, checked, counted."""
