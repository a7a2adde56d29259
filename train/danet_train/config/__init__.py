"""The sections of a configuration, and how one inherits from another."""
