"""What loading samples and the attention cost in training."""
