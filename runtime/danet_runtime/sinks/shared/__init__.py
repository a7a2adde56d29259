"""Masks in shared memory, for other processes of the same user."""
