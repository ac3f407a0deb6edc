#!/usr/bin/env python3
"""How the daemon's costs grow with disks, logical units and sessions: prints tables, and fails when something grows
more than it may.

    scale.py SOCKET PORT PID [--disks N] [--sessions N] [--cartridges N]

SOCKET is the control socket, PORT the portal on 127.0.0.1, PID the daemon. Only the standard library is used.
"""

import argparse
import http.client
import json
import os
import resource
import socket
import struct
import sys
import threading
import time

import hostile

PREFIX = "iqn.2026-11.dev.carousel:"
DISK_BYTES = 1 << 20
BULK = 500  # logical units that one request maps

# What may grow, and how far: the cost of one at the largest number, as a multiple of that at a small one. A lookup is
# constant; 3 is for noise and processor caches.
CONSTANT = 3.0
# Memory that each may cost, in bytes.
SESSION_BYTES = 192 << 10
LUN_BYTES = 32 << 10
CARTRIDGE_BYTES = 8 << 10
# How many cartridges a library gets: as many slots as its profile has, less some for those that come one by one.
LIBRARY_CARTRIDGES = 6800
# How long the state of the daemon may take while thousands of things are made, in seconds.
STATUS_WAIT = 0.05


class Control:
    """Requests over the control socket."""

    def __init__(self, path):
        self.path = path
        self.connection = None

    def request(self, method, path, body=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("localhost", timeout=600)
            self.connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.connection.sock.connect(self.path)
        data = None if body is None else json.dumps(body)
        # What takes long is answered when it is done.
        self.connection.request(method, "/v1/" + path, data, {"Content-Type": "application/json", "Prefer": "wait"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.will_close:
            self.connection.close()
            self.connection = None
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {text.decode()[:200]}")
        return json.loads(text) if text else None

    def create_disk(self, name):
        self.request("POST", "disks", {"name": name, "spec": {"size": DISK_BYTES, "blockSize": 512}})

    def list(self, kind):
        """All things of a kind, page by page."""
        items, query = [], ""
        while True:
            answer = self.request("GET", kind + query)
            items += answer["items"]
            if "next" not in answer:
                return items
            query = "?after=" + answer["next"]


class Daemon:
    """What the process holds."""

    def __init__(self, pid):
        self.pid = pid

    def memory(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def log_in(port, name, **keys):
    # Room for the longest answer: on the loopback interface a small window waits for delayed acknowledgements, 40 ms
    # each.
    return hostile.login(port, PREFIX + name, receive_buffer=1 << 20, MaxRecvDataSegmentLength="262144", **keys)


class Commands:
    """Commands of one session, one at a time."""

    def __init__(self, peer):
        self.peer = peer
        self.number = 1

    def execute(self, block, lun=0, expecting=0):
        """The status and the data of a command."""
        address = (lun if lun < 256 else 0x4000 | lun) << 48
        flags = 0xC1 if expecting else 0x81
        rest = struct.pack(">III", expecting, self.number, 1) + block.ljust(16, b"\0")
        self.peer.sendall(hostile.header(hostile.COMMAND, flags, 0, address, self.number, rest))
        self.number += 1
        data = bytearray()
        while True:
            pdu = hostile.receive_pdu(self.peer)
            assert pdu is not None, "the session ended"
            opcode = pdu[0] & 0x3F
            length = int.from_bytes(pdu[5:8], "big")
            if opcode == hostile.DATA_IN:
                data += pdu[48:48 + length]
                if pdu[1] & 1:
                    return pdu[3], data
            elif opcode == hostile.SCSI_RESPONSE:
                return pdu[3], data

    def report_luns(self):
        status, data = self.execute(b"\xa0" + b"\0" * 5 + struct.pack(">I", 1 << 20) + b"\0\0", 0, 1 << 20)
        assert status == 0 and len(data) == 8 + int.from_bytes(data[:4], "big"), "REPORT LUNS failed"
        return (len(data) - 8) // 8

    def test_unit_ready(self, lun):
        return self.execute(b"\0" * 6, lun)[0]


def typical(times):
    """The lower quartile: other work on the machine only makes things slower."""
    return sorted(times)[len(times) // 4]


def typical_time(body, repeats=15):
    """The typical duration of `body` in microseconds, and its last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = body()
        times.append(time.perf_counter() - start)
    return typical(times) * 1e6, result


def log_out(peer):
    peer.sendall(hostile.header(0x06 | hostile.IMMEDIATE, 0x80, 0, 0, 0x10000, struct.pack(">II", 0, 1)))
    while hostile.receive_pdu(peer) is not None:
        pass
    peer.close()


def login_time(port, name):
    """The typical time of a login."""
    times = []
    for _ in range(15):
        start = time.perf_counter()
        peer = log_in(port, name)
        times.append(time.perf_counter() - start)
        log_out(peer)
    return typical(times) * 1e6


def discovery_time(port):
    """The time of SendTargets=All, and how many targets it names."""
    peer = hostile.connect(port)
    data = hostile.text(InitiatorName="iqn.2000-01.org.example:scale", SessionType="Discovery", HeaderDigest="None",
                        DataDigest="None", MaxRecvDataSegmentLength="262144")
    peer.sendall(hostile.header(hostile.LOGIN | hostile.IMMEDIATE, 0x87, len(data), 0x80 << 56, 1,
                                struct.pack(">HHII", 0, 0, 1, 0)) + hostile.padded(data))
    assert hostile.receive_pdu(peer)[36] == 0, "no discovery session"
    start = time.perf_counter()
    found = b""
    data = hostile.text(SendTargets="All")
    transfer_tag, number, lun = 0xFFFFFFFF, 1, 0
    while True:
        rest = struct.pack(">III", transfer_tag, number, 1)
        head = hostile.header(hostile.TEXT | hostile.IMMEDIATE, 0x80, len(data), lun, 1, rest)
        peer.sendall(head + hostile.padded(data))
        answer = hostile.receive_pdu(peer)
        assert answer is not None and answer[0] & 0x3F == 0x24, "SendTargets failed"
        found += answer[48:48 + int.from_bytes(answer[5:8], "big")]
        if answer[1] & 0x80:
            break
        lun = int.from_bytes(answer[8:16], "big")
        transfer_tag = int.from_bytes(answer[20:24], "big")
        data = b""
    duration = time.perf_counter() - start
    log_out(peer)
    return duration * 1e3, found.count(b"TargetName=")


def steps(limit):
    """10, 100, 1,000 … up to `limit`, which is always the last."""
    numbers = [number for number in (10, 100, 1000, 10000) if number < limit]
    return numbers + [limit]


def table(title, heads, rows):
    print(f"\n{title}")
    widths = [max(len(str(row[column])) for row in [heads] + rows) for column in range(len(heads))]
    for row in [heads] + rows:
        print("  " + "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths)))
    sys.stdout.flush()


def figure(value, digits=0):
    return f"{value:,.{digits}f}"


failures = []


def expect(holds, what):
    if not holds:
        failures.append(what)


def warm_up(control, port):
    """What the first of everything costs is not what each costs."""
    control.create_disk("first")
    for path in ("disks/first", "disks", "sessions", "targets", "targets/first"):
        control.request("GET", path)
    login_time(port, "first")
    discovery_time(port)


def measure_disks(control, daemon, port, count):
    """Disks that are a target each."""
    rows, costs = [], []
    start_memory, start_descriptors, made = daemon.memory(), daemon.descriptors(), 0
    for goal in steps(count):
        memory, first, started = daemon.memory(), made, time.perf_counter()
        while made < goal:
            control.create_disk(f"d{made}")
            made += 1
        each = (time.perf_counter() - started) / (goal - first)
        one = typical_time(lambda: control.request("GET", f"disks/d{made - 1}"))[0]
        listing = typical_time(lambda: control.list("disks"), 3)[0]
        discovery, named = discovery_time(port)
        expect(named >= goal, f"SendTargets named {named} of {goal} targets")
        login = login_time(port, f"d{made - 1}")
        costs.append((each, one, login))
        rows.append([figure(goal), figure(each * 1e3, 2), figure((daemon.memory() - memory) / (goal - first) / 1024, 1),
                     figure((daemon.descriptors() - start_descriptors) / goal, 2), figure(one),
                     figure(listing / 1e3, 1), figure(discovery, 1), figure(login)])
    table("Disks, each with a target of its own",
          ["disks", "create ms each", "KiB each", "files each", "show µs", "list ms", "SendTargets ms", "login µs"],
          rows)
    for index, what in enumerate(["the creation of a disk", "showing a disk", "a login"]):
        expect(costs[-1][index] <= CONSTANT * costs[min(1, len(costs) - 1)][index],
               f"{what} costs more the more disks there are")
    each = (daemon.memory() - start_memory) / count
    expect(each <= LUN_BYTES, f"a disk costs {each / 1024:.1f} KiB")


def measure_map(control, daemon, port, count):
    """One target with many logical units."""
    control.request("POST", "targets", {"name": "many"})
    rows, costs, mapped = [], [], 0
    for goal in steps(count):
        memory, first, started = daemon.memory(), mapped, time.perf_counter()
        while mapped < goal:
            part = range(mapped, min(goal, mapped + BULK))
            control.request("POST", "targets/many/actions/map",
                            {"units": {str(number): f"d{number}" for number in part}})
            mapped = part.stop
        each = (time.perf_counter() - started) / (goal - first)
        growth = (daemon.memory() - memory) / (goal - first)
        login = login_time(port, "many")
        session = Commands(log_in(port, "many"))
        report, found = typical_time(session.report_luns)
        expect(found == goal, f"REPORT LUNS listed {found} of {goal}")
        touch = typical_time(lambda: session.test_unit_ready(goal - 1), 1)[0]
        command = typical_time(lambda: session.test_unit_ready(goal - 1), 101)[0]
        log_out(session.peer)
        costs.append((login, command, report / goal))
        rows.append([figure(goal), figure(each * 1e3, 3), figure(growth), figure(login), figure(report),
                     figure(report / goal, 2), figure(touch), figure(command)])
    table("One target with many logical units",
          ["units", "map ms each", "bytes each", "login µs", "REPORT LUNS µs", "µs/unit", "first command µs",
           "command µs"], rows)
    small = min(1, len(costs) - 1)
    expect(costs[-1][0] <= CONSTANT * costs[small][0], "a login costs more the more logical units there are")
    expect(costs[-1][1] <= CONSTANT * costs[small][1], "a command costs more the more logical units there are")
    expect(costs[-1][2] <= CONSTANT * costs[small][2], "REPORT LUNS grows faster than what it reports")


def measure_sessions(control, daemon, port, name, units, count):
    """Sessions with one target."""
    rows, costs, peers = [], [], []
    start_memory = daemon.memory()
    numbers = [1] + steps(count) if count > 1 else [1]
    for goal in numbers:
        memory, first, times = daemon.memory(), len(peers), []
        while len(peers) < goal:
            started = time.perf_counter()
            peers.append(Commands(log_in(port, name)))
            times.append(time.perf_counter() - started)
        growth = (daemon.memory() - memory) / (goal - first)
        login = typical(times) * 1e6
        report, found = typical_time(peers[-1].report_luns)
        expect(found == units, f"REPORT LUNS listed {found} of {units}")
        command = typical_time(lambda: peers[-1].test_unit_ready(0), 101)[0]
        listing = typical_time(lambda: control.list("sessions"), 3)[0]
        show = typical_time(lambda: control.request("GET", "disks/d0"))[0]
        costs.append((login, report, command))
        rows.append([figure(goal), figure(login), figure(growth / 1024, 1), figure(report), figure(command),
                     figure(listing / 1e3, 1), figure(show)])
    table(f"Sessions with a target of {units:,} logical units",
          ["sessions", "login µs", "KiB each", "REPORT LUNS µs", "command µs", "list ms", "show disk µs"], rows)
    small = min(1, len(costs) - 1)
    for index, what in enumerate(["a login", "REPORT LUNS", "a command"]):
        expect(costs[-1][index] <= CONSTANT * costs[small][index], f"{what} costs more the more sessions there are")
    each = (daemon.memory() - start_memory) / count
    expect(each <= SESSION_BYTES, f"a session costs {each / 1024:.1f} KiB")

    # Logical units that a session has used cost it something, the others nothing.
    used = min(units, 100)
    memory, started = daemon.memory(), time.perf_counter()
    for peer in peers:
        for lun in range(used):
            peer.test_unit_ready(lun)
    touched = len(peers) * used
    print(f"\n{touched:,} I_T_L nexuses ({len(peers):,} sessions that use {used:,} units each): "
          f"{(daemon.memory() - memory) / touched:,.0f} bytes each, "
          f"{(time.perf_counter() - started) / touched * 1e6:,.0f} µs each")
    started = time.perf_counter()
    for peer in peers:
        log_out(peer.peer)
    print(f"logouts: {(time.perf_counter() - started) / len(peers) * 1e6:,.0f} µs each")


class StatusWatch(threading.Thread):
    """Asks for the state of the daemon ten times a second, over a connection of its own, until `end`."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.control = Control(path)
        self.times = []
        self.ending = threading.Event()
        self.start()

    def run(self):
        while not self.ending.wait(0.1):
            start = time.perf_counter()
            self.control.request("GET", "status")
            self.times.append(time.perf_counter() - start)

    def end(self):
        self.ending.set()
        self.join()
        return sorted(self.times)


def part(times, share):
    """The time that `share` of the sorted `times` do not exceed, in milliseconds."""
    return times[min(len(times) - 1, int(len(times) * share))] * 1e3 if times else 0.0


def measure_cartridges(control, daemon, count):
    """Libraries full of cartridges."""
    rows, costs, made, libraries, watched = [], [], 0, 0, []
    start_memory = daemon.memory()
    whole, few = divmod(count, LIBRARY_CARTRIDGES)
    sizes = [LIBRARY_CARTRIDGES] * whole + ([few] if few else [])
    goals = {1, 3, len(sizes)}
    memory, first, spent = daemon.memory(), 0, 0.0
    for number, size in enumerate(sizes, 1):
        watch, started = StatusWatch(control.path), time.perf_counter()
        control.request("POST", "libraries", {"name": f"l{number}", "spec": {
            "profile": "ibm-03584l32", "driveProfile": "ibm-ult3580-td8", "drives": 2, "slots": size + 10,
            "mailSlots": 4, "cartridges": size, "firstBarcode": f"{chr(64 + number)}00001L8",
            "cartridgeSize": 1 << 30}})
        spent += time.perf_counter() - started
        watched = sorted(watched + watch.end())
        made, libraries = made + size, number
        if number not in goals:
            continue
        each = spent / (made - first)
        growth = (daemon.memory() - memory) / (made - first)
        name = control.request("GET", f"cartridges?of=l{number}&limit=1")["items"][0]["name"]
        one = typical_time(lambda: control.request("GET", f"cartridges/{name.replace('/', '%2F')}"))[0]
        status = typical_time(lambda: control.request("GET", "status"))[0]
        listing, listed = typical_time(lambda: control.list("cartridges"), 1)
        expect(len(listed) == made, f"the list has {len(listed)} of {made} cartridges")

        def change():
            control.request("POST", "cartridges", {"name": f"l{number}/ZZZ001L8", "spec": {"size": 1 << 30}})
            control.request("DELETE", f"cartridges/l{number}%2FZZZ001L8")

        one_change = typical_time(change, 5)[0]
        costs.append((each, one, status, one_change, listing / made))
        rows.append([figure(made), figure(libraries), figure(each * 1e3, 2), figure(growth), figure(one),
                     figure(listing / 1e3), figure(listing / made, 1), figure(one_change / 1e3, 1), figure(status),
                     figure(part(watched, 0.5), 1), figure(part(watched, 0.99), 1), figure(part(watched, 1), 1)])
        expect(part(watched, 0.99) <= STATUS_WAIT * 1e3, "the state of the daemon waits while cartridges are made")
        memory, first, spent, watched = daemon.memory(), made, 0.0, []
    table("Libraries full of cartridges; the last three columns are the state of the daemon while they are made",
          ["cartridges", "libraries", "create ms each", "bytes each", "show µs", "list ms", "µs each",
           "make+delete ms", "status µs", "p50 ms", "p99 ms", "max ms"], rows)
    for index, what in enumerate(["the creation of a cartridge", "showing a cartridge", "the state of the daemon",
                                  "one change", "the list"]):
        expect(costs[-1][index] <= CONSTANT * costs[0][index], f"{what} costs more the more cartridges there are")
    each = (daemon.memory() - start_memory) / count
    expect(each <= CARTRIDGE_BYTES, f"a cartridge costs {each / 1024:.1f} KiB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("--disks", type=int, default=10000)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--cartridges", type=int, default=100000)
    settings = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control, daemon = Control(settings.socket), Daemon(settings.pid)
    print(f"The daemon with nothing: {daemon.memory() / 1024:,.0f} KiB, {daemon.descriptors()} files")
    warm_up(control, settings.port)
    measure_disks(control, daemon, settings.port, settings.disks)
    measure_map(control, daemon, settings.port, settings.disks)
    measure_sessions(control, daemon, settings.port, "d0", 1, settings.sessions)
    measure_sessions(control, daemon, settings.port, "many", settings.disks, settings.sessions)
    if settings.cartridges:
        measure_cartridges(control, daemon, settings.cartridges)
    print(f"\nAt the end: {daemon.memory() / 1024:,.0f} KiB, {daemon.descriptors()} files")
    for failure in failures:
        print(f"too much: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, OSError) as error:
        sys.exit(f"scale: {error}")
