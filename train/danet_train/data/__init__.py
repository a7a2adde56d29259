"""Datasets as plain sequences of numpy samples, and the torch adapter that training reads them through."""
