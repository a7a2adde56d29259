"""The runtime's subcommands; nothing heavy is imported before a command runs."""
