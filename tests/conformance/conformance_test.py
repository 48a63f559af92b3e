#!/usr/bin/env python3
"""The table, row by row, through one real gateway before one raw service. Each row ends with a request that must work:
on the same connection where that stands, else on another; it must be the very next thing that the service sees, which
proves that nothing else of the row has reached it."""
import pathlib
import re
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "process"))
import answers  # noqa: E402
import connections  # noqa: E402
import framing  # noqa: E402
import lines  # noqa: E402
import targets  # noqa: E402
from kit import Gateway, Service  # noqa: E402,F401
from row import ADDED, CUT, OK, Answer, Request  # noqa: E402

PATIENCE = 20
TABLE = {module.__name__: module.ROWS for module in (framing, lines, targets, connections, answers)}


class Bytes:
    """What comes over a connection, cut by a reader that has nothing in common with the gateway's."""

    def __init__(self, connection):
        self.connection, self.held = connection, b""

    def more(self):
        part = self.connection.recv(65536)
        self.held += part
        return bool(part)

    def until(self, end):
        while end not in self.held:
            if not self.more():
                raise EOFError(self.held)
        found, self.held = self.held.split(end, 1)
        return found

    def exactly(self, size):
        while len(self.held) < size:
            if not self.more():
                raise EOFError(self.held)
        found, self.held = self.held[:size], self.held[size:]
        return found

    def chunks(self):
        """The body and the trailers."""
        body = b""
        while True:
            size = int(self.until(b"\r\n"), 16)
            if size == 0:
                break
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        trailers = []
        while line := self.until(b"\r\n"):
            trailers.append(line.decode("latin-1"))
        return body, trailers


def value_of(head, name):
    for line in head[1:]:
        if line.lower().startswith(name.lower() + ":"):
            return line.split(":", 1)[1].strip()
    return None


class RawService:
    def __init__(self):
        self.seen, self.script = [], []
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        number = 0
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number += 1
            threading.Thread(target=self.serve, args=(connection, number), daemon=True).start()

    def serve(self, connection, number):
        reader = Bytes(connection)
        try:
            while True:
                request = self.read(reader)
                with self.changed:
                    is_sentinel = request.line.startswith("GET /sentinel-")
                    answer = OK if is_sentinel or not self.script else self.script.pop(0)
                    self.seen.append((number, request))
                    self.changed.notify_all()
                for part in answer if isinstance(answer, tuple) else (answer,):
                    if part is CUT:
                        connection.close()
                        return
                    connection.sendall(part)
        except (EOFError, OSError):
            connection.close()

    @staticmethod
    def read(reader):
        head = reader.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert head[0].endswith(" HTTP/1.1"), head[0]
        body, trailers = b"", []
        if value_of(head, "Transfer-Encoding") == "chunked":
            body, trailers = reader.chunks()
        elif length := value_of(head, "Content-Length"):
            body = reader.exactly(int(length))
        fields = [line for line in head[1:] if line.split(":")[0].lower() not in ADDED]
        return Request(head[0].removesuffix(" HTTP/1.1"), fields + trailers, body)

    def wait_for_sentinel(self, line):
        """All that was seen up to it."""
        with self.changed:
            found = self.changed.wait_for(lambda: any(r.line == line for _, r in self.seen), PATIENCE)
            assert found, f"the service never saw {line}"
            seen, self.seen, self.script = self.seen, [], []
            return seen


class RawClient:
    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Bytes(self.connection)

    def send(self, text):
        try:
            self.connection.sendall(text)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused and closed while we were sending; what it says is read next

    def answer(self, method):
        """The head's lines, the body, and whether it was cut."""
        while True:
            head = self.reader.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            if status >= 200:
                break
        if method == "HEAD" or status in (204, 304):
            return head, b"", False
        body = b""
        try:
            if value_of(head, "Transfer-Encoding") == "chunked":
                while size := int(self.reader.until(b"\r\n"), 16):
                    body += self.reader.exactly(size)
                    self.reader.exactly(2)
                while self.reader.until(b"\r\n"):
                    pass
            elif (length := value_of(head, "Content-Length")) is not None:
                body = self.reader.exactly(int(length))
            else:
                while self.reader.more():
                    pass
                body, self.reader.held = self.reader.held, b""
        except (EOFError, ConnectionResetError) as end:
            self.reader.held = b""
            return head, body + (end.args[0] if isinstance(end, EOFError) else b""), True
        return head, body, False

    def is_closed(self):
        try:
            return not self.reader.held and not self.reader.more()
        except ConnectionResetError:
            return True


def methods_of(row):
    """The method of each request that is answered, as far as it matters."""
    return re.findall(rb"(?:^|\n)(HEAD|[^ \r\n]+) [^\n]* HTTP/1\.[01]\r\n", row.send)


def check_answer(expected, head, body, is_cut):
    expected = Answer(expected) if isinstance(expected, int) else expected
    status = int(head[0].split(" ")[1])
    assert status == expected.status, f"answered {head[0]}, not {expected.status}: {body[:200]}"
    assert expected.body is None or body == expected.body, f"the body is {body!r}, not {expected.body!r}"
    for line in expected.has:
        assert any(seen.startswith(line) for seen in head), f"{line!r} is not in {head}"
    for name in expected.lacks:
        assert value_of(head, name) is None, f"{name} is in {head}"
    assert is_cut == expected.is_cut, "it is whole" if expected.is_cut else "it is cut"


def check(row, number, gateway, service):
    with service.changed:
        service.script = list(row.service)
    client = RawClient(gateway.port)
    client.send(row.send)
    methods = [m.decode() for m in methods_of(row)] + [""] * len(row.answers)
    for method, expected in zip(methods, row.answers):
        check_answer(expected, *client.answer(method))
    sentinel = f"GET /sentinel-{number}"
    text = f"{sentinel} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    if row.then == "closed":
        assert client.is_closed(), "the connection stands"
        client = RawClient(gateway.port)
    client.send(text)
    check_answer(200, *client.answer("GET"))
    client.connection.close()
    *seen, (last, _) = service.wait_for_sentinel(sentinel)
    requests = [request for _, request in seen]
    for request in row.forwards or ():
        request.fields = [line.replace("SERVICE", service.address) for line in request.fields]
    if row.forwards is not None:
        assert requests == row.forwards, f"the service saw {requests}, not {row.forwards}"
    if any(not isinstance(a, int) and a.is_cut for a in row.answers) or 502 in row.answers:
        assert last not in [connection for connection, _ in seen], "a broken connection was used again"


def main():
    service = RawService()
    gateway = Gateway(service.address, admission_rate=0, client_body_bytes="1MiB", upstream_eject_after=0,
                      upstream_retry_budget=1, client_linger_timeout="200ms")
    failed, number = 0, 0
    try:
        for part, rows in TABLE.items():
            for row in rows:
                number += 1
                try:
                    check(row, number, gateway, service)
                except (AssertionError, EOFError, OSError, ValueError) as wrong:
                    failed += 1
                    print(f"FAILED  {part}: {row.name} (RFC {row.rfc})\n        {row.send[:200]!r}\n"
                          f"        {type(wrong).__name__}: {wrong}")
                    with service.changed:
                        service.seen, service.script = [], []
        names = [row.name for rows in TABLE.values() for row in rows]
        if len(set(names)) != len(names):
            failed += 1
            print("FAILED  two rows have the same name:", {name for name in names if names.count(name) > 1})
        health = gateway.health()
        if health["active_workers"] or health["queue_size"]:
            failed += 1
            print("FAILED  workers were not given back:", health)
    finally:
        gateway.end()
    print(f"{number} rows, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
