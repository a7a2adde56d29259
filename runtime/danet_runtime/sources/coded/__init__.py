"""Coded pictures as bits: their kinds, their numbers and the holes between them."""
