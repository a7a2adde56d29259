"""DANet as one module a part: backbone, attention, heads, and the network that joins them."""
