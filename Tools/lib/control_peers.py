"""Peers that mean harm to the port on which the API is offered: control_peers.py KIND PORT.

  silent    many connections that say nothing
  garbage   connections that send random bytes
  half      TLS that is established, and a request that comes byte by byte
  flood     connections that come and go, as many as can be
  requests  TLS that is established, and requests without a token, one after another

Says "begun" when it is under way, and goes on until it is ended. Standard library only.
"""

import os
import socket
import ssl
import sys
import threading
import time

kind, port = sys.argv[1], int(sys.argv[2])
CONNECTIONS = 400
THREADS = 8


def connect():
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def encrypted():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connect())


def begun():
    print("begun", flush=True)


def silent():
    # The daemon closes those beyond its limits: they come again.
    connections = [connect() for _ in range(CONNECTIONS)]
    begun()
    while True:
        time.sleep(1)
        connections = connections[50:] + [connect() for _ in range(50)]


def repeatedly(deed):
    def loop():
        while True:
            try:
                deed()
            except OSError:
                time.sleep(0.01)

    for _ in range(THREADS):
        threading.Thread(target=loop, daemon=True).start()
    time.sleep(1)
    begun()
    while True:
        time.sleep(1)


def garbage():
    with connect() as connection:
        connection.sendall(os.urandom(4096))
        connection.recv(1)


def half():
    with encrypted() as connection:
        for byte in b"POST /v1/disks HTTP/1.1\r\ncontent-length: 60000\r\n\r\n" + b"x" * 60000:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def flood():
    connect().close()


def requests():
    with encrypted() as connection:
        while True:
            connection.sendall(b"GET /v1/disks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n\r\n")
            if not connection.recv(4096):
                return


if kind == "silent":
    silent()
else:
    repeatedly({"garbage": garbage, "half": half, "flood": flood, "requests": requests}[kind])
