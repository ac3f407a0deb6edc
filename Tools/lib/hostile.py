#!/usr/bin/env python3
"""Peers no target should meet: each scenario connects to 127.0.0.1:PORT, misbehaves, and says whether it was dropped.

    hostile.py SCENARIO PORT [TARGET]

Ends with 0 when the daemon behaved, else with a sentence and 1. Only the standard library is used.
"""

import random
import resource
import select
import socket
import struct
import sys
import time

BHS = 48  # octets of a basic header segment (RFC 7143, 11.2)
LOGIN, TEXT, NOP_OUT, COMMAND, TASK_MANAGEMENT, DATA_OUT = 0x03, 0x04, 0x00, 0x01, 0x02, 0x05
LOGIN_RESPONSE, SCSI_RESPONSE, DATA_IN, REJECT = 0x23, 0x21, 0x25, 0x3F
IMMEDIATE = 0x40

# The longest a connection that does not log in may stay (the daemon's limit is 15 s), and others may take to be
# dropped.
LOGIN_SECONDS = 25
DROP_SECONDS = 10


def connect(port, source="127.0.0.1", receive_buffer=None):
    peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(DROP_SECONDS)
    peer.bind((source, 0))
    try:
        peer.connect(("127.0.0.1", port))
    except OSError:
        peer.close()
        raise
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def header(opcode, flags=0x80, length=0, lun=0, tag=1, rest=b"", ahs=0):
    """A basic header segment; `rest` is octets 20 to 47."""
    first = struct.pack(">BBHBBHQI", opcode, flags, 0, ahs, length >> 16, length & 0xFFFF, lun, tag)
    return first + rest.ljust(28, b"\0")


def text(**keys):
    return b"".join(f"{key}={value}\0".encode() for key, value in keys.items())


def padded(data):
    return data + b"\0" * (-len(data) % 4)


class Refused(AssertionError):
    """The login was refused with `status`, class and detail."""

    def __init__(self, status):
        super().__init__(f"login refused with status {status:04x}h")
        self.status = status


def login(port, target, **keys):
    """A connection in full feature phase, through one login request in the operational stage."""
    return login_answer(port, target, **keys)[0]


def login_answer(port, target, receive_buffer=None, **keys):
    """The connection in full feature phase, and the keys that the target answered with."""
    peer = connect(port, receive_buffer=receive_buffer)
    offer = dict(InitiatorName="iqn.2000-01.org.example:hostile", SessionType="Normal", TargetName=target,
                 HeaderDigest="None", DataDigest="None") | keys
    data = text(**offer)
    # Octets 8 to 15 are ISID and TSIH, 20 CID, 24 CmdSN, 28 ExpStatSN.
    isid = 0x80 << 56 | random.getrandbits(40) << 16
    peer.sendall(header(LOGIN | IMMEDIATE, 0x87, len(data), isid, 1, struct.pack(">HHII", 0, 0, 1, 0)) + padded(data))
    answer = receive_pdu(peer)
    assert answer is not None and answer[0] & 0x3F == LOGIN_RESPONSE, "no login response"
    if answer[36] != 0:
        peer.close()
        raise Refused(answer[36] << 8 | answer[37])
    assert answer[1] & 0x80, "the login did not end in one step"
    values = answer[BHS:BHS + int.from_bytes(answer[5:8], "big")].split(b"\0")
    return peer, dict(value.decode().split("=", 1) for value in values if value)


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
            rest = struct.pack(">HHII", 0, 0, 1, tag)
            peer.sendall(header(LOGIN | IMMEDIATE, 0x44, len(body), 0x80 << 56, 1, rest) + body)
        except (ConnectionResetError, BrokenPipeError):
            return
        if receive_pdu(peer) is None:
            return


