"""The attention operators in PyTorch and as references."""
