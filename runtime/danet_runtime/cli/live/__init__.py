"""Parts of ``danet run``: cameras, outputs, status line, interruption and the summary at the end."""
