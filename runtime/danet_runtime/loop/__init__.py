"""The threads behind :class:`danet_runtime.Stream`: cameras, inference, sinks, and who watches them."""
