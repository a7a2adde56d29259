"""The custom operators in PyTorch, as ONNX functions and as references: one module an operator.

What an operator is stands in :mod:`danet_runtime.bundle.operators`, its kernel in ``danet_export.kernels``
under the same name as its module here.
"""
