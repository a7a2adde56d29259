"""The command ``danet``."""
