"""The attention kernels of a bundle: PTX, targets and what each operator asks of them."""
