"""What commands print, and the terminal they print to."""
