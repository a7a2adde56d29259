"""Training a network for INT8: what is quantised, fake quantisation there, trained scales."""
