#include "CFuzzer.h"

/// libFuzzer's own `main` asks for it. That `main` is not what runs: the program has another.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return 0;
}
