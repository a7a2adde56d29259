"""The way of one camera: capture, checks, and a worker for each sink."""
