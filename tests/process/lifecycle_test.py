#!/usr/bin/env python3
"""Start, drain and end of the real program."""
import http.client
import http.server
import json
import os
import re
import signal
import socket
import tempfile
import threading
import unittest

from kit import (CLASSGATE, Gateway, ProcessTest, Program, ask, free_port, is_refused, raw_request, read_answer,
                 scrape, wait_until)


class User(threading.Thread):
    """Sends one request after the other and notes what became of each, until it is turned away."""

    def __init__(self, gateway):
        super().__init__()
        self.gateway = gateway
        self.answers = []

    def run(self):
        connection = None
        while True:
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self.gateway.port), timeout=60)
            except OSError:
                return  # nobody accepts any more: nothing was lost
            try:
                connection.sendall(raw_request())
            except OSError:
                return  # closed between two requests
            # Closed without an answer: fine only when the request was never taken. The gateway's
            # own books say whether it was; they are compared with the answers below.
            try:
                answer = read_answer(connection)
            except OSError:
                return
            if answer is None:
                return
            self.answers.append(answer.status)
            if answer.closes:
                connection.close()
                connection = None


class Start(ProcessTest):
    def test_one_line_says_where_it_listens_what_it_forwards_to_and_which_limits_hold(self):
        service = self.service()
        gateway = self.gateway(service.address, threads=2)
        line, = (line for line in gateway.err().splitlines() if "listening on" in line)
        for part in (f"listening on {gateway.address}", f"forwarding to {service.address}", "50 workers",
                     "queue 1000", "100 requests/s, burst 200", "request timeout 30000 ms", "2 threads"):
            self.assertIn(part, line)

    def test_it_starts_when_the_upstream_is_not_there_and_serves_when_it_comes(self):
        port = free_port()
        gateway = self.gateway(f"127.0.0.1:{port}", upstream_probe_interval="100ms")
        gateway.wait_for_health(lambda h: h["status"] == "down", "an upstream known to be down")
        answer = gateway.request()
        self.assertEqual((answer.status, answer.reason), (503, "upstream_down"))
        self.assertEqual(answer.retry_after, "1")
        self.assertEqual(gateway.request("GET", "/queue/health").status, 503)
        self.service(port=port)
        gateway.wait_for_health(lambda h: h["upstream"][f"127.0.0.1:{port}"] == "reachable",
                                "a reachable upstream")
        self.assertEqual(gateway.request().status, 200)
        self.assert_balanced(gateway.health())

    def test_nobody_waits_for_the_first_check(self):
        """Whom nobody has checked yet counts as down: the first requests are refused, though all is well."""
        asked, checked = threading.Event(), threading.Event()

        class Slow(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/check":
                    asked.set()
                    checked.wait(20)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self.addCleanup(server.shutdown)
            self.addCleanup(checked.set)
            gateway = self.gateway(f"127.0.0.1:{server.server_port}", conf='[upstream.check]\npath = "/check"\ntimeout = "20s"\ninterval = "30s"\n')
            self.assertTrue(asked.wait(20))
            self.assertEqual({gateway.request("GET", "/x").status for _ in range(5)}, {200})

    def test_a_port_in_use_is_one_clear_line_and_exit_1(self):
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        program = self.start(Program([CLASSGATE, "--conf", "/dev/null"], {"CLASSGATE_LISTEN": address}))
        self.assertEqual(program.wait(), 1)
        self.assertEqual(len(program.err().splitlines()), 1)
        self.assertIn(address, program.err())
        self.assertIn("Address already in use", program.err())


    def test_the_service_manager_hears_when_it_is_ready_and_when_it_stops(self):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(folder + "/notify")
            manager.settimeout(20)
            service = self.service()
            gateway = self.start(Gateway(service.address, environment={
                "NOTIFY_SOCKET": folder + "/notify"}))
            state, status = manager.recv(4096).decode().split("\n")
            self.assertEqual(state, "READY=1")
            self.assertIn(f"STATUS=listening on {gateway.address}", status)
            names = []
            for _ in range(3):  # clients', operators', control: kept over a crash
                text, fds, *_ = socket.recv_fds(manager, 4096, 1)
                for fd in fds:
                    os.close(fd)
                self.assertEqual(len(fds), 1)
                names.append(re.fullmatch(r"FDSTORE=1\nFDNAME=(classgate-\S+)", text.decode()).group(1))
            self.assertIn(f"classgate-clients.{gateway.address.replace(':', '%3A')}", names)
            gateway.signal(signal.SIGTERM)
            self.assertEqual(sorted(manager.recv(4096).decode() for _ in names),
                             sorted(f"FDSTOREREMOVE=1\nFDNAME={name}" for name in names))
            self.assertEqual(manager.recv(4096).decode(),
                             "STOPPING=1\nSTATUS=draining: 0 in flight, 0 waiting")
            self.assertEqual(gateway.wait(), 0)


class Drain(ProcessTest):
    def check_drain_under_load(self, number):
        service = self.service("--service-time", "20ms", "--concurrency", "8")
        gateway = self.gateway(service.address, admission_rate=0, admission_workers=8)
        users = [User(gateway) for _ in range(40)]
        for user in users:
            user.start()
        # In the middle of it: some are in flight, some wait.
        gateway.wait_for_health(lambda h: h["processed_requests"] > 200 and h["queue_size"] > 0,
                                "a load")
        gateway.signal(number)
        self.assertEqual(gateway.wait(), 0)
        for user in users:
            user.join()
        answers = [status for user in users for status in user.answers]
        done = answers.count(200)
        self.assertEqual(set(answers) - {200, 503}, set())
        said = re.search(r"drained: (\d+) requests in all, (\d+) processed", gateway.err())
        self.assertIsNotNone(said, gateway.err())
        # Every request that was taken was answered, and every answer arrived.
        self.assertEqual(int(said.group(2)), done)
        self.assertEqual(int(said.group(1)), len(answers))
        stats = service.stats()
        self.assertEqual((stats["finished"], stats["finished_for_nobody"]), (done, 0))

    def test_sigterm_under_load_loses_no_accepted_request(self):
        self.check_drain_under_load(signal.SIGTERM)

    def test_sigquit_drains_as_well(self):
        self.check_drain_under_load(signal.SIGQUIT)

    def test_sigint_drains_as_well(self):
        self.check_drain_under_load(signal.SIGINT)

    def busy(self, **settings):
        service = self.service("--service-time", "20s")
        gateway = self.gateway(service.address, admission_workers=1, **settings)
        crowd = [socket.create_connection(("127.0.0.1", gateway.port), timeout=60) for _ in range(2)]
        for connection in crowd:
            self.addCleanup(connection.close)
            connection.sendall(raw_request())
        gateway.wait_for_health(lambda h: (h["active_workers"], h["queue_size"]) == (1, 1), "both in")
        return gateway

    def test_a_second_signal_ends_at_once(self):
        gateway = self.busy()
        gateway.signal(signal.SIGTERM)
        gateway.wait_for_text("SIGTERM|TERM: draining", gateway.err)
        gateway.signal(signal.SIGINT)
        self.assertEqual(gateway.wait(10), 1)
        self.assertRegex(gateway.err(), r"INT: ended at once: 1 in flight, 1 waiting were cut off")

    def test_the_drain_ends_with_drain_timeout(self):
        gateway = self.busy(drain_timeout="300ms")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(15), 0)
        self.assertIn("drain_timeout is over: 1 in flight, 1 waiting were cut off", gateway.err())

    def test_who_is_there_at_drain_timeout_hears_so_or_is_reset_and_is_in_the_access_log(self):
        """An orderly end of a connection would be the end of an answer without a length; to a request that has not gone
        anywhere yet there is something to say."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        with tempfile.TemporaryDirectory() as folder:
            gateway = self.gateway("127.0.0.1:%d" % listener.getsockname()[1], admission_workers=1, drain_timeout="300ms",
                                   log_access=f"{folder}/access", log_format="json",
                                   client_response_buffer="8MiB")
            gateway.wait_for_health(lambda h: h["status"] == "ok", "a server")
            listener.accept()[0].close()  # the look whether it is there
            sleeper = self.who_takes_nothing(gateway, listener)
            reader = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
            self.addCleanup(reader.close)
            reader.sendall(b"GET /old HTTP/1.0\r\n\r\n")
            server = listener.accept()[0]
            self.addCleanup(server.close)
            server.recv(65536)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            got = b""
            while not got.endswith(b"half"):
                got += reader.recv(65536)
            waiter = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
            self.addCleanup(waiter.close)
            waiter.sendall(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
            gateway.wait_for_health(lambda h: h["queue_size"] == 1, "the waiter")
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.wait(15), 0)
            answer = read_answer(waiter)
            self.assertEqual((answer.status, answer.closes, json.loads(answer.body)["reason"]), (503, True, "draining"))
            self.assertRegex(answer.head, "\r\nRetry-After: [0-9]+\r\n")
            for each in (reader, sleeper):
                with self.assertRaises(ConnectionResetError):
                    while each.recv(65536):
                        pass
            with open(f"{folder}/access", encoding="ascii") as lines:
                told = {line["path"]: (line["verdict"], line["reason"]) for line in map(json.loads, lines)}
            self.assertEqual(told, {"/old": ("admitted", "draining"), "/waits": ("rejected", "draining"), "/all": ("admitted", "-")})

    def who_takes_nothing(self, gateway, listener):
        """A client of an answer that the service has sent whole and that ends with its connection, but has not been taken."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(b"GET /all HTTP/1.0\r\n\r\n")
        server = listener.accept()[0]
        self.addCleanup(server.close)
        server.recv(65536)
        size = 5_000_000  # more than the kernel takes
        server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
        gateway.wait_for_health(lambda h: h["processed_requests"] == 1, "all of the answer")
        return client

    def probe(self, gateway, path):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", path)
        return connection.getresponse().status

    def test_probes_hear_of_the_drain_and_no_signal_makes_it_listen_again(self):
        gateway = self.busy()
        self.assertEqual((self.probe(gateway, "/readyz"), self.probe(gateway, "/livez")), (200, 200))
        gateway.signal(signal.SIGTERM)
        gateway.wait_for_text("TERM: draining", gateway.err)
        self.assertEqual((self.probe(gateway, "/readyz"), self.probe(gateway, "/livez")), (503, 200))
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_text("HUP: reload refused: this process drains", gateway.err)
        gateway.signal(signal.SIGUSR2)
        gateway.wait_for_text("upgrade refused: this process drains", gateway.err)
        wait_until(lambda: is_refused(gateway.port), "nobody to listen any more")
        self.assertEqual((self.probe(gateway, "/readyz"), self.probe(gateway, "/livez")), (503, 200))

    def test_an_open_tunnel_holds_the_end_up_no_longer_than_drain_timeout(self):
        """A WebSocket stays open for hours, and the process with it."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        gateway = self.gateway("127.0.0.1:%d" % listener.getsockname()[1], upstream_websocket="true", drain_timeout="300ms")
        gateway.wait_for_health(lambda h: h["status"] == "ok", "a server")
        listener.accept()[0].close()  # the look whether it is there
        client = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.addCleanup(client.close)
        client.sendall(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        server = listener.accept()[0]
        self.addCleanup(server.close)
        server.recv(65536)
        server.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertIn(b" 101 ", client.recv(65536))
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(15), 0)
        self.assertIn("drain_timeout is over: 1 in flight", gateway.err())

    def fresh_connection(self, gateway):
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.addCleanup(connection.close)
        gateway.wait_for_health(lambda h: h["connections"] == 1, "the connection")
        gateway.signal(signal.SIGTERM)
        # Every loop has heard of it.
        wait_until(lambda: is_refused(gateway.port), "nobody to listen any more")
        return connection

    def test_the_first_request_of_a_connection_that_never_asked_is_served(self):
        # A client connects; SIGTERM; a moment later it sends its first request.
        gateway = self.gateway(self.service().address, drain_grace="20s")
        connection = self.fresh_connection(gateway)
        self.assertIn("\nclassgate_draining 1\n", scrape(gateway)[1])
        connection.sendall(raw_request())
        answer = read_answer(connection)
        self.assertIsNotNone(answer)
        self.assertEqual((answer.status, answer.closes), (200, True))
        self.assertEqual(connection.recv(1), b"")
        self.assertEqual(gateway.wait(15), 0)
        self.assertIn("drained: 1 requests in all, 1 processed", gateway.err())

    def test_what_is_asked_after_the_grace_is_refused(self):
        # The head begins in time and ends too late.
        gateway = self.gateway(self.service().address, drain_grace="100ms")
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.addCleanup(connection.close)
        silent = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.addCleanup(silent.close)
        connection.sendall(raw_request()[:20])
        gateway.wait_for_health(lambda h: h["connections"] == 2, "the connections")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(silent.recv(1), b"")  # the grace is over
        connection.sendall(raw_request()[20:])
        answer = read_answer(connection)
        self.assertEqual((answer.status, answer.closes), (503, True))
        self.assertIn("draining", answer.head)
        self.assertEqual(gateway.wait(15), 0)
        self.assertIn("drained: 1 requests in all, 0 processed", gateway.err())

    def test_a_connection_that_goes_on_saying_nothing_is_closed_after_the_grace(self):
        gateway = self.gateway(self.service().address, drain_grace="200ms", client_header_timeout="60s")
        connection = self.fresh_connection(gateway)
        self.assertEqual(connection.recv(1), b"")
        self.assertEqual(gateway.wait(15), 0)
        self.assertIn("drained: 0 requests in all", gateway.err())

    def test_an_idle_gateway_with_kept_connections_ends_at_once(self):
        service = self.service()
        gateway = self.gateway(service.address)
        connection = gateway.connect()
        self.addCleanup(connection.close)
        self.assertEqual(ask(connection).status, 200)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(15), 0)
        self.assertIn("drained: 1 requests in all, 1 processed", gateway.err())


class Logs(ProcessTest):
    def test_the_access_log_tells_route_priority_verdict_wait_upstream_time_and_status(self):
        service = self.service()
        gateway = self.gateway(service.address, log_access="stdout",
                               client_trusted_proxies="127.0.0.1")
        self.assertEqual(gateway.request(headers={"X-Request-Id": "mine-1"}).status, 200)
        line = gateway.wait_for_text(r"time=.* id=mine-1 .*", gateway.out).group(0)
        for part in ('route="/v1/classify"', "priority=3", "verdict=admitted", "reason=-", "wait_ms=",
                     "upstream_ms=", "status=200", f"upstream={service.address}"):
            self.assertIn(part, line)

    def test_both_logs_can_be_json_lines_whatever_a_client_sends(self):
        service = self.service()
        gateway = self.gateway(service.address, log_access="stdout", log_format="json")
        self.assertEqual(gateway.request("GET", '/%22quoted%22?a="b"').status, 404)
        gateway.wait_for_text(r"/.*404", gateway.out)
        entries = [json.loads(line) for line in gateway.out().splitlines()]
        self.assertEqual([(e["status"], e["priority"], e["verdict"]) for e in entries],
                         [(404, 5, "admitted")])
        service.end()
        # What the client wrote is quoted in the warning, and must not break it.
        self.assertEqual(gateway.request("GET", "/it's\\\"odd\"").status in (400, 502), True)
        self.assertIn(gateway.request("GET", "/plain").status, (502, 503))
        gateway.wait_for_text("unreachable|refused", gateway.err)
        for line in gateway.err().splitlines():
            self.assertIn("message", json.loads(line))


if __name__ == "__main__":
    unittest.main(verbosity=2)