def session_lengths(port, target):
    """In full feature phase: data segments beyond what was negotiated, and headers that contradict themselves."""
    read = b"\x28" + b"\0" * 7 + b"\x01\0" + b"\0" * 6  # READ(10), one block
    write = b"\x2a" + b"\0" * 7 + b"\x01\0" + b"\0" * 6
    for what, pdu in [
        ("16 MiB of immediate data",
         header(COMMAND, 0xA1, 0xFFFFFF, 0, 2, struct.pack(">III", 512, 1, 1) + write) + b"x" * 65536),
        ("16 MiB of ping data",
         header(NOP_OUT | IMMEDIATE, 0x80, 0xFFFFFF, 0, 3, struct.pack(">III", 0xFFFFFFFF, 1, 1)) + b"x" * 65536),
        ("additional headers that are too long",
         header(COMMAND, 0xC1, 0, 0, 4, struct.pack(">III", 512, 1, 1) + read, ahs=255) + b"\xff" * 1020),
        ("data for an unknown transfer",
         header(DATA_OUT, 0x80, 512, 0, 5, struct.pack(">IIIIII", 0x1234, 0, 1, 0, 0, 0)) + b"x" * 512),
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
    wait_for_script()  # it looks at the daemon meanwhile
    close_all(peers)


def hold(port, target):
    """Not hostile at all: logs in and stays."""
    peer = login(port, target)
    print("waiting", flush=True)
    while receive_pdu(peer) is not None:
        pass


def is_over():
    """Whether the script has closed the input."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def wait_for_script():
    print("waiting", flush=True)
    sys.stdin.read()


def raise_file_limit(wanted):
    """How many connections this process may have, at most `wanted`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 64), hard))
    return min(hard - 64, wanted)


def close_all(peers):
    for peer in peers:
        peer.close()


def exchange(peers, data, reads=True):
    """Sends `data` again and again on all connections at once, and drops what comes, until the script is done."""
    rest = {peer: memoryview(data) for peer in peers}
    for peer in peers:
        peer.setblocking(False)
    print("waiting", flush=True)
    while not is_over():
        readable, writable, _ = select.select(list(rest) if reads else [], list(rest), [], 0.2)
        for peer in readable:
            try:
                if not peer.recv(1 << 20):
                    del rest[peer]
            except BlockingIOError:
                pass
            except ConnectionResetError:
                del rest[peer]
        for peer in writable:
            if peer not in rest:
                continue
            try:
                rest[peer] = rest[peer][peer.send(rest[peer]):] or memoryview(data)
            except BlockingIOError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                del rest[peer]
    return len(rest)


def horde(port, target):
    """10,000 connections from 40 addresses that never log in."""
    peers = []
    for number in range(raise_file_limit(10000)):
        try:
            peers.append(connect(port, f"127.0.0.{2 + number % 40}"))
        except (ConnectionResetError, ConnectionRefusedError, TimeoutError):
            pass  # turned away at the door is dropped, too
    wait_for_script()
    end = time.monotonic() + LOGIN_SECONDS
    for peer in peers:
        expect_dropped(peer, max(end - time.monotonic(), 0.1), "a silent connection")


def drip(port, target):
    """250 connections that log in at one octet a minute, and 50 sessions that send one octet of a PDU and no more."""
    peers = [connect(port) for _ in range(250)]
    sessions = [login(port, target) for _ in range(50)]
    for peer in peers + sessions:
        peer.sendall(b"\x43")
    print("waiting", flush=True)
    end = time.monotonic() + LOGIN_SECONDS
    for peer in peers:
        expect_dropped(peer, max(end - time.monotonic(), 0.1), "a login of one octet a minute")
    for peer in sessions:
        peer.settimeout(0.01)
        try:
            assert peer.recv(1, socket.MSG_PEEK), "a session was dropped for being slow"
        except TimeoutError:
            pass
    sys.stdin.read()
    close_all(sessions)


PINGS = b"".join(
    header(NOP_OUT | IMMEDIATE, 0x80, 4096, 0, number, struct.pack(">III", 0xFFFFFFFF, 1, 1)) + b"p" * 4096
    for number in range(1, 257))


def ping_flood(port, target):
    """8 sessions that send pings of 4 KiB as fast as they can, and read the answers."""
    peers = [login(port, target, MaxRecvDataSegmentLength="65536") for _ in range(8)]
    assert exchange(peers, PINGS) == len(peers), "a session that reads its answers was dropped"
    close_all(peers)


def deaf_ping_flood(port, target):
    """8 sessions that send pings as fast as they can, and read nothing."""
    peers = [login(port, target, MaxRecvDataSegmentLength="65536") for _ in range(8)]
    for peer in peers:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    exchange(peers, PINGS, reads=False)
    close_all(peers)


