"""What a frame costs, measured."""
