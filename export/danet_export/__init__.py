"""DANet Edge: danet_export."""
