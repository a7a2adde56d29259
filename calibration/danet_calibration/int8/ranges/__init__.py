"""Ranges and scales, from histograms of the activations."""
