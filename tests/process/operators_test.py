#!/usr/bin/env python3
"""ops.listen against those who can reach it and mean it ill: probes and monitoring are answered all the same."""
import contextlib
import http.client
import re
import signal
import socket
import subprocess
import unittest

from kit import CLASSGATE, ProcessTest, clean_environment, raw_request, scrape, wait_until


class Operators(ProcessTest):
    def setUp(self):
        self.upstream = self.service()

    def open(self, **settings):
        gateway = self.gateway(self.upstream.address, **settings)
        gateway.wait_for_health(lambda h: h["status"] == "ok", "an upstream")
        return gateway

    def connect(self, gateway, sender="127.0.0.1", first=b""):
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.bind((sender, 0))
        connection.connect(("127.0.0.1", gateway.ops_port))
        # The other side may have given this one up already.
        with contextlib.suppress(ConnectionError):
            connection.sendall(first)
        return connection

    def assert_answers(self, gateway):
        """To somebody who was not there before, one after the other."""
        for path, said in (("/livez", b"every event loop turns\n"), ("/readyz", b"ready\n")):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20,
                                                    source_address=("127.9.9.9", 0))
            connection.request("GET", path)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, said))
            connection.close()

    def counted(self, gateway):
        text = scrape(gateway)[1]
        number = lambda name: int(float(re.search(rf"(?m)^{re.escape(name)} (\S+)$", text).group(1)))
        return (number('classgate_ops_connections_ended_total{limit="ops.connections_per_address"}'),
                number('classgate_ops_connections_ended_total{limit="ops.max_connections"}'),
                number("classgate_ops_connections"))

    def test_a_target_may_be_in_absolute_form_and_a_probe_of_http_1_0(self):
        """RFC 9112 section 3.2.2: a server must accept it."""
        gateway = self.open()
        for first, status in ((b"GET http://x/livez HTTP/1.1\r\nHost: x\r\n", 200),
                              (b"GET http://x/queue/health?waiters=1 HTTP/1.1\r\nHost: x\r\n", 200),
                              (b"GET http://x/nothing HTTP/1.1\r\nHost: x\r\n", 404),
                              (b"GET livez HTTP/1.1\r\nHost: x\r\n", 400),
                              (b"GET /livez HTTP/1.0\r\n", 200)):
            connection = self.connect(gateway, first=first + b"Connection: close\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
            self.assertEqual(answer.split(b" ")[1], str(status).encode(), first)

    def test_silent_connections_of_one_address(self):
        for count in (64, 1000):
            with self.subTest(count):
                gateway = self.open(ops_timeout="1h")
                for _ in range(count):
                    self.connect(gateway)
                self.assert_answers(gateway)
                by_address, by_all, still_open = self.counted(gateway)
                self.assertGreaterEqual(by_address, count - 16)
                self.assertEqual(by_all, 0)
                self.assertLessEqual(still_open, 18)
                gateway.wait_for_text(r"operators' connections: \d+ silent ones gave way", gateway.err)
                self.assertLess(gateway.err().count("gave way"), 10)

    def test_silent_connections_of_many_addresses(self):
        for count in (64, 1000):
            with self.subTest(count):
                gateway = self.open(ops_timeout="1h")
                for i in range(count):
                    self.connect(gateway, f"127.1.{i // 200}.{i % 200 + 1}")
                self.assert_answers(gateway)
                by_address, by_all, still_open = self.counted(gateway)
                self.assertEqual(by_address, 0)
                self.assertGreaterEqual(by_all, count - 64)
                self.assertLessEqual(still_open, 64)

    def test_half_heads_slow_readers_and_floods(self):
        metrics = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
        for first in (b"GET /livez HT", metrics, metrics * 500, b"x" * 70_000,
                      b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\nx"):
            with self.subTest(first[:40]):
                gateway = self.open(ops_timeout="1h")
                for i in range(200):
                    connection = self.connect(gateway, f"127.1.0.{i + 1}")
                    connection.setblocking(False)
                    with contextlib.suppress(OSError):
                        connection.send(first)
                self.assert_answers(gateway)
                memory = re.search(r"(?m)^process_resident_memory_bytes (\S+)$", scrape(gateway)[1]).group(1)
                self.assertLess(float(memory), 96 << 20)
                self.assertEqual(gateway.request().status, 200)

    def test_probes_of_every_make_are_answered(self):
        """HEAD, HTTP/1.0 without a Host, a query: load balancers ask in many ways."""
        gateway = self.open()
        for path, said in (("/livez", b"every event loop turns\n"), ("/readyz?verbose=1", b"ready\n")):
            for request, body in ((f"GET {path} HTTP/1.0\r\n\r\n", said), (f"HEAD {path} HTTP/1.0\r\n\r\n", b""),
                                  (f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"")):
                connection = self.connect(gateway, first=request.encode())
                answer = b"".join(iter(lambda one=connection: one.recv(65536), b""))
                self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
                self.assertEqual(answer.split(b"\r\n\r\n", 1)[1], body, request)

    def test_probes_are_answered_while_every_worker_and_place_is_taken(self):
        self.upstream = self.service("--service-time", "60s")
        gateway = self.open(admission_workers=1, admission_queue_size=1, admission_rate=0)
        crowd = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(2)]
        for connection in crowd:
            self.addCleanup(connection.close)
            connection.sendall(raw_request())
        gateway.wait_for_health(lambda h: (h["active_workers"], h["queue_size"]) == (1, 1), "both in")
        self.assertEqual(gateway.request().status, 503)
        self.assert_answers(gateway)

    def test_readyz_knows_that_no_server_can_be_reached_and_livez_does_not_mind(self):
        gateway = self.gateway("127.0.0.1:1", upstream_probe_interval="100ms")
        gateway.wait_for_health(lambda h: h["status"] == "down", "that nobody is there")
        statuses = []
        for path in ("/readyz", "/livez"):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
            self.addCleanup(connection.close)
            connection.request("GET", path)
            statuses.append(connection.getresponse().status)
        self.assertEqual(statuses, [503, 200])

    def test_the_gateway_alone_is_ready_while_the_model_is_down_and_until_it_drains(self):
        """Where a load balancer takes away what is not ready, clients hear 503 with a reason, not a refused connection."""
        gateway = self.gateway("127.0.0.1:1", upstream_probe_interval="100ms", drain_grace="1m")
        gateway.wait_for_health(lambda h: h["status"] == "down", "that nobody is there")

        def ask(path):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
            self.addCleanup(connection.close)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        self.assertEqual(ask("/readyz?for=gateway"), (200, b"ready\n"))
        live = subprocess.run([CLASSGATE, "--conf", gateway.conf.name, "status", "--live", "--socket", gateway.control],
                              capture_output=True, text=True, timeout=60, env=clean_environment())
        self.assertEqual((live.returncode, live.stdout), (0, "every event loop turns\n"))
        self.assertEqual((ask("/readyz")[0], ask("/readyz?for=model")[0], ask("/readyz?for=%")[0]), (503, 400, 400))
        # A client that has asked nothing yet: without one it would have drained before we can ask.
        client = gateway.connect()
        self.addCleanup(client.close)
        client.connect()
        wait_until(lambda: "\nclassgate_connections 1\n" in scrape(gateway)[1], "the client")
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: ask("/readyz?for=gateway") == (503, b"draining\n"), "the drain")

    def test_one_address_that_has_most_gives_way_before_the_others(self):
        """A monitor keeps its connection, and asks again when somebody else has opened a thousand."""
        gateway = self.open(ops_timeout="1h", ops_max_connections="16", ops_connections_per_address="16")
        monitor = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20,
                                             source_address=("127.9.9.9", 0))
        self.addCleanup(monitor.close)
        monitor.request("GET", "/livez")
        monitor.getresponse().read()
        for _ in range(1000):
            self.connect(gateway)
        self.assert_answers(gateway)
        sock = monitor.sock
        monitor.request("GET", "/readyz")
        self.assertEqual(monitor.getresponse().status, 200)
        self.assertIs(monitor.sock, sock)

    def test_each_is_ended_at_its_deadline(self):
        gateway = self.open(ops_timeout="300ms")
        silent = [self.connect(gateway, "127.3.0.1", first) for first in
                  (b"", b"GET /livez HT", b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")]
        for connection in silent:
            wait_until(lambda one=connection: self.has_ended(one), "its end")
        self.assert_answers(gateway)

    @staticmethod
    def has_ended(connection):
        try:
            return connection.recv(65536) == b""
        except ConnectionError:
            return True


if __name__ == "__main__":
    unittest.main(verbosity=2)
