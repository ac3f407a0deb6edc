// isa-l: CRC32C (`crc32_iscsi`) with the best instructions of the processor.
#include <isa-l/crc.h>
