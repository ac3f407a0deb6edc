#!/usr/bin/env python3
"""What an initiator learns of the paths to a logical unit: prints the outcome of each step.

    paths.py PORT TARGET LUN STEP...

STEP is `ready`, `good` or the additional sense code of TEST UNIT READY; `report`, the access states by target port
group as in `1=0,2=2`; or `set=STATE,GROUP`, which asks for another one. Only the standard library is used.
"""

import struct
import sys

import hostile

DATA_IN = 0x25


class Session:
    """A session, past its unit attentions."""

    def __init__(self, port, target, lun):
        self.peer = hostile.login(port, target)
        self.address = lun << 48
        self.number = 1
        for _ in range(4):
            self.execute(bytes(6))

    def execute(self, block, data=b"", expected=0):
        """Status, Data-In and sense data of a command; its Data-Out is immediate data."""
        flags = 0xA1 if data else 0xC1 if expected else 0x81
        rest = struct.pack(">III", len(data) or expected, self.number, 1) + block.ljust(16, b"\0")
        head = hostile.header(hostile.COMMAND, flags, len(data), self.address, self.number, rest)
        self.peer.sendall(head + hostile.padded(data))
        self.number += 1
        received = b""
        while True:
            pdu = hostile.receive_pdu(self.peer)
            assert pdu is not None, "the session ended"
            segment = pdu[hostile.BHS:hostile.BHS + int.from_bytes(pdu[5:8], "big")]
            if pdu[0] & 0x3F == DATA_IN:
                received += segment
                if pdu[1] & 1:
                    return pdu[3], received, b""
            elif pdu[0] & 0x3F == hostile.SCSI_RESPONSE:
                return pdu[3], received, segment[2:]

    def outcome(self, answer):
        status, _, sense = answer
        return "good" if status == 0 else f"{sense[12]:02x}/{sense[13]:02x}" if status == 2 else f"{status:02x}h"

    def step(self, text):
        name, _, arguments = text.partition("=")
        if name == "ready":
            return self.outcome(self.execute(bytes(6)))
        if name == "set":
            state, group = (int(word) for word in arguments.split(","))
            data = struct.pack(">4xBxH", state, group)
            return self.outcome(self.execute(struct.pack(">BB4xI2x", 0xA4, 0x0A, len(data)), data))
        status, data, _ = self.execute(struct.pack(">BB4xI2x", 0xA3, 0x0A, 1024), expected=1024)
        assert status == 0 and int.from_bytes(data[:4], "big") == len(data) - 4, "no report"
        groups, offset = [], 4
        while offset < len(data):
            group = int.from_bytes(data[offset + 2:offset + 4], "big")
            groups.append(f"{group}={data[offset] & 0x0F}{'p' if data[offset] & 0x80 else ''}")
            offset += 8 + 4 * data[offset + 7]
        return ",".join(groups)


def main():
    port, target, lun = sys.argv[1:4]
    session = Session(int(port), target, int(lun))
    print(" ".join(session.step(step) for step in sys.argv[4:]))


if __name__ == "__main__":
    main()
