"""Results of segmentation: labels with their age and health, and the overlay."""
