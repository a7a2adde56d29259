"""Output of the commands, and the terminal that they print to."""
