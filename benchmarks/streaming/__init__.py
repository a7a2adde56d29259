"""What the loop, its sources and its outputs cost."""
