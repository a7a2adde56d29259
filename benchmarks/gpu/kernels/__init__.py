"""Forms of the kernels that were not kept, or not yet: to be compared on a GPU, in no bundle."""
