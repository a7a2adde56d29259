"""Messages of TensorRT: its log, the errors that it records, and the errors of its parser."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from danet_runtime.tensorrt.build.layers import LAYER_MARK
from danet_runtime.tensorrt.build.library import BOTH

SERVES: Final = BOTH

_SHOWN: Final = 3
_NO_GPU: Final = "cudaError 35"  # the driver is missing: an ahead-of-time builder records it and goes on

_recorders: Final[list[Any]] = []
"""Every recorder, for good: TensorRT holds a pointer to it that no reference in Python stands for."""


def make_log(trt: ModuleType) -> Any:  # noqa: ANN401 - a subclass of a class known at run time
    """A logger with lists of text: ``messages`` (of level INFO, where figures stand), ``errors``, ``layers``.

    ``layers`` are the details in which the builder lists the layers of a finished engine; of the other
    details, of which there are very many, none is kept.
    """

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps what the library says."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []
            self.errors: list[str] = []
            self.layers: list[str] = []

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.INFO:
                self.messages.append(message)
            elif LAYER_MARK in message:
                self.layers.append(message)

    return Log()


def make_recorder(trt: ModuleType) -> Any:  # noqa: ANN401 - a subclass of a class known at run time
    """An error recorder with ``errors``, a list of text; lives as long as the process.

    What is recorded does not come to the logger any more.
    """

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc, name-defined]
        """Keeps errors; TensorRT may report from several threads, and appending to a list is atomic."""

        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self._codes: list[Any] = []
            self.errors: list[str] = []

        def report_error(self, code: Any, description: str) -> bool:  # noqa: ANN401
            self._codes.append(code)
            self.errors.append(description)
            return False  # TensorRT goes on as it sees fit

        def num_errors(self) -> int:
            return len(self.errors)

        def get_error_code(self, index: int) -> Any:  # noqa: ANN401
            return self._codes[index]

        def get_error_desc(self, index: int) -> str:
            return self.errors[index]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self._codes.clear()
            self.errors.clear()

    recorder = Recorder()
    _recorders.append(recorder)
    return recorder


def parser_problems(parser: Any) -> list[str]:  # noqa: ANN401 - an OnnxParser
    """Return the parser's errors, each with the ONNX node and the local functions around that node."""
    problems = []
    for index in range(parser.num_errors):
        problem = parser.get_error(index)
        message = " ".join(problem.desc().split())
        if problem.node_name() or problem.node_operator():
            within = "".join(f", in the function {name}" for name in problem.local_function_stack())
            message = f"node {problem.node_name()!r} ({problem.node_operator()}{within}): {message}"
        problems.append(message)
    return problems


def first_of(problems: list[str]) -> str:
    """The first problems as one line; those that only say that there is no GPU come last."""
    distinct = dict.fromkeys(" ".join(text.split()) for text in problems)
    ordered = sorted(distinct, key=lambda text: _NO_GPU in text)
    return "; ".join(ordered[:_SHOWN]) if ordered else "it gave no reason"
