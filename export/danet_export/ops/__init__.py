"""The custom operators in PyTorch, as ONNX functions and as references, one module per operator.

The contract of an operator is in :mod:`danet_runtime.bundle.operators`, its kernel in
``danet_export.kernels`` under the same name as its module here.
"""
