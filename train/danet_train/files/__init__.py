"""Files that appear whole or not at all, and files from outside that are read within limits."""
