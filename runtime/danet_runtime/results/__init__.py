"""What a frame becomes: labels with their age and health, and the overlay."""
