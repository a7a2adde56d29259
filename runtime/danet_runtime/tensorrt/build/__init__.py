"""Building engines: the library found, its builder, its log and the layers it made."""
