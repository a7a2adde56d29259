"""Sources that cannot wait: children that send frames, their clocks and their pace."""
