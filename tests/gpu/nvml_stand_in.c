/* A stand-in for NVIDIA's libnvidia-ml.so.1, for tests on machines without a GPU. It is no GPU and computes nothing: it
 * answers the few functions that the gateway asks for, from a text file that the variable NVML_STAND_IN names and that
 * is read at every call, so that a test may change what "the GPUs" say while a run goes on. Lines of the file:
 *
 *   error N                                     initialising fails with this code of NVML's
 *   gpu UUID TOTAL USED PERCENT [PID:BYTES]...  a GPU: bytes of memory, utilization, processes on it
 *   lost                                        a GPU that has fallen off the bus
 *
 * Types and codes are those of nvml.h; nvidia-ml-py calls it by the same ctypes as the real one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15, UNKNOWN = 999 };
enum { MOST_GPUS = 16, MOST_PROCESSES = 16 };

typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute_instance; } Process;
typedef struct {
    int lost;
    char uuid[96];
    unsigned long long total, used;
    unsigned int percent, processes;
    Process list[MOST_PROCESSES];
} Gpu;

static Gpu gpus[MOST_GPUS];
static int error;

static unsigned int look(void) {
    const char *name = getenv("NVML_STAND_IN");
    FILE *file = name ? fopen(name, "r") : NULL;
    char line[4096];
    unsigned int count = 0;
    error = 0;
    if (!file) return 0;
    while (fgets(line, sizeof line, file) && count < MOST_GPUS) {
        Gpu *gpu = &gpus[count];
        int read = 0;
        memset(gpu, 0, sizeof *gpu);
        if (sscanf(line, "error %d", &error) == 1) continue;
        if (!strncmp(line, "lost", 4)) { gpu->lost = 1; count++; continue; }
        if (sscanf(line, "gpu %95s %llu %llu %u%n", gpu->uuid, &gpu->total, &gpu->used, &gpu->percent, &read) < 4) continue;
        for (char *word = strtok(line + read, " \n"); word && gpu->processes < MOST_PROCESSES; word = strtok(NULL, " \n")) {
            Process *process = &gpu->list[gpu->processes];
            if (sscanf(word, "%u:%llu", &process->pid, &process->used) == 2) gpu->processes++;
        }
        count++;
    }
    fclose(file);
    return count;
}

static Gpu *at(void *device) {
    size_t number = (size_t)device - 1;
    return number < look() ? &gpus[number] : NULL;
}

int nvmlInitWithFlags(unsigned int flags) { (void)flags; look(); return error; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case NOT_FOUND: return "Not Found";
    case GPU_IS_LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = look(); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= look()) return INVALID_ARGUMENT;
    if (gpus[index].lost) return GPU_IS_LOST;
    *device = (void *)(size_t)(index + 1);
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    unsigned int count = look();
    for (unsigned int index = 0; index < count; index++)
        if (!strcmp(gpus[index].uuid, uuid)) { *device = (void *)(size_t)(index + 1); return SUCCESS; }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    Gpu *gpu = at(device);
    if (!gpu) return INVALID_ARGUMENT;
    snprintf(uuid, length, "%s", gpu->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    if (!at(device)) return INVALID_ARGUMENT;
    snprintf(name, length, "stand-in GPU");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
    Gpu *gpu = at(device);
    if (!gpu) return INVALID_ARGUMENT;
    if (gpu->lost) return GPU_IS_LOST;
    memory[0] = gpu->total; memory[1] = gpu->total - gpu->used; memory[2] = gpu->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned int *rates) {
    Gpu *gpu = at(device);
    if (!gpu) return INVALID_ARGUMENT;
    rates[0] = gpu->percent; rates[1] = 0;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, Process *list) {
    Gpu *gpu = at(device);
    if (!gpu) return INVALID_ARGUMENT;
    unsigned int room = *count;
    *count = gpu->processes;
    if (!gpu->processes) return SUCCESS;
    if (!list || room < gpu->processes) return INSUFFICIENT_SIZE;
    memcpy(list, gpu->list, gpu->processes * sizeof *list);
    return SUCCESS;
}
