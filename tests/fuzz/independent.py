"""Parsers of HTTP/1 that have nothing in common with the gateway's: h11 (python3-h11), and node's server."""
import base64
import contextlib
import hashlib
import json
import pathlib
import socket
import subprocess
import threading

import h11

PATIENCE = 20
LIMIT = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def digest(body):
    return f"{len(body)}:{hashlib.sha256(body).hexdigest()[:16]}"


class Found:
    """One request that h11 has read to its end."""

    def __init__(self, request, body):
        fields = {name: value.decode("latin-1") for name, value in request.headers}
        self.fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        self.id = fields.get(b"x-request-id", "")
        self.client = fields.get(b"x-forwarded-for", "")
        self.method = request.method.decode()
        self.target = request.target.decode("latin-1")
        self.digest = digest(body)
        options = b",".join(value.lower() for name, value in request.headers if name == b"connection")
        self.keeps_http_1_0 = request.http_version == b"1.0" and b"keep-alive" in options and b"close" not in options

    def listed(self):
        return [self.id, self.method, self.target, self.digest]

    def is_like(self, other):
        return (self.method, self.digest) == (other.method, other.digest)


def read_requests(stream, is_clients=False):
    """Each whole request of h11's reading; and what it objects to, if it does. A client may do two things that h11 does
    not know: empty lines before a request line mean nothing (RFC 9112 section 2.2), and a connection of HTTP/1.0 can be
    kept (RFC 9112 section 9.3)."""
    found, reader = [], new_reader()
    try:
        while True:
            while is_clients and stream.startswith(b"\r\n"):
                stream = stream[2:]
            reader.receive_data(stream)
            reader.receive_data(b"")
            request, body = reader.next_event(), b""
            if not isinstance(request, h11.Request):
                return found, None
            while isinstance(event := reader.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                return found, None
            found.append(Found(request, body))
            if not answer(reader) and not (is_clients and found[-1].keeps_http_1_0):
                return found, None
            stream, reader = reader.trailing_data[0], new_reader()
    except h11.RemoteProtocolError as wrong:
        # An end in the middle is the sender's right.
        is_cut = "without sending complete message" in str(wrong) or "closed connection" in str(wrong)
        return found, None if is_cut else str(wrong)


def new_reader():
    return h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)


def answer(reader):
    """False when no request follows."""
    reader.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))  # which switches no protocol
    reader.send(h11.EndOfMessage())
    return reader.our_state is h11.DONE and reader.their_state is h11.DONE


def read_answer(stream, method, is_last):
    """(status, body) of h11's reading of one answer; the status is None when it is none, the body when it is not whole.
    And what lies behind it."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(stream)
    if is_last:
        reader.receive_data(b"")
    status, body = None, b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body, reader.trailing_data[0]
            elif not isinstance(event, h11.InformationalResponse):
                return status, None, b""
    except h11.RemoteProtocolError:
        return status, None, b""


class Service:
    """Answers what h11 takes for a request; keeps every connection's bytes."""

    def __init__(self, script=None):
        self.script, self.streams = script or (lambda target: OK), []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = bytearray()
                self.streams.append(stream)
                threading.Thread(target=self.serve, args=(connection, stream), daemon=True).start()

    def serve(self, connection, stream):
        reader = new_reader()
        target = b""
        # What h11 objects to is found again, and reported, when the stream is read.
        with connection, contextlib.suppress(h11.ProtocolError, OSError):
            while True:
                event = reader.next_event()
                if event is h11.NEED_DATA:
                    part = connection.recv(65536)
                    stream += part
                    reader.receive_data(part)
                elif isinstance(event, h11.Request):
                    target = event.target
                elif isinstance(event, h11.EndOfMessage):
                    text = self.script(target)
                    connection.sendall(text)
                    if text is not OK or not answer(reader):
                        return
                    reader.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    return

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Node:
    """Reads streams; ended by its pid."""

    def __init__(self):
        self.process = subprocess.Popen(["node", "--max-http-header-size=1048576",
                                         pathlib.Path(__file__).with_name("node_reader.js")],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.methods = json.loads(self.process.stdout.readline())

    def read(self, stream):
        """What Found.listed() says of each request; and what node objects to."""
        text = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            writer = threading.Thread(target=self.send, args=(connection, stream))
            writer.start()  # beside the reading: neither side may have to wait for the other
            while part := connection.recv(65536):
                text += part
            writer.join()
        lines = text.split(b"\r\n")
        found = [json.loads(base64.b64decode(line[7:])) for line in lines if line.startswith(b"Found: ")]
        wrong = [line.decode() for line in lines if line.startswith(b"WRONG ")]
        return found, wrong[0] if wrong else None

    @staticmethod
    def send(connection, stream):
        with contextlib.suppress(OSError):
            connection.sendall(stream)
            connection.shutdown(socket.SHUT_WR)

    def end(self):
        self.process.kill()
        self.process.wait()
