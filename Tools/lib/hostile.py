#!/usr/bin/env python3
"""Peers no target should meet: each scenario connects to 127.0.0.1:PORT, misbehaves, and says whether it was dropped.

    hostile.py SCENARIO PORT [TARGET]

Ends with 0 when the daemon behaved, else with a sentence and 1. Only the standard library is used.
"""

import random
import resource
import socket
import struct
import sys
import time

BHS = 48  # octets of a basic header segment (RFC 7143, 11.2)
LOGIN, TEXT, NOP_OUT, COMMAND, TASK_MANAGEMENT, DATA_OUT = 0x03, 0x04, 0x00, 0x01, 0x02, 0x05
LOGIN_RESPONSE, SCSI_RESPONSE, DATA_IN, REJECT = 0x23, 0x21, 0x25, 0x3F
IMMEDIATE = 0x40

# The longest a connection that does not log in may stay (the daemon's limit is 15 s), and others may take to be dropped.
LOGIN_SECONDS = 25
DROP_SECONDS = 10


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port), timeout=DROP_SECONDS)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def header(opcode, flags=0x80, length=0, lun=0, tag=1, rest=b"", ahs=0):
    """A basic header segment; `rest` is octets 20 to 47."""
    return struct.pack(">BBHBBHQI", opcode, flags, 0, ahs, length >> 16, length & 0xFFFF, lun, tag) + rest.ljust(28, b"\0")


def text(**keys):
    return b"".join(f"{key}={value}\0".encode() for key, value in keys.items())


def padded(data):
    return data + b"\0" * (-len(data) % 4)


def login(port, target, **keys):
    """A connection in full feature phase, through one login request in the operational stage."""
    peer = connect(port)
    offer = dict(InitiatorName="iqn.2000-01.org.example:hostile", SessionType="Normal", TargetName=target,
                 HeaderDigest="None", DataDigest="None", **keys)
    data = text(**offer)
    # Octets 8 to 15 are ISID and TSIH, 20 CID, 24 CmdSN, 28 ExpStatSN.
    isid = 0x80 << 56 | random.getrandbits(40) << 16
    peer.sendall(header(LOGIN | IMMEDIATE, 0x87, len(data), isid, 1, struct.pack(">HHII", 0, 0, 1, 0)) + padded(data))
    answer = receive_pdu(peer)
    assert answer is not None and answer[0] & 0x3F == LOGIN_RESPONSE, "no login response"
    assert answer[36] == 0, f"login refused with status {answer[36]:02x}{answer[37]:02x}h"
    assert answer[1] & 0x80, "the login did not end in one step"
    return peer


def receive_exactly(peer, count):
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            return None
        data += part
    return data


def receive_pdu(peer):
    """The next PDU (no digests), or None when the connection was closed."""
    try:
        head = receive_exactly(peer, BHS)
        if head is None:
            return None
        length = int.from_bytes(head[5:8], "big")
        body = receive_exactly(peer, head[4] * 4 + length + -length % 4)
        return None if body is None else head + body
    except ConnectionResetError:
        return None


