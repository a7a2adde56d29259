"""Costs of the loop, its sources and its outputs."""
