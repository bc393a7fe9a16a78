/* A libnvidia-ml.so.1 for tests. Its state is a folder, $FAKE_NVML, that a test changes while the library is in use:
 *   NAME            a number: the value NAME, for example "power_0" for GPU 0
 *   error/FUNCTION  a number: the error that a function returns. "error/all" is for all functions
 *   hang/FUNCTION   a function does not return as long as this file exists
 *   xid             a number: the next event. The library removes the file
 * GPU i has the UUID GPU-i000..., and two MIG instances MIG-ij00... if the value "mig_i" is 1.
 * With -DOLD_DRIVER, the functions that drivers before 510 lack do not exist.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10 };
enum { GPUS = 4, INSTANCES = 2 };

struct device { int gpu; int instance; };
static struct device devices[GPUS][INSTANCES + 1];

static int path(char *to, const char *name) {
    return snprintf(to, 512, "%s/%s", getenv("FAKE_NVML"), name);
}

static long long number(const char *name, long long otherwise) {
    char file[512];
    long long value = otherwise;
    path(file, name);
    FILE *stream = fopen(file, "r");
    if (stream) {
        if (fscanf(stream, "%lld", &value) != 1) value = otherwise;
        fclose(stream);
    }
    return value;
}

static long long of_gpu(const struct device *device, const char *name, long long otherwise) {
    char full[64];
    snprintf(full, sizeof full, "%s_%d", name, device->gpu);
    return number(full, otherwise);
}

static int called(const char *function) {
    char name[128], file[512];
    snprintf(name, sizeof name, "hang/%s", function);
    path(file, name);
    while (access(file, F_OK) == 0) usleep(5000);
    snprintf(name, sizeof name, "error/%s", function);
    return (int)number(name, number("error/all", SUCCESS));
}

#define CALLED() do { int error = called(__func__); if (error) return error; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    CALLED();
    for (int gpu = 0; gpu < GPUS; gpu++)
        for (int instance = 0; instance <= INSTANCES; instance++)
            devices[gpu][instance] = (struct device){gpu, instance - 1};
    return SUCCESS;
}

int nvmlShutdown(void) { CALLED(); return SUCCESS; }

const char *nvmlErrorString(int error) { (void)error; return "an error of the fake library"; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    CALLED();
    snprintf(version, length, "580.65.06");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) { CALLED(); *count = (unsigned)number("gpus", 2); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    CALLED();
    *device = &devices[index][0];
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length) {
    CALLED();
    if (device->instance < 0) snprintf(uuid, length, "GPU-%d0000000-1111-2222-3333-444444444444", device->gpu);
    else snprintf(uuid, length, "MIG-%d%d000000-1111-2222-3333-444444444444", device->gpu, device->instance);
    return SUCCESS;
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned length) {
    CALLED();
    snprintf(name, length, "NVIDIA Fake 80GB%s", device->instance < 0 ? "" : " MIG 1g.10gb");
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(struct device *device, unsigned rates[2]) {
    CALLED();
    if (of_gpu(device, "mig", 0)) return NOT_SUPPORTED;
    rates[0] = (unsigned)of_gpu(device, "compute", 50);
    rates[1] = 20;
    return SUCCESS;
}

int nvmlDeviceGetEncoderUtilization(struct device *device, unsigned *percent, unsigned *period) {
    (void)device;
    CALLED();
    *percent = 30; *period = 1000;
    return SUCCESS;
}

int nvmlDeviceGetDecoderUtilization(struct device *device, unsigned *percent, unsigned *period) {
    (void)device;
    CALLED();
    *percent = 40; *period = 1000;
    return SUCCESS;
}

struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetMemoryInfo(struct device *device, struct memory *memory) {
    CALLED();
    *memory = (struct memory){1000, device->instance < 0 ? 600 : 60, device->instance < 0 ? 400 : 40};
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatts) {
    CALLED();
    *milliwatts = (unsigned)of_gpu(device, "power", 250000);
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(struct device *device, unsigned long long *millijoules) {
    CALLED();
    *millijoules = (unsigned long long)of_gpu(device, "energy", 1000);
    return SUCCESS;
}

int nvmlDeviceGetTemperature(struct device *device, int sensor, unsigned *celsius) {
    (void)sensor;
    CALLED();
    *celsius = (unsigned)of_gpu(device, "temperature", 61);
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons) {
    CALLED();
    *reasons = (unsigned long long)of_gpu(device, "throttle", 1);
    return SUCCESS;
}

int nvmlEventSetCreate(void **events) { CALLED(); *events = devices; return SUCCESS; }

int nvmlEventSetFree(void *events) { (void)events; CALLED(); return SUCCESS; }

int nvmlDeviceRegisterEvents(struct device *device, unsigned long long kinds, void *events) {
    (void)device; (void)events;
    CALLED();
    return kinds == 8 ? SUCCESS : NOT_SUPPORTED;
}

struct event { struct device *device; unsigned long long kind, data; unsigned instance, compute; };

int nvmlEventSetWait_v2(void *events, struct event *event, unsigned milliseconds) {
    char file[512];
    (void)events;
    CALLED();
    path(file, "xid");
    for (unsigned waited = 0; waited < milliseconds; waited += 5) {
        long long xid = number("xid", 0);
        if (xid) {
            unlink(file);
            *event = (struct event){&devices[0][0], 8, (unsigned long long)xid, 0, 0};
            return SUCCESS;
        }
        usleep(5000);
    }
    return TIMEOUT;
}

#ifndef OLD_DRIVER

struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *memory) {
    CALLED();
    memory->total = 1000;
    memory->reserved = 100;
    memory->free = device->instance < 0 ? 600 : 60;
    memory->used = device->instance < 0 ? 300 : 30;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(struct device *device, unsigned long long *reasons) {
    CALLED();
    *reasons = (unsigned long long)of_gpu(device, "throttle", 1);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending) {
    CALLED();
    *current = *pending = (unsigned)of_gpu(device, "mig", 0);
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) {
    (void)device;
    CALLED();
    /* More than there are, as on a GPU that is not divided completely. */
    *count = 1 + INSTANCES;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **instance) {
    CALLED();
    if (!of_gpu(device, "mig", 0) || index == 0) return NOT_FOUND;
    *instance = &devices[device->gpu][index];
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct device *instance, struct device **device) {
    CALLED();
    *device = &devices[instance->gpu][0];
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(struct device *instance, unsigned *id) {
    CALLED();
    *id = 7 + (unsigned)instance->instance;
    return SUCCESS;
}

int nvmlDeviceGetComputeInstanceId(struct device *instance, unsigned *id) {
    (void)instance;
    CALLED();
    *id = 0;
    return SUCCESS;
}

#endif
