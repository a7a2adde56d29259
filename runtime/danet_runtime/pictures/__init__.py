"""Decoding pictures: what they state, whether they are whole, and the right way up."""
