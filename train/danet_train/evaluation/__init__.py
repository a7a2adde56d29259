"""Evaluation: what a network says of an image, by the ways of both references, and how right it is."""
