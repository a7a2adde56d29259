/* A CUDA driver that remembers: the real cuda-python calls it, so what arrives here is what a GPU would get. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_PTX = 218 };

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
    *name = error == INVALID_PTX ? "CUDA_ERROR_INVALID_PTX" : error == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_UNKNOWN";
    return SUCCESS;
}
int cuCtxGetCurrent(void **context) { *context = (void *)(size_t)number("DRIVER_STUB_CONTEXT", 64); return SUCCESS; }
int cuCtxGetId(void *context, unsigned long long *id) { *id = (size_t)context; return SUCCESS; }
int cuCtxGetDevice(int *device) { *device = 0; return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    int capability = number("DRIVER_STUB_CAPABILITY", 87); /* attributes 75 and 76: major, minor */
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 0;
    return SUCCESS;
}
int cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    const char *text = image;
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
