"""Engines on disk: manifest, folder, lock, checks and the timing cache."""
