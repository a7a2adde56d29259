"""Every table of the README and the docs, made from the results; what makes them measures nothing."""
