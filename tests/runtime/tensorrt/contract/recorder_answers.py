"""Loggers, recorders and monitors as subclasses of the real bindings' classes: what they answer, as JSON."""

from __future__ import annotations

import gc
import json
import sys

import tensorrt_bindings as trt

sys.modules["tensorrt"] = trt

from danet_runtime.tensorrt.build.log import make_log, make_recorder  # noqa: E402

recorder = make_recorder(trt)
fatal = recorder.report_error(trt.ErrorCodeTRT.INVALID_CONFIG, "node the_add: wrong types")
answers = {
    "fatal": fatal,
    "number": recorder.num_errors(),
    "code": recorder.get_error_code(0).name,
    "text": recorder.get_error_desc(0),
    "overflowed": recorder.has_overflowed(),
}
recorder.clear()
answers["cleared"] = recorder.num_errors()
log = make_log(trt)
for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
    log.log(getattr(trt.ILogger.Severity, severity), severity)
answers["errors"], answers["messages"] = log.errors, log.messages
del recorder, log
gc.collect()
print(json.dumps(answers))
