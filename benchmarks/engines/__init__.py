"""What engines and kernels take, as the builder and the compiler tell it without a GPU."""
