#!/usr/bin/env python3
"""How often a service runs a POST whose kept connection is lost: once at the most, over TCP, TLS and
Unix sockets, whatever the service does to the connection."""
import os
import pathlib
import socket
import ssl
import struct
import tempfile
import threading
import unittest

from authority import Authority
from kit import PAUSE, ProcessTest, serve_each, stop_listening

BODY = "x" * 3000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_request(connection):
    """The bytes of one POST; what came of it when the connection ends before."""
    text = b""
    while not text.endswith(b"x" * len(BODY)):
        part = connection.recv(65536)
        if not part:
            return text
        text += part
    return text


class Server:
    """Answers each request; after one that says X-Next it does that deed to its connection. Counts
    what it has read whole, by X-Number: the executions."""

    def __init__(self, listener, tls=None):
        self.tls = tls
        self.lock = threading.Lock()
        self.runs = {}
        self.deeds_done = 0
        serve_each(listener, self.serve)

    def run(self, request):
        """What it says in X-Next; None when it is not whole."""
        if not request.endswith(b"x" * len(BODY)):
            return None
        fields = dict(line.split(": ", 1) for line in request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:])
        with self.lock:
            number = int(fields["X-Number"])
            self.runs[number] = self.runs.get(number, 0) + 1
        return fields["X-Next"]

    def serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            while (deed := self.run(read_request(connection))) is not None:
                connection.sendall(ANSWER)
                if deed != "answer":
                    self.deeds_done += 1
                    return DEEDS[deed](self, connection)
        except OSError:
            pass
        finally:
            connection.close()


# ---- What a server may do to a kept connection while a request is on its way ----------------------

def read_and_reset(delay_ms):
    def deed(server, connection):
        server.run(read_request(connection))
        PAUSE.wait(delay_ms / 1000)
        reset(connection)
    return deed


def read_and_close(server, connection):
    server.run(read_request(connection))


def read_a_part_and_reset(server, connection):
    connection.recv(10)
    reset(connection)


def close_without_reading(server, connection):
    """Closes when the request has come; never sees it."""
    import select
    select.select([connection], [], [], 20)


def end_and_read_on(server, connection):
    """Ends its direction alone, and runs what comes all the same."""
    raw = socket.socket(fileno=os.dup(connection.fileno()))
    raw.shutdown(socket.SHUT_WR)
    raw.detach()
    server.run(read_request(connection))


DEEDS = {**{f"read, reset after {ms} ms": read_and_reset(ms) for ms in (0, 1, 2, 5, 10, 20, 30, 38, 45, 60)},
         "read, close": read_and_close,
         "read a part, reset": read_a_part_and_reset,
         "close without reading": close_without_reading,
         "end, read on": end_and_read_on}


class Resend(ProcessTest):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.folder = tempfile.TemporaryDirectory(prefix="classgate-resend-")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def server(self, kind):
        if kind == "unix":
            path = pathlib.Path(self.folder.name) / f"{os.getpid()}.sock"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            address = f"unix:{path}"
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            address = f"https://localhost:{port}" if kind == "tls" else f"127.0.0.1:{port}"
        listener.listen(100)
        self.addCleanup(stop_listening, listener)
        tls = None
        if kind == "tls":
            certificate, key = self.authority.issue("localhost", names=["DNS:localhost"])
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate, key)
        return Server(listener, tls), address

    def check(self, kind):
        server, address = self.server(kind)
        gateway = self.gateway(address, upstream_tls_ca_file=self.authority.ca, admission_rate=0,
                               threads=1, upstream_eject_after=0)
        number = 0

        def post(then="answer"):
            nonlocal number
            number += 1
            return gateway.request(body=BODY, headers={"X-Number": str(number), "X-Next": then}).status

        for name in DEEDS:
            for _ in range(5):
                with self.subTest(kind=kind, deed=name):
                    self.assertEqual(post(then=name), 200)
                    self.assertIn(post(), (200, 502))
                    self.assertEqual(max(server.runs.values()), 1, server.runs)
        self.assertEqual(server.deeds_done, 5 * len(DEEDS))

    def test_over_tcp(self):
        self.check("tcp")

    def test_over_tls(self):
        self.check("tls")

    def test_over_a_unix_socket(self):
        self.check("unix")


if __name__ == "__main__":
    unittest.main()
