#!/usr/bin/env python3
"""Services that are other programs, or hard to reach."""
import pathlib
import socket
import tempfile
import threading
import unittest

from kit import ProcessTest, raw_request, read_answer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class UnixSockets(ProcessTest):
    def test_a_burst_waits_for_a_full_backlog(self):
        """connect() to a Unix socket whose backlog is full says EAGAIN; the only server was marked unreachable, and what
        came next refused with 503."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = str(pathlib.Path(folder.name, "model.sock"))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen(1)
        gateway = self.gateway(f"unix:{path}", admission_workers=40, admission_queue_size=100, admission_rate=0)
        # The gateway's own look at the server takes a place.
        gateway.wait_for_health(lambda h: list(h["upstream"].values()) == ["reachable"], "a reachable server")
        listener.accept()[0].close()
        crowd = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(40)]
        for connection in crowd:
            self.addCleanup(connection.close)
            connection.sendall(raw_request())
        gateway.wait_for_health(lambda h: h["active_workers"] == 40, "40 requests on their way")
        # Nobody has been accepted, and only two can be in the backlog.
        self.assertEqual(list(gateway.health()["upstream"].values()), ["reachable"])

        def serve(connection):
            with connection:
                held = b""
                while part := connection.recv(65536):
                    held += part
                    while b"\r\n\r\n" in held:
                        head, _, rest = held.partition(b"\r\n\r\n")
                        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                        if len(rest) < length:
                            break
                        held = rest[length:]
                        connection.sendall(OK)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self.assertEqual([read_answer(connection).status for connection in crowd], [200] * 40)


if __name__ == "__main__":
    unittest.main()
