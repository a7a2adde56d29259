"""Measuring networks: accuracy, agreement, values node by node."""
