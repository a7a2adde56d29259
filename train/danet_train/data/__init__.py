"""Datasets as plain sequences of numpy samples, and the torch adapter that training uses."""
