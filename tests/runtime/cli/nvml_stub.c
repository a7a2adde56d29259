/* A driver's management library: what it answers is said by environment variables, in NVML's own numbers. */
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, GPU_IS_LOST = 15 };
struct memory { unsigned long long total, free, used; };

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return number("NVML_STUB_INIT", SUCCESS); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int error) { return error == 999 ? "Unknown Error" : "another error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "550.54");
    return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("NVML_STUB_COUNT", 1);
    return number("NVML_STUB_COUNTING", SUCCESS);
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    *gpu = (void *)(size_t)(index + 1);
    return (int)index == number("NVML_STUB_LOST", -1) ? GPU_IS_LOST : SUCCESS;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned length) {
    snprintf(text, length, "NVIDIA RTX A2000 %zu", (size_t)gpu - 1);
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *gpu, struct memory *memory) {
    (void)gpu;
    memory->total = 6138ULL << 20;
    return number("NVML_STUB_MEMORY", SUCCESS);
}
int nvmlDeviceGetCudaComputeCapability(void *gpu, int *major, int *minor) {
    (void)gpu;
    *major = 8, *minor = 6;
    return SUCCESS;
}
