"""The custom operators as Triton kernels, and their way to PTX in a bundle.

Nothing here imports Triton before a kernel is asked for: ``architectures`` and ``ptx`` are plain Python, the
kernels themselves stand in one module an operator.
"""
