"""Quantising: layers, placement of Q and DQ, sensitivity."""
