"""The flight recorder: the last seconds of a stream, kept for after a fault."""
