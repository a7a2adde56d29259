"""DANet Edge: danet_train."""