def unacknowledged(port, target):
    """65,536 commands whose answers are read and never acknowledged by ExpStatSN, at each error recovery level."""
    inquiry = b"\x12\0\0\0\x24\0" + b"\0" * 10
    ends = []
    peers = []
    for level in ("0", "1", "2"):
        peer, keys = login_answer(port, target, ErrorRecoveryLevel=level)
        peers.append(peer)
        sent, answered, limit = 0, 0, 64
        try:
            while answered < 65536:
                while sent < 65536 and sent < limit:
                    sent += 1
                    peer.sendall(header(COMMAND, 0xC1, 0, 0, sent, struct.pack(">III", 36, sent, 0) + inquiry))
                answer = receive_pdu(peer)
                if answer is None:
                    break
                opcode = answer[0] & 0x3F
                if opcode == SCSI_RESPONSE or opcode == DATA_IN and answer[1] & 1:
                    answered += 1
                    limit = min(sent + 64, int.from_bytes(answer[32:36], "big"))
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            pass  # the window stays closed until answers are acknowledged
        ends.append(f"level {keys.get('ErrorRecoveryLevel', '0')}: {answered}")
    print("waiting", "answered at", ", ".join(ends), flush=True)
    sys.stdin.read()
    close_all(peers)


def held_back(port, target):
    """8 sessions that each send 65,536 commands after a gap in CmdSN that they never close."""
    inquiry = b"\x12\0\0\0\x24\0" + b"\0" * 10
    data = b"".join(
        header(COMMAND, 0xC1, 0, 0, number, struct.pack(">III", 36, number, 1) + inquiry) for number in range(2, 65537))
    peers = [login(port, target) for _ in range(8)]
    for peer in peers:
        send_quietly(peer, data)
    for peer in peers:
        expect_answer(peer, "commands after a gap")
    wait_for_script()
    close_all(peers)


def absurd_numbers(port, target):
    """Offers of numbers that no one can mean: each is refused with its status, or agreed on within its range."""
    ranges = {"MaxBurstLength": (512, 16777215), "FirstBurstLength": (512, 16777215),
              "MaxRecvDataSegmentLength": (512, 16777215),
              "MaxConnections": (1, 65535), "MaxOutstandingR2T": (1, 65535), "DefaultTime2Wait": (0, 3600),
              "DefaultTime2Retain": (0, 3600), "ErrorRecoveryLevel": (0, 2)}
    outcomes = []
    for key, (least, most) in ranges.items():
        for value in ("0", "1", str(most), str(most + 1), "4294967296", "99999999999999999999999", "-1", "0x",
                      "0xFFFFFFFFFFFF", "", "1e9", "9" * 200):
            try:
                peer, keys = login_answer(port, target, **{key: value})
            except Refused as refusal:
                assert refusal.status >> 8 == 2, f"{key}={value}: {refusal}"
                outcomes.append("refused")
                continue
            answer = keys.get(key, "")
            is_refused = answer in ("", "Reject", "Irrelevant", "NotUnderstood")
            assert is_refused or least <= int(answer, 0) <= most, f"{key}={value}: {answer}"
            expect_answer(peer, f"{key}={value}")
            peer.close()
            outcomes.append("answered")
    print("waiting", f"{outcomes.count('answered')} offers answered, {outcomes.count('refused')} refused", flush=True)
    sys.stdin.read()


def hoarders(port, target):
    """8 sessions with the largest bursts that announce 128 writes of 16 MiB each and send none of the data."""
    peers = []
    for _ in range(8):
        peer = login(port, target, MaxBurstLength="16777215", FirstBurstLength="16777215", MaxOutstandingR2T="65535",
                     MaxRecvDataSegmentLength="16777215", InitialR2T="Yes", ImmediateData="No")
        peers.append(peer)
        blocks = 32768
        write = b"\x2a\0" + b"\0" * 4 + b"\0" + struct.pack(">H", blocks) + b"\0" * 7
        peer.sendall(b"".join(
            header(COMMAND, 0xA1, 0, 0, number, struct.pack(">III", blocks * 512, number, 1) + write)
            for number in range(1, 129)))
    for peer in peers:
        expect_answer(peer, "writes without data")
    wait_for_script()
    close_all(peers)


