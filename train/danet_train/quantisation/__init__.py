"""Training a network for INT8: the quantised tensors, fake quantisation, trained scales."""
