"""Two backends or precisions side by side."""
