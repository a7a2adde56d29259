"""The custom operators as Triton kernels, compiled to PTX for a bundle.

Nothing here imports Triton before a kernel is asked for: ``architectures`` and ``ptx`` are plain Python. Each
operator's kernel has a module of its own.
"""
