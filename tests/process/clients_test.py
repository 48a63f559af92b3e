#!/usr/bin/env python3
"""Real clients from Debian, and very many of them."""
import http.client
import http.server
import re
import resource
import selectors
import socket
import subprocess
import tempfile
import threading
import unittest

from kit import (TEXT, ProcessTest, ask, clean_environment, raw_request, read_answer,
                 wait_until)

RESERVE = 12_000  # descriptors this test needs for itself


def setUpModule():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < RESERVE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (RESERVE, max(hard, RESERVE)))


class Clients(ProcessTest):
    def setUp(self):
        self.upstream = self.service()
        self.gate = self.gateway(self.upstream.address, admission_rate=0)
        self.url = f"http://{self.gate.address}"

    def run_client(self, *command, given=None):
        done = subprocess.run(command, input=given, capture_output=True, timeout=60,
                              env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def curl(self, *options, given=None):
        return self.run_client("curl", "-sS", "--max-time", "50", *options, given=given)

    def test_curl_posts_gets_and_heads(self):
        answer = self.curl("-H", "Content-Type: application/json", "-d", TEXT,
                           f"{self.url}/v1/classify")
        self.assertIn('"label":"bakery"', answer)
        self.assertIn('"documents":', self.curl(f"{self.url}/status"))
        self.assertRegex(self.curl("-I", f"{self.url}/status"), r"^HTTP/1.1 200 OK\r\n")
        self.assertRegex(self.curl("-0", "-i", f"{self.url}/status"), r"^HTTP/1.1 200 OK\r\n")

    def test_curl_uploads_a_stream_of_unknown_length_and_gets_it_back(self):
        sent = bytes(range(256)) * 8192  # 2 MiB, by Transfer-Encoding: chunked
        with tempfile.NamedTemporaryFile() as got:
            self.curl("-T", "-", "-o", got.name, f"{self.url}/echo", given=sent)
            self.assertEqual(got.read(), sent)

    def test_curl_waits_for_100_continue_before_a_large_body(self):
        sent = b"x" * (2 << 20)
        with tempfile.NamedTemporaryFile() as got:
            verbose = subprocess.run(
                ["curl", "-sSv", "--expect100-timeout", "40", "-H", "Expect: 100-continue",
                 "--data-binary", "@-", "-o", got.name, f"{self.url}/echo"],
                input=sent, capture_output=True, timeout=60)
            self.assertEqual(verbose.returncode, 0, verbose.stderr)
            self.assertIn(b"< HTTP/1.1 100 Continue", verbose.stderr)
            self.assertEqual(got.read(), sent)

    def test_who_expects_a_continue_and_then_holds_back_is_heard_as_far_as_it_goes(self):
        """The body streams on when the buffer is full; what the client holds back until the service has spoken is not
        waited for."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        gateway = self.gateway("127.0.0.1:%d" % listener.getsockname()[1], client_body_buffer="4KiB")
        for framing, first, rest in (("Content-Length: 20000", b"x" * 10_000, b"y" * 10_000),
                                     ("Transfer-Encoding: chunked", b"2710\r\n" + b"x" * 10_000 + b"\r\n",
                                      b"2710\r\n" + b"y" * 10_000 + b"\r\n0\r\n\r\n")):
            with self.subTest(framing), socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
                client.sendall(f"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n".encode())
                self.assertEqual(client.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
                client.sendall(first)
                service, heard = self.first_that_speaks(listener)
                while heard.count(b"x") < 10_000:  # before the rest is said
                    heard += service.recv(65536)
                self.assertNotIn(b"Expect", heard)
                service.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
                self.assertIn(b" 102 ", client.recv(1000))
                client.sendall(rest)
                while heard.count(b"y") < 10_000:
                    heard += service.recv(65536)
                service.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.assertEqual(read_answer(client).status, 200)

    def first_that_speaks(self, listener):
        """Of the connections that come: a probe says nothing."""
        with selectors.DefaultSelector() as looks:
            looks.register(listener, selectors.EVENT_READ)
            while ready := looks.select(20):
                for key, _ in ready:
                    if key.fileobj is listener:
                        connection, _ = listener.accept()
                        self.addCleanup(connection.close)
                        connection.settimeout(20)
                        looks.register(connection, selectors.EVENT_READ)
                    elif said := key.fileobj.recv(65536):
                        return key.fileobj, said
                    else:
                        looks.unregister(key.fileobj)
        self.fail("nobody speaks")

    def test_a_client_that_sends_all_of_its_upload_first_hears_why_it_is_refused(self):
        gate = self.gateway(self.upstream.address, admission_rate=0.01, admission_burst=1,
                            client_linger_timeout="1s", client_linger_bytes="4MiB")
        first = http.client.HTTPConnection(gate.address, timeout=20)
        self.addCleanup(first.close)
        self.assertEqual(ask(first, "GET", "/x").status, 404)
        for pieces, is_heard in ((40, True), (4000, False)):
            connection = socket.create_connection(("127.0.0.1", gate.port), timeout=20)
            self.addCleanup(connection.close)
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            lost = False
            try:
                for _ in range(pieces):  # for three times linger_timeout, or more than linger_bytes
                    connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    if is_heard:
                        threading.Event().wait(0.075)
                connection.sendall(b"0\r\n\r\n")
            except ConnectionError:
                lost = True
            self.assertEqual(lost, not is_heard)
            if is_heard:
                self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 429 "))

    def test_curl_keeps_its_connection(self):
        verbose = subprocess.run(["curl", "-sSv", *[f"{self.url}/status"] * 3], capture_output=True,
                                 timeout=60)
        self.assertEqual(verbose.stderr.count(b"Re-using existing connection"), 2, verbose.stderr)

    def test_wget_posts(self):
        answer = self.run_client("wget", "-q", "-O", "-", "--header=Content-Type: application/json",
                                 f"--post-data={TEXT}", f"{self.url}/v1/classify")
        self.assertIn('"label":"bakery"', answer)

    def test_http_client_sends_many_requests_on_one_connection(self):
        connection = self.gate.connect()
        self.addCleanup(connection.close)
        for _ in range(200):
            self.assertEqual(ask(connection).status, 200)
        health = self.gate.health()
        self.assertEqual(health["processed_requests"], 200)
        self.assert_balanced(health)

    def test_wrk_gets_nothing_but_answers(self):
        report = self.run_client("wrk", "-t1", "-c64", "-d2s", f"{self.url}/status")
        self.assertNotIn("Socket errors", report)
        self.assertNotIn("Non-2xx", report)
        done = int(re.search(r"(\d+) requests in", report).group(1))
        self.assertGreater(done, 0)
        # wrk leaves with its last requests unanswered.
        health = self.gate.wait_for_health(lambda h: h["active_workers"] == 0, "an idle gateway")
        self.assertGreaterEqual(health["processed_requests"] + health["abandoned_requests"], done)
        self.assert_balanced(health)


class Streams(ProcessTest):
    def test_events_come_one_by_one(self):
        """The tokens of a model, as server-sent events: the second is said when the first has arrived, or never."""
        arrived = threading.Event()

        class Model(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"9\r\ndata: 1\n\n\r\n")
                assert arrived.wait(20)
                self.wfile.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model) as model:
            model.daemon_threads = True
            threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self.addCleanup(model.shutdown)
            connection = self.gateway(f"127.0.0.1:{model.server_port}").connect(timeout=20)
            self.addCleanup(connection.close)
            connection.request("GET", "/stream")
            answer = connection.getresponse()
            self.assertEqual(answer.read1(), b"data: 1\n\n")
            arrived.set()
            self.assertEqual(answer.read(), b"data: 2\n\n")


class Many(ProcessTest):
    def test_2000_connections_at_once_are_all_answered(self):
        upstream = self.service("--concurrency", "50")
        gateway = self.gateway(upstream.address, admission_rate=0, admission_queue_size=2000)
        crowd = [socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
                 for _ in range(2000)]
        for connection in crowd:
            self.addCleanup(connection.close)
        gateway.wait_for_health(lambda h: h["connections"] == 2000, "2,000 connections")
        for _ in range(2):
            for connection in crowd:
                connection.sendall(raw_request())
            self.assertEqual({read_answer(connection).status for connection in crowd}, {200})
        health = gateway.health()
        self.assertEqual(health["processed_requests"], 4000)
        self.assertLessEqual(upstream.stats()["max_running"], 50)
        self.assert_balanced(health)

    def test_10000_connections_against_1024_descriptors(self):
        upstream = self.service()
        # The crowd has one address; what one may have of the room is not asked here.
        gateway = self.gateway(upstream.address, nofile=1024, admission_rate=0,
                               client_connections_per_address=0)
        self.assertRegex(gateway.err(), r"1024 file descriptors leave room for \d+ client "
                                        r"connections.*raise LimitNOFILE")
        room = gateway.health()["limits"]["connections"]
        self.assertGreater(room, 700)
        # Whoever leaves clients without connections hears of it.
        code, out, err = gateway.command("set", "admission.workers", "900")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"1024 file descriptors leave room for \d+ client connections beside 900 workers")
        gateway.do("reload")
        self.assertEqual(gateway.health()["limits"]["connections"], room)
        crowd = []
        selector = selectors.DefaultSelector()
        self.addCleanup(selector.close)
        for _ in range(10_000):
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
            self.addCleanup(connection.close)
            crowd.append(connection)
        # Those it has no room for are told so, in HTTP, at once. Where the crowd takes over a second
        # to come, some that were silent for as long give way to newer ones instead.
        refused = gave_way = 0
        for connection in crowd:
            selector.register(connection, selectors.EVENT_READ)
        while refused + gave_way < 10_000 - room:
            ready = selector.select(timeout=30)
            self.assertTrue(ready, f"only {refused} were refused, {gave_way} gave way")
            for key, _ in ready:
                selector.unregister(key.fileobj)
                answer = read_answer(key.fileobj)
                if answer is None:
                    gave_way += 1
                    continue
                self.assertEqual(answer.status, 503)
                self.assertIn("X-Classgate-Reason: too_many_connections\r\n", answer.head)
                refused += 1
        # Full of silent clients it still answers: the longest silent one gives way.
        health = gateway.wait_for_health(lambda h: h.get("connections") == room, "a full house")
        self.assertGreater(refused, 0)
        self.assertGreaterEqual(health["connections_refused"], refused)
        # Nobody is sent away before it has been silent for a second: until then it is 503.
        statuses = set()

        def asked():
            try:
                statuses.add(gateway.request().status)
            except ConnectionError:  # sent away with its 503 while it still spoke
                statuses.add(503)
            return 200 in statuses

        wait_until(asked, "an answer")
        self.assertLessEqual(statuses, {200, 503})
        for connection in crowd:
            connection.close()
        health = gateway.wait_for_health(lambda h: h["connections"] == 0, "an empty house")
        self.assertEqual(gateway.request().status, 200)
        self.assert_balanced(health)


if __name__ == "__main__":
    unittest.main(verbosity=2)
