"""Memory of engines and kernels, as the builder and the compiler tell it without a GPU."""
