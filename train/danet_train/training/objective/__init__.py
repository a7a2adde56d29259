"""Losses, hard examples, optimiser and schedule."""
