#!/usr/bin/env python3
"""service.py FILE PORT PATH PROGRAM...: runs a program as systemd runs a service of Type=notify with two sockets.

It listens on PORT of 127.0.0.1 and at PATH, passes these sockets to the program as `portal` and `control`, asks for a
sign every 4 s, and appends each line that the program tells it to FILE. SIGTERM and SIGHUP go on to the program; its
exit status is that of this.
"""

import fcntl
import os
import signal
import socket
import sys
import threading

told, port, path, *command = sys.argv[1:]
name = f"\0carousel-service-{os.getpid()}"
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(name)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(port)))
listener.listen(64)
control = socket.socket(socket.AF_UNIX)
control.bind(path)
control.listen(64)
open(told, "w").close()

child = os.fork()
if child == 0:
    descriptors = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 10) for one in (listener, control)]
    for index, descriptor in enumerate(descriptors):
        os.dup2(descriptor, 3 + index)
    environment = dict(
        os.environ,
        NOTIFY_SOCKET="@" + name[1:],
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDS="2",
        LISTEN_FDNAMES="portal:control",
        WATCHDOG_USEC="4000000",
        WATCHDOG_PID=str(os.getpid()),
    )
    os.execve(command[0], command, environment)


def listen():
    while True:
        lines = notify.recv(65536)
        with open(told, "ab") as file:
            file.write(lines)


threading.Thread(target=listen, daemon=True).start()
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(child, number))
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
