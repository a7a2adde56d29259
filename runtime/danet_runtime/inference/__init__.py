"""One frame to one class map."""
