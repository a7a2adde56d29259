"""What each instruction does, as a function of a warp."""
