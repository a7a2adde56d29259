"""What stands and moves in drawn streets."""
