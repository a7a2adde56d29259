"""Writing for hours: parts, flushes, video files and what is sent to a child."""
