"""One frame with its labels."""
