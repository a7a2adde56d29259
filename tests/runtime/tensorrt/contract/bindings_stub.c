/* What the Python bindings of TensorRT link to, each answering NULL: enough for the loader, and for nothing else. */
#define ANSWER_NULL(name) void *name(void) { return 0; }
ANSWER_NULL(createInferBuilder_INTERNAL)
ANSWER_NULL(createInferRuntime_INTERNAL)
ANSWER_NULL(createInferRefitter_INTERNAL)
ANSWER_NULL(createNvOnnxParser_INTERNAL)
ANSWER_NULL(createNvOnnxParserRefitter_INTERNAL)
ANSWER_NULL(getNvOnnxParserVersion)
ANSWER_NULL(getPluginRegistry)
ANSWER_NULL(getBuilderPluginRegistry)
ANSWER_NULL(initLibNvInferPlugins)
