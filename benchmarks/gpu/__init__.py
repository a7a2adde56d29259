"""Measurements that need a GPU; ``python -m benchmarks.gpu.run_all`` runs all of it."""
