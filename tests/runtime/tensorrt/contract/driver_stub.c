/* A CUDA driver that remembers: the real cuda-python calls it, so what arrives here is what a GPU would get. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, INVALID_PTX = 218,
       CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };

static FILE *record(void) {
    static FILE *file;
    if (!file) file = fopen(getenv("DRIVER_STUB_RECORD"), "a");
    setvbuf(file, NULL, _IOLBF, 0);
    return file;
}
static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) { (void)flags; return number("DRIVER_STUB_INIT", SUCCESS); }
int cuDriverGetVersion(int *version) { *version = number("DRIVER_STUB_CUDA", 12060); return SUCCESS; }
int cuGetErrorName(int error, const char **name) {
    *name = error == INVALID_PTX       ? "CUDA_ERROR_INVALID_PTX"
            : error == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT"
            : error == 100             ? "CUDA_ERROR_NO_DEVICE"
            : error == OUT_OF_MEMORY   ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == INVALID_VALUE   ? "CUDA_ERROR_INVALID_VALUE"
            : error == CAPTURE_UNSUPPORTED ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
            : error == CAPTURE_INVALIDATED ? "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
            : error == 700             ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                                       : "CUDA_ERROR_UNKNOWN";
    return SUCCESS;
}
int cuCtxGetCurrent(void **context) { *context = (void *)(size_t)number("DRIVER_STUB_CONTEXT", 64); return SUCCESS; }
int cuCtxGetId(void *context, unsigned long long *id) { *id = (size_t)context; return SUCCESS; }
int cuCtxGetDevice(int *device) {
    *device = 0;
    return number("DRIVER_STUB_CONTEXT", 64) ? SUCCESS : INVALID_CONTEXT;
}
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    int capability = number("DRIVER_STUB_CAPABILITY", 87); /* attributes 75 and 76: major, minor */
    *value = attribute == 75   ? capability / 10
             : attribute == 76 ? capability % 10
             : attribute == 16 ? number("DRIVER_STUB_MULTIPROCESSORS", 16)
             : attribute == 18 ? number("DRIVER_STUB_INTEGRATED", 0)
                               : 0;
    return SUCCESS;
}
int cuDeviceGetName(char *name, int length, int device) {
    const char *text = getenv("DRIVER_STUB_NAME");
    (void)device;
    snprintf(name, (size_t)length, "%s", text ? text : "Orin");
    return SUCCESS;
}

/* The device's memory is the host's: what an engine is handed as a device address can be read here. */
static size_t last_stream, last_event, graphs;

