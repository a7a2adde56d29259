"""Weights that other code trained: files read safely, families told apart, names translated both ways."""
