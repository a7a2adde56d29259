"""The objects that stand and move in drawn streets."""
