"""The training side's own commands, one a module."""
