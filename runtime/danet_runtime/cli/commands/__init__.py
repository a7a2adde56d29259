"""The runtime's own commands, one a module."""
