"""The streaming loop: sources, inference and sinks in threads of their own."""
