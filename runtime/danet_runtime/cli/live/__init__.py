"""What ``danet run`` asks of a live stream: cameras, outputs, status, interruption and the end."""
