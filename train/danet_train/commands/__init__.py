"""The subcommands of ``danet`` that this distribution brings; nothing heavy is imported at the top."""
