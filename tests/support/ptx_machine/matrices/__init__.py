"""Matrices in registers, and asynchronous products of warpgroups."""