def expect_dropped(peer, seconds, what):
    """Reads and forgets what comes until the daemon closes the connection; fails when it does not in time."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        assert left > 0, f"{what}: still connected after {seconds} s"
        peer.settimeout(left)
        try:
            if not peer.recv(1 << 16):
                return
        except (ConnectionResetError, BrokenPipeError):
            return
        except TimeoutError:
            continue


def send_quietly(peer, data):
    """Sends; that the daemon has closed already is no news."""
    try:
        peer.sendall(data)
    except (ConnectionResetError, BrokenPipeError):
        pass


def end_sending(peer):
    try:
        peer.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # closed already


def expect_answer(peer, what):
    """NOP-Out with a ping; the daemon answers although what came before was wrong."""
    peer.sendall(header(NOP_OUT | IMMEDIATE, 0x80, 4, 0, 0x7777, struct.pack(">II", 0xFFFFFFFF, 1)) + b"ping")
    while True:
        answer = receive_pdu(peer)
        assert answer is not None, f"{what}: the connection was closed"
        if answer[0] & 0x3F == 0x20 and answer[16:20] == struct.pack(">I", 0x7777):
            return


# --- Scenarios ------------------------------------------------------------------------------------------


def garbage(port, target):
    """Random octets of random length, on 200 connections."""
    source = random.Random(1)
    for _ in range(200):
        peer = connect(port)
        send_quietly(peer, source.randbytes(source.randrange(1, 20000)))
        end_sending(peer)
        expect_dropped(peer, DROP_SECONDS, "garbage")


def http(port, target):
    """A web browser at the wrong door."""
    peer = connect(port)
    send_quietly(peer, b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody\r\nAccept: */*\r\n\r\n")
    expect_dropped(peer, LOGIN_SECONDS, "HTTP request")


def half_pdu(port, target):
    """Half a login header, then silence."""
    peer = connect(port)
    peer.sendall(header(LOGIN | IMMEDIATE, 0x87, 100)[:20])
    expect_dropped(peer, LOGIN_SECONDS, "half a header")


def half_data(port, target):
    """A login header that promises data which never come."""
    peer = connect(port)
    peer.sendall(header(LOGIN | IMMEDIATE, 0x87, 4000) + b"InitiatorName=iqn")
    expect_dropped(peer, LOGIN_SECONDS, "half a data segment")


def slow_login(port, target):
    """One octet a second: the time limit counts from the start, not from the last octet."""
    peer = connect(port)
    octets = header(LOGIN | IMMEDIATE, 0x87, 4000)
    end = time.monotonic() + LOGIN_SECONDS
    peer.settimeout(1)
    position = 0
    while time.monotonic() < end:
        try:
            peer.sendall(octets[position:position + 1])
            position = min(position + 1, len(octets) - 1)
            if not peer.recv(1):
                return
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return
    raise AssertionError(f"one octet a second: still connected after {LOGIN_SECONDS} s")


def login_lengths(port, target):
    """Login requests with wrong lengths: too much data, additional headers, text without an end, text without '='."""
    for what, head, body in [
        ("16 MiB of login data", header(LOGIN | IMMEDIATE, 0x87, 0xFFFFFF), b"x" * 100000),
        ("1020 octets of additional headers", header(LOGIN | IMMEDIATE, 0x87, 0, ahs=255), b"\0" * 1020),
        ("text without an end", header(LOGIN | IMMEDIATE, 0x87, 8), b"Initiato"),
        ("text without '='", header(LOGIN | IMMEDIATE, 0x87, 8), b"Initiat\0"),
        ("a command before the login", header(COMMAND, 0xC1, 0), b""),
        ("an unknown opcode before the login", header(0x1F, 0x80, 0), b""),
    ]:
        peer = connect(port)
        send_quietly(peer, head + body)
        expect_dropped(peer, LOGIN_SECONDS, what)


def endless_login(port, target):
    """A login that offers a new key with the C bit again and again: the text must not be collected without limit."""
    peer = connect(port)
    body = padded(b"X-org.example.filler=" + b"a" * 200 + b"\0")
    end = time.monotonic() + LOGIN_SECONDS
    for tag in range(1 << 20):
        if time.monotonic() > end:
            raise AssertionError("an endless login is never dropped")
        try:
            peer.sendall(header(LOGIN | IMMEDIATE, 0x44, len(body), 0x80 << 56, 1, struct.pack(">HHII", 0, 0, 1, tag)) + body)
        except (ConnectionResetError, BrokenPipeError):
            return
        if receive_pdu(peer) is None:
            return


def session_lengths(port, target):
    """In full feature phase: data segments beyond what was negotiated, and headers that contradict themselves."""
    read = b"\x28" + b"\0" * 7 + b"\x01\0" + b"\0" * 6  # READ(10), one block
    write = b"\x2a" + b"\0" * 7 + b"\x01\0" + b"\0" * 6
    for what, pdu in [
        ("16 MiB of immediate data", header(COMMAND, 0xA1, 0xFFFFFF, 0, 2, struct.pack(">III", 512, 1, 1) + write) + b"x" * 65536),
        ("16 MiB of ping data", header(NOP_OUT | IMMEDIATE, 0x80, 0xFFFFFF, 0, 3, struct.pack(">III", 0xFFFFFFFF, 1, 1)) + b"x" * 65536),
        ("additional headers that are too long", header(COMMAND, 0xC1, 0, 0, 4, struct.pack(">III", 512, 1, 1) + read, ahs=255) + b"\xff" * 1020),
        ("data for a transfer nobody asked for", header(DATA_OUT, 0x80, 512, 0, 5, struct.pack(">IIIIII", 0x1234, 0, 1, 0, 0, 0)) + b"x" * 512),
        ("a response sent by an initiator", header(SCSI_RESPONSE, 0x80, 0, 0, 6)),
        ("an unknown opcode", header(0x1C, 0x80, 0, 0, 7)),
        ("a second login", header(LOGIN | IMMEDIATE, 0x87, 4, 0x80 << 56, 8) + b"A=B\0"),
    ]:
        peer = login(port, target)
        send_quietly(peer, pdu)
        # It may answer with a Reject and go on, or close; it must not wait for ever with the connection half broken.
        end_sending(peer)
        expect_dropped(peer, DROP_SECONDS, what)


def rejects(port, target):
    """What can be refused by itself is refused, and the session goes on."""
    peer = login(port, target)
    # Outside of the command window: dropped without a word (RFC 7143, 4.2.2.1).
    inquiry = b"\x12\0\0\0\x24\0" + b"\0" * 10
    peer.sendall(header(COMMAND, 0xC1, 0, 0, 20, struct.pack(">III", 36, 0x7FFFFFFF, 1) + inquiry))
    expect_answer(peer, "a command beyond the window")
    peer.sendall(header(TASK_MANAGEMENT | IMMEDIATE, 0x80 | 0x7F, 0, 0, 21, struct.pack(">III", 0xFFFFFFFF, 1, 1)))
    expect_answer(peer, "an unknown task management function")
    peer.close()


def random_session(port, target):
    """Well framed PDUs with random headers, in full feature phase, on 100 connections."""
    source = random.Random(2)
    for _ in range(100):
        peer = login(port, target)
        for _ in range(20):
            head = bytearray(source.randbytes(BHS))
            head[4] = 0
            length = source.choice([0, 0, 4, 512, 8192])
            head[5:8] = length.to_bytes(3, "big")
            send_quietly(peer, bytes(head) + source.randbytes(length))
        end_sending(peer)
        expect_dropped(peer, DROP_SECONDS, "random PDUs")


def deaf_readers(port, target):
    """16 peers ask for 1 GiB each in reads of 1 MiB and take no answers: what they make the daemon hold is bounded."""
    blocks = 2048
    read = b"\x28\0" + b"\0" * 4 + b"\0" + struct.pack(">H", blocks) + b"\0" + b"\0" * 6
    peers = []
    for _ in range(16):
        peer = login(port, target)
        peers.append(peer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(0.3)
        commands = b"".join(
            header(COMMAND, 0xC1, 0, 0, number, struct.pack(">III", blocks * 512, number, 1) + read)
            for number in range(1, 1025))
        try:
            peer.sendall(commands)
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
    print("waiting", flush=True)
    sys.stdin.read()  # the script looks at the daemon meanwhile
    for peer in peers:
        peer.close()


def hold(port, target):
    """Not hostile at all: logs in and stays."""
    peer = login(port, target)
    print("waiting", flush=True)
    while receive_pdu(peer) is not None:
        pass


def crowd(port, target):
    """1000 connections that never log in: all dropped after the limit. Says "waiting" when all of them are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    peers = []
    for _ in range(1000):
        try:
            peers.append(connect(port))
        except (ConnectionResetError, ConnectionRefusedError, TimeoutError):
            pass  # turned away at the door is dropped, too
    print("waiting", flush=True)
    end = time.monotonic() + LOGIN_SECONDS
    for peer in peers:
        expect_dropped(peer, max(end - time.monotonic(), 0.1), "a silent connection")


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1].startswith(("_", "-")):
        sys.exit(__doc__)
    try:
        globals()[sys.argv[1]](int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
    except (AssertionError, OSError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
