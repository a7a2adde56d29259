"""The protocol of a sink, and the code that all sinks share."""
