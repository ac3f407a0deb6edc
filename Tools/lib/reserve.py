#!/usr/bin/env python3
"""What an initiator does with persistent reservations: prints the outcome of each step, `good`, `conflict` or a status.

    reserve.py PORT TARGET LUN INITIATOR STEP...

STEP is `register=KEY` (with APTPL), `reserve=KEY,TYPE`, `preempt=KEY,VICTIMS,TYPE` or `write`, which writes the first
block of a disk of 512 bytes a block. INITIATOR is the end of the initiator's name; the same one has the same ISID. Only
the standard library is used.
"""

import random
import struct
import sys

import hostile

OUTCOMES = {0x00: "good", 0x18: "conflict"}


class Session:
    """A session of one initiator port, past its unit attentions."""

    def __init__(self, port, target, lun, initiator):
        # The ISID is what comes out of it.
        random.seed(initiator)
        self.peer = hostile.login(port, target, InitiatorName=f"iqn.2000-01.org.example:{initiator}")
        self.address = lun << 48
        self.number = 1
        for _ in range(4):
            self.execute(bytes(6))

    def execute(self, block, data=b""):
        """The status of a command with Data-Out, all of it immediate data."""
        flags = 0xA1 if data else 0x81
        rest = struct.pack(">III", len(data), self.number, 1) + block.ljust(16, b"\0")
        head = hostile.header(hostile.COMMAND, flags, len(data), self.address, self.number, rest)
        self.peer.sendall(head + hostile.padded(data))
        self.number += 1
        while True:
            pdu = hostile.receive_pdu(self.peer)
            assert pdu is not None, "the session ended"
            if pdu[0] & 0x3F == hostile.SCSI_RESPONSE:
                return pdu[3]

    def change(self, action, scope_and_type, key, new_key, flags=0):
        data = struct.pack(">QQ4xB3x", key, new_key, flags)
        return self.execute(struct.pack(">BBB2xIx", 0x5F, action, scope_and_type, len(data)), data)

    def step(self, text):
        name, _, arguments = text.partition("=")
        numbers = [int(word, 0) for word in arguments.split(",") if word]
        if name == "register":
            return self.change(6, 0, 0, numbers[0], flags=1)
        if name == "reserve":
            return self.change(1, numbers[1], numbers[0], 0)
        if name == "preempt":
            return self.change(5, numbers[2], numbers[0], numbers[1])
        return self.execute(struct.pack(">BxIxHx", 0x2A, 0, 1), b"r" * 512)


def main():
    port, target, lun, initiator = sys.argv[1:5]
    session = Session(int(port), target, int(lun), initiator)
    outcomes = [session.step(step) for step in sys.argv[5:]]
    print(" ".join(OUTCOMES.get(status, f"{status:02x}h") for status in outcomes))


if __name__ == "__main__":
    main()
