"""The commands as processes: how they end, whatever comes."""