def session_storm(port, target):
    """Sessions with a new ISID each, until the target has no more room: it says so with Out of resources."""
    wanted = raise_file_limit(6000)
    peers, refusals = [], []
    for _ in range(wanted):
        try:
            peers.append(login(port, target))
        except Refused as refusal:
            assert refusal.status == 0x0302, f"session {len(peers) + 1}: {refusal}"
            refusals.append(refusal)
            if len(refusals) >= 100:
                break
    assert refusals or len(peers) == wanted, "nothing was refused"
    print("waiting", f"{len(peers)} sessions, then Out of resources", flush=True)
    sys.stdin.read()
    close_all(peers)


def management_flood(port, target):
    """8 sessions that ask for every task management function, for units and tasks that exist or do not."""
    requests = b"".join(
        header(TASK_MANAGEMENT | IMMEDIATE, 0x80 | function, 0, lun, function, struct.pack(">IIII", 7, 1, 1, 1))
        for function in list(range(1, 15)) + [0, 127] for lun in (0, 5 << 48, 0xC101 << 48))
    # The functions that end connections are left out of the flood: cold resets (7) are tried once.
    flood = b"".join(requests[start:start + BHS] for start in range(0, len(requests), BHS)
                     if requests[start + 1] & 0x7F != 7)
    peers = [login(port, target) for _ in range(8)]
    assert exchange(peers, flood * 32) == len(peers), "a session that reads its answers was dropped"
    close_all(peers)


def held_functions(port, target):
    """24 sessions that send an ABORT TASK SET that has to wait for the command behind it, again and again."""
    pairs = []
    for number in range(1, 12001):
        # Octets 20 to 31: the referenced task, CmdSN (of the command after the next), ExpStatSN.
        rest = struct.pack(">III", 0xFFFFFFFF, number + 1, 1)
        pairs.append(header(TASK_MANAGEMENT | IMMEDIATE, 0x82, 0, 0, 0x100000 + number, rest))
        pairs.append(header(COMMAND, 0x81, 0, 0, number, struct.pack(">III", 0, number, 1) + b"\0" * 16))
    peers = [login(port, target) for _ in range(24)]
    assert exchange(peers, b"".join(pairs)) == len(peers), "a session that reads its answers was dropped"
    close_all(peers)


def responses(peers, count, seconds, what):
    """Reads until `count` commands have ended on each of `peers`, whatever their status."""
    left = {peer: count for peer in peers}
    rest = {peer: b"" for peer in peers}
    for peer in peers:
        peer.setblocking(False)
    end = time.monotonic() + seconds
    while left:
        assert time.monotonic() < end, f"{what}: {sum(left.values())} commands have not ended after {seconds} s"
        readable, _, _ = select.select(list(left), [], [], 0.5)
        for peer in readable:
            data = peer.recv(1 << 20)
            assert data, f"{what}: the connection was closed"
            data = rest[peer] + data
            start = 0
            while len(data) - start >= BHS:
                length = int.from_bytes(data[start + 5:start + 8], "big")
                if len(data) - start < BHS + length + -length % 4:
                    break
                opcode = data[start] & 0x3F
                if opcode == SCSI_RESPONSE or opcode == DATA_IN and data[start + 1] & 1:
                    left[peer] -= 1
                start += BHS + length + -length % 4
            rest[peer] = data[start:]
            if left[peer] <= 0:
                del left[peer]


TEST_UNIT_READY = b"\0" * 16
DRIVE = 1 << 48  # logical unit 1: the first drive of a library


def command(number, cdb, lun=0, expected=0, flags=0x81, data=b""):
    """A command with CmdSN and tag `number`."""
    rest = struct.pack(">III", expected, number, 1) + cdb.ljust(16, b"\0")
    return header(COMMAND, flags, len(data), lun, number, rest) + padded(data)


def withhold_write(port, target):
    """A session whose WRITE(6) of 64 KiB to the first drive waits for data that do not come."""
    peer = login(port, target, ImmediateData="No", InitialR2T="Yes")
    peer.sendall(b"".join(command(number, TEST_UNIT_READY, DRIVE) for number in range(1, 9)))
    responses([peer], 8, DROP_SECONDS, "unit attentions")
    peer.sendall(command(9, b"\x0a\0\x01\0\0\0", DRIVE, 65536, 0xA1))
    return peer


