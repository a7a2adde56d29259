"""Global, shared and tensor memory, and who may touch what after whom."""
