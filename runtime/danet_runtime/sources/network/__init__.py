"""Cameras over HTTP and FFmpeg, in a child process."""
