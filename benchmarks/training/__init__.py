"""Costs of loading samples and of the attention in training."""