/* What is not allowed while a stream is captured fails, and spoils the capture. */
static size_t captured_stream;
static int spoiled;
static int spoils(void) { return captured_stream ? (spoiled = 1) : 0; }
static void *aligned(size_t bytes) { return aligned_alloc(256, (bytes + 255) / 256 * 256); }
int cuDevicePrimaryCtxRetain(void **context, int device) {
    last_stream = 776; /* a session's handles are always the same */
    last_event = graphs = 0;
    fprintf(record(), "retain %d\n", device);
    *context = (void *)64;
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int device) { fprintf(record(), "release %d\n", device); return SUCCESS; }
static __thread void *stack[16];
static __thread int depth;
int cuCtxPushCurrent_v2(void *context) {
    fprintf(record(), "push %zu\n", (size_t)context);
    stack[depth++] = context;
    return SUCCESS;
}
int cuCtxPopCurrent_v2(void **context) {
    if (!depth) return INVALID_CONTEXT;
    *context = stack[--depth];
    fprintf(record(), "pop %zu\n", (size_t)*context);
    return SUCCESS;
}
int cuStreamCreate(void **stream, unsigned flags) {
    fprintf(record(), "stream flags=%u\n", flags);
    *stream = (void *)++last_stream;
    return SUCCESS;
}
int cuStreamDestroy_v2(void *stream) { fprintf(record(), "destroy %zu\n", (size_t)stream); return SUCCESS; }
int cuStreamSynchronize(void *stream) {
    fprintf(record(), "synchronize %zu\n", (size_t)stream);
    return number("DRIVER_STUB_SYNCHRONIZE", SUCCESS);
}
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    if (spoils()) return CAPTURE_UNSUPPORTED;
    fprintf(record(), "pinned %zu flags=%u\n", bytes, flags);
    *memory = aligned(bytes);
    return SUCCESS;
}
int cuMemHostGetDevicePointer_v2(void **device, void *memory, unsigned flags) {
    fprintf(record(), "mapped flags=%u\n", flags);
    *device = memory;
    return SUCCESS;
}
int cuMemAlloc_v2(void **memory, size_t bytes) {
    if (spoils()) return CAPTURE_UNSUPPORTED;
    if (bytes > (size_t)number("DRIVER_STUB_MEMORY", 1 << 30)) return OUT_OF_MEMORY;
    fprintf(record(), "device %zu\n", bytes);
    *memory = aligned(bytes);
    return SUCCESS;
}
int cuMemHostRegister_v2(void *memory, size_t bytes, unsigned flags) {
    fprintf(record(), "lock %zu aligned=%d flags=%u\n", bytes, (size_t)memory % 4096 == 0, flags);
    return SUCCESS;
}
int cuMemHostUnregister(void *memory) { (void)memory; fprintf(record(), "unlock\n"); return SUCCESS; }
int cuMemFreeHost(void *memory) { fprintf(record(), "free pinned\n"); free(memory); return SUCCESS; }
int cuMemFree_v2(void *memory) { fprintf(record(), "free device\n"); free(memory); return SUCCESS; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    fprintf(record(), "upload %zu stream=%zu\n", bytes, (size_t)stream);
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    fprintf(record(), "download %zu stream=%zu\n", bytes, (size_t)stream);
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    fprintf(record(), "copy %zu stream=%zu\n", bytes, (size_t)stream);
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cuMemcpyAsync(void *to, const void *from, size_t bytes, void *stream) {
    fprintf(record(), "copy %zu stream=%zu\n", bytes, (size_t)stream);
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cuMemcpyPeerAsync(void *to, void *to_context, const void *from, void *context, size_t bytes, void *stream) {
    fprintf(record(), "copy %zu from context %zu to %zu stream=%zu\n", bytes, (size_t)context, (size_t)to_context,
            (size_t)stream);
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cuMemcpyDtoH_v2(void *to, const void *from, size_t bytes) {
    fprintf(record(), "download %zu\n", bytes);
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cuMemsetD8Async(void *to, unsigned char value, size_t bytes, void *stream) {
    fprintf(record(), "set %zu to %u stream=%zu\n", bytes, value, (size_t)stream);
    memset(to, value, bytes);
    return SUCCESS;
}
int cuPointerGetAttribute(void *value, int attribute, void *pointer) {
    if (attribute == 1) { /* CU_POINTER_ATTRIBUTE_CONTEXT */
        const char *foreign = getenv("DRIVER_STUB_FOREIGN"); /* an address of another context */
        *(size_t *)value = foreign && strtoull(foreign, NULL, 10) == (size_t)pointer ? 77 : 64;
        return SUCCESS;
    }
    if (attribute != 9) return INVALID_VALUE; /* CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL */
    *(int *)value = 0;
    return SUCCESS;
}

/* What is enqueued is done at once, so that every event has happened. */
int cuStreamQuery(void *stream) { (void)stream; return SUCCESS; }
int cuEventCreate(void **event, unsigned flags) {
    fprintf(record(), "event flags=%u\n", flags);
    *event = (void *)++last_event;
    return SUCCESS;
}
int cuEventDestroy_v2(void *event) { fprintf(record(), "destroy event %zu\n", (size_t)event); return SUCCESS; }
int cuEventRecord(void *event, void *stream) {
    fprintf(record(), "event %zu on=%zu\n", (size_t)event, (size_t)stream);
    return SUCCESS;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    fprintf(record(), "stream=%zu waits for event %zu flags=%u\n", (size_t)stream, (size_t)event, flags);
    return SUCCESS;
}
int cuEventSynchronize(void *event) {
    fprintf(record(), "host waits for event %zu\n", (size_t)event);
    return number("DRIVER_STUB_LOST", number("DRIVER_STUB_SYNCHRONIZE", SUCCESS));
}
int cuEventElapsedTime(float *milliseconds, void *began, void *ended) {
    (void)began, (void)ended;
    *milliseconds = 1.5f;
    return SUCCESS;
}

/* A graph is what the stand-in says, while its stream is captured, that a launch has to do. */
typedef void (*node)(void);
static size_t nodes[16];
static node node_of[16][16];
int driver_stub_prepare(void) { return !spoils(); } /* what loads code: whether it may */
int driver_stub_add_node(size_t stream, node run) {
    if (stream != captured_stream) return 0;
    node_of[graphs][nodes[graphs]++] = run;
    return 1;
}
int cuStreamBeginCapture_v2(void *stream, int mode) {
    fprintf(record(), "capture stream=%zu mode=%d\n", (size_t)stream, mode);
    captured_stream = (size_t)stream;
    spoiled = 0;
    nodes[++graphs] = 0;
    return SUCCESS;
}
int cuStreamEndCapture(void *stream, void **graph) {
    fprintf(record(), "captured stream=%zu\n", (size_t)stream);
    captured_stream = 0;
    *graph = NULL;
    if (spoiled || getenv("DRIVER_STUB_NO_CAPTURE")) return CAPTURE_INVALIDATED;
    *graph = (void *)graphs;
    return SUCCESS;
}
int cuGraphGetNodes(void *graph, void **handles, size_t *count) {
    (void)handles;
    *count = nodes[(size_t)graph];
    return SUCCESS;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    fprintf(record(), "instantiate %zu flags=%llu\n", (size_t)graph, flags);
    *executable = graph;
    return SUCCESS;
}
int cuGraphDestroy(void *graph) { fprintf(record(), "destroy graph %zu\n", (size_t)graph); return SUCCESS; }
int cuGraphExecDestroy(void *graph) {
    fprintf(record(), "destroy executable %zu\n", (size_t)graph);
    return SUCCESS;
}
int cuGraphLaunch(void *graph, void *stream) {
    fprintf(record(), "graph %zu stream=%zu\n", (size_t)graph, (size_t)stream);
    for (size_t i = 0; i < nodes[(size_t)graph]; i++) node_of[(size_t)graph][i]();
    return SUCCESS;
}
int cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    const char *text = image;
    if (spoils()) return CAPTURE_UNSUPPORTED;
    fprintf(record(), "load bytes=%zu options=%u\n", strlen(text), count);
    if (strstr(text, "refuse me")) {
        for (unsigned i = 0; i < count; i++)
            if (options[i] == 5) strcpy(values[i], "ptxas fatal: refused"); /* CU_JIT_ERROR_LOG_BUFFER */
        return INVALID_PTX;
    }
    size_t parameters = 0; /* handles tell a launch how many there are */
    for (const char *at = text; (at = strstr(at, ".param ")); at++) parameters++;
    *module = (void *)(1000 + parameters);
    return SUCCESS;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    fprintf(record(), "function %s of=%zu\n", name, (size_t)module);
    *function = (void *)((size_t)module + 1000);
    return SUCCESS;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    fprintf(record(), "attribute of=%zu %d=%d\n", (size_t)function, attribute, value);
    return SUCCESS;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    fprintf(record(), "launch of=%zu grid=%u,%u,%u block=%u,%u,%u shared=%u stream=%zu extra=%d pointers=",
            (size_t)function, gx, gy, gz, bx, by, bz, shared, (size_t)stream, extra != NULL);
    for (size_t i = 0; i < (size_t)function - 2000; i++)
        fprintf(record(), "%zu,", *(size_t *)parameters[i]);
    fprintf(record(), "\n");
    return SUCCESS;
}
int cuGetProcAddress_v2(const char *, void **, int, unsigned long long, int *);
#define ENTRY(name) {#name, (void *)name}
static const struct { const char *name; void *address; } TABLE[] = {
    ENTRY(cuInit),
    ENTRY(cuDriverGetVersion),
    ENTRY(cuGetErrorName),
    ENTRY(cuCtxGetCurrent),
    ENTRY(cuCtxGetId),
    ENTRY(cuCtxGetDevice),
    ENTRY(cuDeviceGet),
    ENTRY(cuDeviceGetAttribute),
    ENTRY(cuModuleLoadDataEx),
    ENTRY(cuModuleGetFunction),
    ENTRY(cuFuncSetAttribute),
    ENTRY(cuLaunchKernel),
    ENTRY(cuDeviceGetName),
    ENTRY(cuDevicePrimaryCtxRetain),
    {"cuDevicePrimaryCtxRelease", (void *)cuDevicePrimaryCtxRelease_v2},
    {"cuCtxPushCurrent", (void *)cuCtxPushCurrent_v2},
    {"cuCtxPopCurrent", (void *)cuCtxPopCurrent_v2},
    ENTRY(cuStreamCreate),
    {"cuStreamDestroy", (void *)cuStreamDestroy_v2},
    ENTRY(cuStreamSynchronize),
    ENTRY(cuMemHostAlloc),
    {"cuMemHostGetDevicePointer", (void *)cuMemHostGetDevicePointer_v2},
    {"cuMemHostRegister", (void *)cuMemHostRegister_v2},
    ENTRY(cuMemHostUnregister),
    {"cuMemAlloc", (void *)cuMemAlloc_v2},
    ENTRY(cuMemFreeHost),
    {"cuMemFree", (void *)cuMemFree_v2},
    {"cuMemcpyHtoDAsync", (void *)cuMemcpyHtoDAsync_v2},
    {"cuMemcpyDtoHAsync", (void *)cuMemcpyDtoHAsync_v2},
    {"cuMemcpyDtoDAsync", (void *)cuMemcpyDtoDAsync_v2},
    ENTRY(cuMemcpyAsync),
    ENTRY(cuMemcpyPeerAsync),
    {"cuMemcpyDtoH", (void *)cuMemcpyDtoH_v2},
    ENTRY(cuMemsetD8Async),
    ENTRY(cuPointerGetAttribute),
    ENTRY(cuStreamQuery),
    ENTRY(cuEventCreate),
    {"cuEventDestroy", (void *)cuEventDestroy_v2},
    ENTRY(cuEventRecord),
    ENTRY(cuStreamWaitEvent),
    ENTRY(cuEventSynchronize),
    ENTRY(cuEventElapsedTime),
    {"cuStreamBeginCapture", (void *)cuStreamBeginCapture_v2},
    ENTRY(cuStreamEndCapture),
    ENTRY(cuGraphGetNodes),
    ENTRY(cuGraphInstantiateWithFlags),
    ENTRY(cuGraphDestroy),
    ENTRY(cuGraphExecDestroy),
    ENTRY(cuGraphLaunch),
    {"cuGetProcAddress", (void *)cuGetProcAddress_v2},
    {"cuGetProcAddress_v2", (void *)cuGetProcAddress_v2},
};
int cuGetProcAddress_v2(const char *symbol, void **address, int version, unsigned long long flags, int *status) {
    (void)version, (void)flags;
    *address = NULL; /* cuda-python takes what is not here as absent */
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (!strcmp(TABLE[i].name, symbol)) *address = TABLE[i].address;
    if (status) *status = *address ? 0 : 1;
    return SUCCESS;
}
