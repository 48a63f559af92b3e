#!/usr/bin/env python3
"""HTTP/2 in front: real clients, by prior knowledge and by ALPN, and streams that are requests of their own."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

import http2_kit as h2
from kit import Held, Script, ScriptedService, TEXT, free_port, scrape, wait_until
from tls_kit import TlsTest

BOTH = "http/1.1, h2"
FOLDER = pathlib.Path(__file__).parent


class Large(Script):
    """An answer that is more than a window or two."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 100000)


class Http2Test(TlsTest):
    def before(self, upstream=None, **settings):
        return self.gateway(upstream or self.service().address,
                            **{"protocols": BOTH, "threads": 1, "admission_rate": 0, **settings})

    def peer(self, gateway, **options):
        peer = h2.Peer(gateway.port, **options)
        self.addCleanup(peer.socket.close)
        return peer

    def held(self):
        held = Held()
        self.addCleanup(held.close)
        self.addCleanup(held.release.set)
        return held

    def run_client(self, *words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr


class Clients(Http2Test):
    def test_curl_asks_by_prior_knowledge(self):
        gateway = self.before(log_access="stdout")
        status, out, err = self.run_client("curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}",
                                           "-H", "Content-Type: application/json", "-d", TEXT,
                                           f"http://127.0.0.1:{gateway.port}/v1/classify")
        self.assertEqual(status, 0, err)
        self.assertTrue(out.endswith("2 200"), out)
        gateway.wait_for_text(r"status=200 .* protocol=h2", gateway.out)
        gateway.request()
        gateway.wait_for_text(r"status=200 .* protocol=http/1.1", gateway.out)

    def test_curl_and_python_agree_on_it_with_tls(self):
        gateway = self.tls_gateway(protocols=BOTH, admission_rate=0)
        url = f"https://localhost:{gateway.tls_port}/v1/classify"
        for asked, version in (("--http2", "2"), ("--http1.1", "1.1")):
            status, out, err = self.run_client("curl", "-sS", asked, "--cacert", self.authority.ca, "-w",
                                               "%{http_version} %{http_code}", "-d", TEXT, url)
            self.assertEqual((status, out.split("}")[-1].strip()), (0, f"{version} 200"), err)
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.assertEqual(self.connect(gateway, context=context).selected_alpn_protocol(), "h2")
        import httpx
        with httpx.Client(http2=True, verify=str(self.authority.ca)) as client:
            answers = [client.post(url, content=TEXT) for _ in range(3)]
        self.assertEqual([(answer.http_version, answer.status_code) for answer in answers], [("HTTP/2", 200)] * 3)

    def test_node_asks_in_clear_and_with_tls(self):
        gateway = self.tls_gateway(protocols=BOTH, admission_rate=0)
        for ca, url in (("-", f"http://127.0.0.1:{gateway.port}"), (self.authority.ca, f"https://localhost:{gateway.tls_port}")):
            status, out, err = self.run_client("node", FOLDER / "http2_client.js", ca, url + "/v1/classify", TEXT, 60)
            self.assertEqual(status, 0, out + err)
            self.assertEqual(out.split("\n")[:-1], [f"{'h2c' if ca == '-' else 'h2'} 200 true"] * 60)

    @unittest.skipUnless(shutil.which("go"), "go is not installed")
    def test_go_asks_with_tls(self):
        gateway = self.tls_gateway(protocols=BOTH, admission_rate=0)
        with tempfile.TemporaryDirectory(prefix="classgate-test-") as cache:
            status, out, err = self.run_client(
                "env", f"GOCACHE={cache}", "GO111MODULE=off", "GOFLAGS=", "go", "run", FOLDER / "http2_client.go",
                self.authority.ca, f"https://localhost:{gateway.tls_port}/v1/classify", TEXT, 60)
        self.assertEqual(status, 0, out + err)
        self.assertEqual(out.split("\n")[:-1], ["HTTP/2.0 200"] * 60)

    def test_without_h2_in_the_conf_nobody_speaks_it(self):
        gateway = self.tls_gateway(admission_rate=0)
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.assertEqual(self.connect(gateway, context=context).selected_alpn_protocol(), "http/1.1")
        with h2.Peer(gateway.port) as peer:
            self.assertTrue(peer.socket.recv(1000).startswith(b"HTTP/1.1 400 "))

    def test_an_address_may_speak_what_the_others_do_not(self):
        for everywhere, there in ((BOTH, "http/1.1"), ("http/1.1", BOTH)):
            ports = [free_port() for _ in range(2)]
            usual, other = (f"127.0.0.1:{port}" for port in ports)
            conf = f'[[listener]]\naddress = "{other}"\nprotocols = {json.dumps(there.split(", "))}\n'
            gateway = self.gateway(self.service().address, conf=conf, environment={"CLASSGATE_LISTEN": f"{usual},{other}"},
                                   protocols=everywhere, threads=1, admission_rate=0)
            for port, spoken in zip(ports, (everywhere, there)):
                with self.subTest(spoken, usual=port == ports[0]), h2.Peer(port) as peer:
                    if spoken == BOTH:
                        self.assertEqual(peer.ask(1, "/health").status, 200)
                    else:
                        self.assertTrue(peer.socket.recv(1000).startswith(b"HTTP/1.1 400 "))

    def test_an_address_with_tls_offers_what_is_spoken_there(self):
        conf = self.conf() + '[[listener]]\naddress = "https://127.0.0.1:0"\nprotocols = ["h2", "http/1.1"]\n'
        gateway = self.tls_gateway(conf=conf, admission_rate=0)
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.assertEqual(self.connect(gateway, context=context).selected_alpn_protocol(), "h2")
        with h2.Peer(gateway.port) as peer:
            self.assertTrue(peer.socket.recv(1000).startswith(b"HTTP/1.1 400 "))

    def test_prior_knowledge_is_not_heard_behind_tls(self):
        gateway = self.tls_gateway(protocols=BOTH, admission_rate=0)
        context = self.context()
        context.set_alpn_protocols(["http/1.1"])
        connection = self.connect(gateway, context=context)
        connection.sendall(h2.PREFACE + h2.settings())
        self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 400 "))

    def test_nghttp_uploads_in_pieces_and_is_told_trailers(self):
        class Trailing(Script):
            def do_POST(self):
                size = 0
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    while length := int(self.rfile.readline(), 16):
                        size += len(self.rfile.read(length))
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    size = len(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Trailer", "X-Sum")
                self.end_headers()
                said = str(size).encode()
                self.wfile.write(b"%x\r\n%s\r\n0\r\nX-Sum: %s\r\n\r\n" % (len(said), said, said))

        service = ScriptedService(Trailing)
        self.addCleanup(service.close)
        gateway = self.before(service.address)
        with self.subTest("nghttp"), open(self.authority.folder.name + "/body", "wb") as body:
            body.write(b"x" * 1_000_000)
            body.flush()
            status, out, err = self.run_client("nghttp", "-v", "-d", body.name,
                                               f"http://127.0.0.1:{gateway.port}/v1/classify")
            self.assertEqual(status, 0, err)
            self.assertIn(":status: 200", out)
            self.assertIn("x-sum: 1000000", re.sub(r"\x1b\[[0-9;]*m", "", out))
        peer = self.peer(gateway)
        peer.send(h2.headers(1, h2.request_fields(method="POST"), h2.END_HEADERS),
                  h2.frame(h2.DATA, 0, 1, b"abc"), h2.frame(h2.DATA, h2.END_STREAM, 1, b"de"))
        answer = peer.answer(1)
        self.assertEqual((answer.status, answer.body, answer.trailers), (200, b"5", {"x-sum": "5"}))

    def test_h2load_with_many_streams_has_all_its_answers(self):
        gateway = self.before(admission_workers=50, admission_queue_size=1000)
        status, out, err = self.run_client("h2load", "-n", 2000, "-c", 8, "-m", 16, "-t", 1,
                                           f"http://127.0.0.1:{gateway.port}/health")
        self.assertEqual(status, 0, err)
        self.assertIn("2000 succeeded, 0 failed, 0 errored", out)
        health = gateway.wait_for_health(lambda h: h["processed_requests"] >= 2000, "all in the books")
        self.assertEqual(health["active_workers"], 0)
        metrics = scrape(gateway)[1]
        self.assertRegex(metrics, r"(?m)^classgate_http2_connections_total 8$")
        self.assertRegex(metrics, r"(?m)^classgate_http2_requests_total 2000$")


class Streams(Http2Test):
    def test_a_refusal_ends_one_stream_and_leaves_the_connection(self):
        held = self.held()
        gateway = self.before(held.address, admission_workers=1, admission_queue_size=1)
        peer = self.peer(gateway)
        for stream in (1, 3, 5):
            peer.send(h2.get(stream))
        refused = peer.answer(5)
        self.assertEqual((refused.status, refused.fields["x-classgate-reason"]), (503, "queue_full"))
        self.assertGreaterEqual(int(refused.fields["retry-after"]), 1)
        self.assertEqual(json.loads(refused.body)["reason"], "queue_full")
        self.assertNotIn("connection", refused.fields)
        held.release.set()
        self.assertEqual([peer.answer(stream).status for stream in (1, 3)], [204, 204])
        self.assertEqual(peer.ask(7).status, 204)

    def test_too_many_in_a_second_is_429_on_its_stream(self):
        gateway = self.before(admission_rate=1, admission_burst=1)
        peer = self.peer(gateway)
        peer.send(h2.get(1), h2.get(3))
        self.assertEqual(sorted(peer.answer(stream).status for stream in (1, 3)), [405, 429])
        self.assertTrue(peer.is_well())

    def test_a_client_whose_reset_comes_together_with_its_request_is_missed(self):
        held = self.held()
        gateway = self.before(held.address)
        requests = {"h2": h2.PREFACE + h2.settings() + h2.get(1), "http/1.1": b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"}
        for protocol, request in requests.items():
            with self.subTest(protocol=protocol):
                os.kill(gateway.process.pid, signal.SIGSTOP)  # so that both are one event
                client = socket.create_connection(("127.0.0.1", gateway.port))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(request)
                client.close()
                os.kill(gateway.process.pid, signal.SIGCONT)
                gateway.wait_for_health(lambda h: h["workers_without_client"] == 1, "a worker for nobody")
                held.let_go()
                gateway.wait_for_health(lambda h: h["active_workers"] == 0, "it is back")

    def test_a_reset_stream_frees_its_place_at_once(self):
        held = self.held()
        gateway = self.before(held.address, admission_workers=1, admission_queue_size=1,
                              upstream_on_client_abort="cancel")
        peer = self.peer(gateway)
        peer.send(h2.get(1), h2.get(3))
        gateway.wait_for_health(lambda h: h["active_workers"] == 1 and h["queue_size"] == 1, "one in, one waiting")
        peer.send(h2.reset(3))
        gateway.wait_for_health(lambda h: h["queue_size"] == 0 and h["active_workers"] == 1, "a free place")
        peer.send(h2.reset(1))
        health = gateway.wait_for_health(lambda h: h["active_workers"] == 0, "a free worker")
        self.assertEqual(health["abandoned_requests"], 2)
        held.release.set()
        self.assertEqual(peer.ask(5).status, 204)

    def test_a_connection_that_breaks_frees_all_of_its_places(self):
        held = self.held()
        gateway = self.before(held.address, admission_workers=2, admission_queue_size=10,
                              upstream_on_client_abort="cancel")
        peer = self.peer(gateway)
        peer.send(*(h2.get(stream) for stream in range(1, 17, 2)))
        gateway.wait_for_health(lambda h: h["active_workers"] == 2 and h["queue_size"] == 6, "all are there")
        peer.socket.close()
        gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "nobody is")

    def test_no_more_streams_at_once_than_the_conf_says(self):
        held = self.held()
        gateway = self.before(held.address, client_streams_per_connection=2)
        peer = self.peer(gateway)
        peer.send(h2.get(1), h2.get(3), h2.get(5))
        self.assertEqual(peer.answer(5).error, h2.REFUSED_STREAM)
        held.release.set()
        self.assertEqual([peer.answer(stream).status for stream in (1, 3)], [204, 204])
        self.assertIn('classgate_limits_reached_total{limit="client.streams_per_connection"} 1', scrape(gateway)[1])

    def test_an_early_answer_is_whole_before_the_rest_is_refused(self):
        gateway = self.before(client_body_bytes="1KiB")
        peer = self.peer(gateway)
        peer.send(h2.headers(1, h2.request_fields(method="POST"), h2.END_HEADERS),
                  h2.frame(h2.DATA, 0, 1, b"x" * 2000))
        answer = peer.answer(1)
        self.assertEqual((answer.status, answer.is_whole), (413, True))
        rest = peer.read_until(lambda read: read.kind == h2.RST_STREAM)
        self.assertEqual((rest.stream, rest.error), (1, h2.NO_ERROR))
        self.assertEqual(peer.ask(3, "/health").status, 200)

    def test_head_has_a_length_and_no_body(self):
        gateway = self.before()
        peer = self.peer(gateway)
        peer.send(h2.headers(1, h2.request_fields("/queue/health", "HEAD")))
        answer = peer.answer(1)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.fields["content-length"]), 10)
        peer.send(h2.headers(3, h2.request_fields("/queue/health", "DELETE")))
        self.assertEqual((peer.answer(3).status, peer.answer(3).fields["allow"]), (405, "GET, HEAD"))

    def test_interim_answers_go_on(self):
        class Hints(Script):
            def do_GET(self):
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                self.say(204)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.say(200)

        service = ScriptedService(Hints)
        self.addCleanup(service.close)
        gateway = self.before(service.address)
        peer = self.peer(gateway)
        answer = peer.ask(1)
        self.assertEqual(([interim[":status"] for interim in answer.interim], answer.status), (["103"], 204))
        peer.send(h2.headers(3, h2.request_fields(method="POST", extra=[("expect", "100-continue"), ("content-length", "2")]),
                             h2.END_HEADERS))
        self.assertIsNotNone(peer.read_until(lambda read: peer.answers.get(3) and peer.answers[3].interim))
        peer.send(h2.frame(h2.DATA, h2.END_STREAM, 3, b"ok"))
        self.assertEqual(peer.answer(3).status, 200)

    def test_a_body_waits_in_its_window_until_a_worker_takes_it(self):
        """Of an upload that waits no more comes than its window has, and others go on."""
        held = self.held()
        gateway = self.before(held.address, admission_workers=1, client_body_buffer="16KiB")
        peer = self.peer(gateway)
        peer.send(h2.get(1))
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a busy worker")
        peer.send(h2.headers(3, h2.request_fields(method="GET", extra=[("content-length", "100000")]), h2.END_HEADERS))
        sent = 0
        while sent < 32768:  # the window, and what was taken into the buffer
            peer.send(h2.frame(h2.DATA, 0, 3, b"x" * 8192))
            sent += 8192
            if sent >= 16384 and not peer.read_until(
                    lambda read: read.kind == h2.WINDOW_UPDATE and read.stream == 3, 0.5):
                break
        gateway.wait_for_health(lambda h: h["queue_size"] == 1, "the upload waits")
        self.assertTrue(peer.is_well())
        held.release.set()
        self.assertEqual(peer.answer(1).status, 204)
        peer.read_until(lambda read: read.kind == h2.WINDOW_UPDATE and read.stream == 3)
        while sent < 100000:
            part = min(8192, 100000 - sent)
            sent += part
            peer.send(h2.frame(h2.DATA, h2.END_STREAM if sent == 100000 else 0, 3, b"x" * part))
            if sent < 100000:
                peer.read_until(lambda read: read.kind == h2.WINDOW_UPDATE and read.stream == 3, 0.5)
        self.assertEqual(peer.answer(3).status, 204)

    def test_an_answer_waits_for_its_window_and_keeps_no_worker(self):
        service = ScriptedService(Large)
        self.addCleanup(service.close)
        gateway = self.before(service.address)
        peer = self.peer(gateway, own_settings=[(h2.INITIAL_WINDOW_SIZE, 10)])
        peer.send(h2.get(1))
        peer.read_until(lambda read: read.kind == h2.DATA)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["processed_requests"] == 1, "the worker is back")
        self.assertEqual(peer.answers[1].body, b"x" * 10)
        peer.send(h2.window_update(1, 200000))
        self.assertEqual(len(peer.answer(1).body), 100000)

    def test_padding_and_unknown_frames_mean_nothing(self):
        gateway = self.before()
        peer = self.peer(gateway)
        body = TEXT.encode()
        peer.send(h2.frame(0x42, 0xFF, 0, b"whatever"),
                  h2.headers(1, h2.request_fields(method="POST", extra=[("content-length", str(len(body)))]), h2.END_HEADERS),
                  h2.frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\x20" + body + bytes(32)))
        self.assertEqual(peer.answer(1).status, 200)


class Lifetimes(Http2Test):
    def test_a_drain_says_so_twice_and_finishes_what_it_took(self):
        held = self.held()
        gateway = self.before(held.address)
        peer = self.peer(gateway)
        peer.send(h2.get(1))
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a request on its way")
        gateway.signal(15)
        notice = peer.read_until(lambda read: read.kind == h2.GOAWAY)
        self.assertEqual((notice.last_stream, notice.error), (2**31 - 1, h2.NO_ERROR))
        last = peer.read_until(lambda read: read.kind == h2.GOAWAY)
        self.assertEqual((last.last_stream, last.error), (1, h2.NO_ERROR))
        held.release.set()
        self.assertEqual(peer.answer(1).status, 204)
        self.assertTrue(peer.ends())
        self.assertEqual(gateway.wait(), 0)

    def test_requests_per_connection_end_it_in_order(self):
        gateway = self.before(client_requests_per_connection=3)
        peer = self.peer(gateway)
        self.assertEqual([peer.ask(stream, "/health").status for stream in (1, 3, 5)], [200] * 3)
        self.assertIsNotNone(peer.goaway())
        self.assertTrue(peer.ends())

    def test_idle_and_half_begun_connections_end(self):
        gateway = self.before(client_idle_timeout="300ms", client_header_timeout="600ms")
        idle = self.peer(gateway)
        self.assertEqual(idle.ask(1, "/health").status, 200)
        self.assertEqual(idle.goaway().error, h2.NO_ERROR)
        self.assertTrue(idle.ends())
        half = self.peer(gateway)
        half.send(h2.frame(h2.HEADERS, 0, 1, h2.literal(h2.request_fields())))  # no END_HEADERS
        self.assertTrue(half.ends())
        silent = self.peer(gateway)
        self.assertTrue(silent.ends())
        pinging = self.peer(gateway)
        pinging.send(h2.ping()[:12])
        self.assertTrue(pinging.ends())

    def test_an_upload_that_stalls_hears_408_on_its_stream(self):
        gateway = self.before(client_body_timeout="300ms")
        peer = self.peer(gateway)
        peer.send(h2.headers(1, h2.request_fields(method="POST"), h2.END_HEADERS), h2.frame(h2.DATA, 0, 1, b"x"))
        self.assertEqual(peer.answer(1).status, 408)
        self.assertEqual(peer.ask(3, "/health").status, 200)

    def test_a_window_that_opens_by_a_byte_does_not_keep_an_answer_alive(self):
        service = ScriptedService(Large)
        self.addCleanup(service.close)
        gateway = self.before(service.address, client_send_timeout="400ms")
        peer = self.peer(gateway, own_settings=[(h2.INITIAL_WINDOW_SIZE, 1)])
        peer.send(h2.get(1))

        def ended():
            peer.send(h2.window_update(1, 1))
            return peer.read_until(lambda read: read.kind == h2.RST_STREAM, 0.1)
        self.assertEqual(wait_until(ended, "the stream's end").error, h2.CANCEL)
        self.assertLess(len(peer.answers[1].body), 1000)


if __name__ == "__main__":
    unittest.main()
