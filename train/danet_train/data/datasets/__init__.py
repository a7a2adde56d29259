"""Layouts of data sets on disk, and the files that each leaves out."""
