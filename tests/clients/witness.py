"""What goes by between a client and the gateway, noted: when each request came, and what it was told."""
import dataclasses
import re
import socket
import threading
import time

from kit import serve_each, stop_listening


@dataclasses.dataclass
class Try:
    asked: float                 # time.monotonic() of its first byte
    told: float = None           # of its answer's first byte; None: there was none
    status: int = None
    retry_after: float = None    # seconds, as Retry-After-Ms says: Retry-After is the same, rounded up
    head: str = ""


class Witness:
    """Listens where the client asks and passes everything on to `port`, which may change: new connections go to the
    new one, as behind a balancer. Before the first request goes on `before_first` is called. Bodies have a
    Content-Length, and requests are not pipelined."""

    def __init__(self, port, before_first=lambda: None):
        self.target = port
        self.before_first = before_first
        self.tries = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        serve_each(self.listener, self.pass_on)

    def end(self):
        stop_listening(self.listener)

    def pass_on(self, client):
        try:
            gateway = socket.create_connection(("127.0.0.1", self.target), timeout=60)
        except OSError:
            client.close()
            return
        Passing(self, client, gateway)


class Passing:
    """One connection: a thread for each direction."""

    def __init__(self, witness, client, gateway):
        self.witness, self.client, self.gateway = witness, client, gateway
        self.current = None   # the last try
        self.request = b""    # of its head, until that is whole
        self.body_left = 0    # bytes
        self.answer = b""     # of its answer's head, until that is whole
        for one in (client, gateway):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ways = 2  # that are open
        for way in ((client, gateway, self.on_request), (gateway, client, self.on_answer)):
            threading.Thread(target=self.carry, args=way, daemon=True).start()

    def carry(self, source, target, note):
        try:
            while part := source.recv(65536):
                note(part)
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, target):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        with self.witness.lock:
            self.ways -= 1
            if self.ways == 0:
                self.client.close()
                self.gateway.close()

    def on_request(self, part):
        if self.body_left == 0 and not self.request:
            with self.witness.lock:
                is_first = not self.witness.tries
                self.current = Try(time.monotonic())
                self.witness.tries.append(self.current)
                self.answer = b""
            if is_first:
                self.witness.before_first()
        if self.body_left == 0:
            self.request += part
            if b"\r\n\r\n" not in self.request:
                return
            head, part = self.request.split(b"\r\n\r\n", 1)
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
            self.body_left = int(length.group(1)) if length else 0
            self.request = b""
        self.body_left -= len(part)
        assert self.body_left >= 0, "pipelined"

    def on_answer(self, part):
        with self.witness.lock:
            if self.current is None or self.current.status is not None:
                return  # its body
            self.answer += part
            if b"\r\n\r\n" not in self.answer:
                return
            self.current.head = self.answer.split(b"\r\n\r\n")[0].decode()
            wait = re.search(r"\r\nRetry-After-Ms: (\d+)", self.current.head)
            self.current.status = int(self.current.head.split()[1])
            self.current.retry_after = int(wait.group(1)) / 1000 if wait else None
            self.current.told = time.monotonic()
