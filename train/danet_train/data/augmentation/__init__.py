"""Scale, crop, flip and color of training frames."""
