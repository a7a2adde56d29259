"""Training: its configuration, losses, schedule, loop, and the evaluation of what comes out."""