def queued_drive(port, target):
    """One session withholds the data of a write to a drive; 340 others queue 128 commands each behind it; it leaves."""
    raise_file_limit(400)
    first = withhold_write(port, target)
    peers = [login(port, target) for _ in range(340)]
    for peer in peers:
        peer.sendall(b"".join(command(number, TEST_UNIT_READY, DRIVE) for number in range(1, 129)))
    time.sleep(1)
    first.close()
    responses(peers, 128, 60, "commands behind a write without data")
    close_all(peers)


def withheld_data(port, target):
    """16 sessions withhold the data of a write to a drive; the drive goes on for everyone else."""
    hoarders = [withhold_write(port, target) for _ in range(16)]
    other = login(port, target)
    commands = [TEST_UNIT_READY] * 8 + [
        b"\x12\0\0\0\x24\0", b"\x03\0\0\0\x12\0", b"\x34" + b"\0" * 9, b"\x1a\0\x3f\0\xff\0",
        b"\x4d\0\x40" + b"\0" * 4 + b"\xff\0\0",
    ]
    number = 0
    for meanwhile in (True, False):
        for cdb in commands:
            number += 1
            other.setblocking(True)
            other.sendall(command(number, cdb, DRIVE, 255, 0xC1))
            responses([other], 1, 5, f"command {cdb[0]:02x}h beside writes without data")
        if meanwhile:
            print("waiting", f"{len(commands)} commands of another session have ended", flush=True)
            sys.stdin.read()
    close_all(hoarders + [other])


def parked_writes(port, target):
    """300 sessions queue 128 writes each while others compare and write without end: every one of them ends."""
    raise_file_limit(400)
    block = b"\x07" * 512
    write = b"\x2a\0" + b"\0" * 4 + b"\0\0\x01\0"
    compare = b"\x89\0" + b"\0" * 8 + b"\0\0\0\x01\0\0"
    peers = [login(port, target) for _ in range(304)]
    for peer in peers[:4]:
        send_quietly(peer, b"".join(command(number, compare, 0, 1024, 0xA1, block * 2) for number in range(1, 129)))
    for peer in peers[4:]:
        send_quietly(peer, b"".join(command(number, write, 0, 512, 0xA1, block) for number in range(1, 129)))
    responses(peers, 128, 90, "writes beside COMPARE AND WRITE")
    close_all(peers)


def login_pair(port, target, **keys):
    """A session of two connections."""
    peers = []
    isid, handle = 0x80 << 56 | random.getrandbits(40) << 16, 0
    for connection in (0, 1):
        peer = connect(port)
        offer = dict(InitiatorName="iqn.2000-01.org.example:hostile", SessionType="Normal", TargetName=target,
                     HeaderDigest="None", DataDigest="None", MaxConnections="2", **keys)
        if connection:
            del offer["MaxConnections"]
        data = text(**offer)
        numbers = struct.pack(">HHII", connection, 0, 1, 0)
        peer.sendall(header(LOGIN | IMMEDIATE, 0x87, len(data), isid | handle, 1, numbers) + padded(data))
        answer = receive_pdu(peer)
        assert answer is not None and answer[36] == 0 and answer[1] & 0x80, "no login of a second connection"
        handle = int.from_bytes(answer[14:16], "big")
        peers.append(peer)
    return peers


def fenced_functions(port, target):
    """8 sessions of two connections that ask for ABORT TASK SET without end, and acknowledge no response."""
    pairs = [login_pair(port, target, TaskReporting="ResponseFence") for _ in range(8)]
    for _, second in pairs:
        # Octets 28 to 31 are ExpStatSN: what the command is answered with is never acknowledged.
        second.sendall(command(1, TEST_UNIT_READY))
    abort = b"".join(
        header(TASK_MANAGEMENT | IMMEDIATE, 0x82, 0, 0, 0x1000 + number, struct.pack(">III", 0xFFFFFFFF, 2, 1))
        for number in range(1024))
    assert exchange([first for first, _ in pairs], abort) == len(pairs), "a session that reads its answers was dropped"
    close_all([peer for pair in pairs for peer in pair])


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1].startswith(("_", "-")):
        sys.exit(__doc__)
    try:
        globals()[sys.argv[1]](int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
    except (AssertionError, OSError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
