/* A CUDA driver that takes every call and does nothing: device memory is the host's, and each launch is written down.
   What is not named here succeeds without doing anything. gcc -shared -fPIC -o libcuda.so.1 stub_driver.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;
#define HANDLE(name, number, ...) static int name(void **made, __VA_ARGS__) { *made = (void *)(u64)(number); return 0; }

static int handles = 0x2000;
static int sizes[256], parameters;
static struct { u64 count, kernel, stream; unsigned shape[6]; unsigned char block[4096]; } launched;

/* For the tests: bytes of each parameter of the next kernels, and where the last launch is written down. */
void stub_expect(int count, const int *bytes) { memcpy(sizes, bytes, (parameters = count) * sizeof(int)); }
void *stub_launched(void) { return &launched; }

static void note(const unsigned *shape, void *kernel, void *stream, void **values) {
    memset(launched.block, 0, sizeof launched.block);
    memcpy(launched.shape, shape, sizeof launched.shape);
    launched.kernel = (u64)kernel;
    launched.stream = (u64)stream;
    launched.count++;
    for (int k = 0; k < parameters; k++) memcpy(launched.block + 8 * k, values[k], sizes[k]);
}
static int cuLaunchKernel(void *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned x, unsigned y, unsigned z,
                          unsigned shared, void *stream, void **values, void **extra) {
    note((unsigned[]){gx, gy, gz, x, y, z}, kernel, stream, values);
    return 0;
}
static int cuLaunchKernelEx(const unsigned *config, void *kernel, void **values, void **extra) {
    note(config, kernel, *(void **)(config + 8), values); /* six sizes, shared bytes, padding, stream */
    return 0;
}

static int nothing(void) { return 0; }
static int one(int *value) { *value = 1; return 0; }
static int zero(int *value) { *value = 0; return 0; }
static int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
static int cuDeviceGetName(char *name, int room, int device) { strncpy(name, "stub", room); return 0; }
static int cuDeviceGetUuid(char *uuid, int device) { memset(uuid, 7, 16); return 0; }
static int cuDeviceTotalMem(size_t *bytes, int device) { *bytes = 80ull << 30; return 0; }
static int cuMemGetInfo(size_t *unused, size_t *bytes) { *unused = *bytes = 80ull << 30; return 0; }
static int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 9 : which == 76 ? 0 : which == 10 ? 32 : which == 1 ? 1024 : which == 16 ? 132 : 65535;
    return 0; /* compute capability 9.0, lanes of a warp, threads of a block, multiprocessors; all else is enough */
}
static int cuMemAlloc(void **made, size_t bytes) { *made = aligned_alloc(256, (bytes + 511) / 256 * 256); return 0; }
static int cuMemHostAlloc(void **made, size_t bytes, unsigned flags) { return cuMemAlloc(made, bytes); }
static int cuMemHostGetDevicePointer(void **made, void *host, unsigned flags) { *made = host; return 0; }
static int cuMemcpy(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); return 0; }
static int cuPointerGetAttribute(u64 *value, int which, u64 pointer) {
    if (which == 1) *value = 0x1000; /* context; memory is a device's; its address for the host and the device */
    else if (which == 3 || which == 4) *value = pointer;
    else *(int *)value = which == 2 ? 2 : 0;
    return 0;
}
static int cuFuncGetAttribute(int *value, int which, void *kernel) { *value = 32; return 0; }
HANDLE(context, 0x1000, int device)
HANDLE(module, ++handles, const void *image)
HANDLE(function, ++handles, void *module)
HANDLE(stream, ++handles, unsigned flags)

static const struct { const char *name; void *call; } calls[] = {
#define SAME(name) {#name, name}
    SAME(cuLaunchKernel), SAME(cuLaunchKernelEx), SAME(cuDriverGetVersion), SAME(cuDeviceGetName), SAME(cuDeviceGetUuid),
    SAME(cuDeviceTotalMem), SAME(cuMemGetInfo), SAME(cuDeviceGetAttribute), SAME(cuMemAlloc), SAME(cuMemHostAlloc),
    SAME(cuMemHostGetDevicePointer), SAME(cuPointerGetAttribute), SAME(cuFuncGetAttribute),
    {"cuKernelGetAttribute", cuFuncGetAttribute}, {"cuMemAllocAsync", cuMemAlloc}, {"cuMemcpyHtoD", cuMemcpy},
    {"cuMemcpyHtoDAsync", cuMemcpy}, {"cuMemcpyDtoH", cuMemcpy}, {"cuMemcpyDtoHAsync", cuMemcpy},
    {"cuDeviceGetCount", one}, {"cuDeviceGet", zero}, {"cuCtxGetDevice", zero}, {"cuDevicePrimaryCtxRetain", context},
    {"cuCtxGetCurrent", context}, {"cuCtxPopCurrent", context}, {"cuStreamGetCtx", context}, {"cuModuleLoadData", module},
    {"cuModuleLoadDataEx", module}, {"cuLibraryLoadData", module}, {"cuModuleGetFunction", function},
    {"cuLibraryGetKernel", function}, {"cuKernelGetFunction", function}, {"cuStreamCreate", stream},
};

int cuGetProcAddress(const char *name, void **call, int version, u64 flags, int *status) {
    *call = nothing;
    if (!strcmp(name, "cuGetProcAddress")) *call = cuGetProcAddress;
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++)
        if (!strcmp(name, calls[k].name)) *call = calls[k].call;
    if (status) *status = 0;
    return 0;
}
int cuGetProcAddress_v2(const char *name, void **call, int version, u64 flags, int *status) {
    return cuGetProcAddress(name, call, version, flags, status);
}
int cuInit(unsigned flags) { return 0; }
