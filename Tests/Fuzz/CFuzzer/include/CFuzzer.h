// libFuzzer's loop, which the linker adds with -sanitize=fuzzer.

#include <stddef.h>
#include <stdint.h>

/// Runs libFuzzer with the arguments of the program, calling `callback` with every input.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));
