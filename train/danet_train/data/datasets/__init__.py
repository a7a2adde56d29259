"""Layouts of data sets on disk, and what each leaves out."""
