// isa-l: CRC32C (`crc32_iscsi`) and the CRC16 of T10 (`crc16_t10dif`) with the best instructions of the processor.
#include <isa-l/crc.h>
