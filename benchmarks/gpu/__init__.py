"""What only a GPU can show; ``python -m benchmarks.gpu.run_all`` runs all of it."""
