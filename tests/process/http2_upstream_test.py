#!/usr/bin/env python3
"""HTTP/2 to the service: h2c:// by prior knowledge, requests that share connections, and what becomes of them."""
import http.client
import json
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import hpack

import http2_kit
from http2_service import Http2Service
from kit import Held, Program, TEXT, free_port, scrape, wait_until
from tls_kit import TlsTest, TlsUpstream


class UpstreamTest(TlsTest):
    def service_by_http2(self, **options):
        service = Http2Service(**options)
        self.addCleanup(service.close)
        return service

    def before(self, service, **settings):
        address = service if isinstance(service, str) else service.address
        return self.gateway(address, **{"threads": 1, "admission_rate": 0, "protocols": "http/1.1, h2", **settings})

    def by_http2(self, gateway, path, *words):
        done = subprocess.run(["curl", "-sS", "-m", "60", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}",
                               *words, f"http://127.0.0.1:{gateway.port}{path}"], capture_output=True, timeout=90)
        return done.returncode, done.stdout, done.stderr.decode()


class Requests(UpstreamTest):
    def test_what_a_client_says_by_http1_is_asked_by_http2(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        answer = gateway.request(headers={"X-Mixed": "a B", "Cookie": "a=b; c=d", "Host": "model.example"})
        self.assertEqual(answer.status, 200)
        said = answer.json()
        fields = dict(map(tuple, said["headers"]))
        self.assertEqual(said["body"], TEXT)
        self.assertEqual({name: fields.get(name) for name in (":method", ":scheme", ":path", ":authority", "x-mixed",
                                                              "cookie", "content-length", "connection", "host")},
                         {":method": "POST", ":scheme": "http", ":path": "/v1/classify", ":authority": "model.example",
                          "x-mixed": "a B", "cookie": "a=b; c=d", "content-length": str(len(TEXT)), "connection": None,
                          "host": None})
        self.assertEqual(answer.headers["Via"], "2.0 classgate")
        self.assertEqual(answer.headers["Content-Length"], str(len(answer.body)))

    def test_every_mixture_of_clients(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        for words in ([], ["-d", TEXT], ["-T", "-"]):
            done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", *words,
                                   f"http://127.0.0.1:{gateway.port}/v1/classify"], input=TEXT, capture_output=True,
                                  text=True, timeout=60)
            self.assertEqual(json.loads(done.stdout)["body"], TEXT if words else "")
        self.assertEqual(gateway.request("HEAD").status, 200)
        self.assertEqual(gateway.request("GET", "/empty").status, 204)
        self.assertEqual(gateway.request("GET", "/trailers").body, b"body")
        for version in ("--http1.1", "--http2-prior-knowledge"):
            done = subprocess.run(["curl", "-sS", "-i", version, f"http://127.0.0.1:{gateway.port}/interim"],
                                  capture_output=True, text=True, timeout=60)
            self.assertRegex(done.stdout, r"(?s)^HTTP/\S+ 103 .*link: </a>\s.*HTTP/\S+ 200 .*late$")
        self.assertEqual(len(service.connections), 2)  # one found out whether it is there

    def test_what_no_hop_may_index_is_not_indexed_on_its_way_on(self):
        def secret(fields):
            return {name if isinstance(name, str) else name.decode() for field in fields
                    for name, _ in [field] if isinstance(field, hpack.NeverIndexedHeaderTuple)} & {"x-asked", "x-told", "x-open"}
        service = self.service_by_http2()
        gateway = self.before(service)
        with http2_kit.Peer(gateway.port) as peer:
            never_indexed = b"\x10" + http2_kit.literal([("x-asked", "a")])[1:]  # RFC 7541 section 6.2.3
            fields = http2_kit.literal(http2_kit.request_fields("/never-indexed", extra=[("x-open", "b")]))
            peer.send(http2_kit.frame(http2_kit.HEADERS, 5, 1, fields + never_indexed))
            head = peer.read_until(lambda read: read.kind == http2_kit.HEADERS)
        self.assertEqual(secret(service.requests[-1].headers), {"x-asked"})
        self.assertEqual(secret(hpack.Decoder().decode(head.payload)), {"x-told"})

    def test_trailers_go_both_ways(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(b"POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Said\r\n"
                           b"Connection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Said: 2\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b""))
        self.assertTrue(text.endswith(b"4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n"), text)
        self.assertEqual(service.requests[-1].trailers, [("x-said", "2")])

    def test_bodies_of_every_size(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        connection = gateway.connect()
        for size in (0, 1, 65535, 65536, 3_000_000):
            connection.request("GET", f"/large?{size}")
            answer = connection.getresponse()
            self.assertEqual((answer.status, len(answer.read())), (200, size))
            connection.request("POST", "/both-ways", b"y" * size)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, b"y" * size))
        connection.close()

    def test_a_body_goes_on_before_it_is_all_there(self):
        service = self.service_by_http2()
        gateway = self.before(service, client_body_buffer="4KiB")
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(b"POST /both-ways HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"z" * 50_000)
        text = b""
        while text.count(b"z") < 50_000:
            text += connection.recv(65536)
        connection.sendall(b"z" * 50_000)
        while b"0\r\nx-bytes: 100000\r\n\r\n" not in text:
            text += connection.recv(65536)

    def test_an_early_answer_is_the_answer(self):
        service = self.service_by_http2()
        gateway = self.before(service, client_body_buffer="4KiB")
        status, out, err = self.by_http2(gateway, "/early", "--data-binary", "x" * 30_000)
        self.assertEqual((status, out), (0, b"enough2 200"), err)

    def test_many_share_one_connection_and_each_has_a_worker(self):
        service = self.service_by_http2()
        gateway = self.before(service, admission_workers=20, client_body_bytes="1MiB")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.request("GET", "/held").body))
                   for _ in range(30)]
        for thread in threads:
            thread.start()
        gateway.wait_for_health(lambda h: h["active_workers"] == 20 and h["queue_size"] == 10, "20 at work, 10 wait")
        wait_until(lambda: len(service.held) == 20, "20 in the service")
        self.assertEqual(len({id(connection) for connection, _ in service.held}), 1)
        while len(answers) < 30:
            service.let_go()
            for thread in threads:
                thread.join(0.02)
        self.assertEqual(answers, [b"let go"] * 30)

    def test_what_a_server_does_not_take_gets_another_connection_or_waits(self):
        service = self.service_by_http2(streams=2)
        for connections, at_once in ((0, 6), (2, 4)):
            gateway = self.before(service, upstream_connections=connections, upstream_hold="60s")
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(gateway.request("GET", "/held").status))
                       for _ in range(6)]
            for thread in threads:
                thread.start()
            wait_until(lambda: len(service.held) == at_once, f"{at_once} in the service")
            used = [connection for connection, _ in service.held]
            self.assertEqual({used.count(connection) for connection in used}, {2})
            while len(answers) < 6:
                service.let_go()
                for thread in threads:
                    thread.join(0.02)
            self.assertEqual(answers, [200] * 6)
            gateway.end()

    def test_a_slow_reader_holds_up_nobody_else(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        slow = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /large?30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: service.requests, "the slow one's")
        for _ in range(20):
            self.assertEqual(len(gateway.request("GET", "/large?1000000").body), 1_000_000)
        self.assertEqual(len(service.connections), 2)


class ByTls(UpstreamTest):
    def secured(self, *protocols):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        context.set_alpn_protocols(protocols)
        return context

    def test_a_server_with_tls_chooses_http2_where_it_is_offered(self):
        service = self.service_by_http2(context=self.secured("h2"))
        gateway = self.before(service, upstream_tls_ca_file=self.authority.ca, upstream_protocols="http/1.1, h2")
        answer = gateway.request()
        self.assertEqual(answer.status, 200, gateway.err())
        self.assertEqual(dict(map(tuple, answer.json()["headers"]))[":scheme"], "https")
        self.assertEqual(gateway.request("GET", "/large?1000000").body, b"x" * 1_000_000)
        self.assertEqual(self.by_http2(gateway, "/large?10")[1], b"x" * 10 + b"2 200")
        self.assertEqual(len([one for one in service.connections if one.requests]), 1)

    def test_one_that_chooses_http1_is_spoken_to_in_that_and_loses_nothing(self):
        service = TlsUpstream(self.pair)
        self.addCleanup(service.end)
        service.context.set_alpn_protocols(["http/1.1"])
        gateway = self.before(service.address, upstream_tls_ca_file=self.authority.ca,
                              upstream_protocols="http/1.1, h2")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.request("POST", "/echo", b"a" * 100_000).body))
                   for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(answers, [b"a" * 100_000] * 10, gateway.err())

    def test_one_that_knows_no_alpn_speaks_http1(self):
        service = TlsUpstream(self.pair)
        self.addCleanup(service.end)
        gateway = self.before(service.address, upstream_tls_ca_file=self.authority.ca,
                              upstream_protocols="http/1.1, h2", upstream_idle_connections=0)
        for body in (b"", b"a", b"b" * 1_000_000):
            self.assertEqual(gateway.request("POST", "/echo", body).body, body)

    def test_without_h2_in_the_conf_it_is_not_offered(self):
        service = self.service_by_http2(context=self.secured("h2"))
        gateway = self.before(service, upstream_tls_ca_file=self.authority.ca)
        self.assertNotEqual(gateway.request().status, 200)
        self.assertEqual([one for one in service.connections if one.requests], [])


class Losses(UpstreamTest):
    def test_a_request_that_was_not_taken_is_sent_again_whatever_its_method(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        for path in ("/refused-once", "/goaway-once"):
            answer = gateway.request("POST", path)
            self.assertEqual((answer.status, answer.body), (200, b"taken"), gateway.err())

    def test_none_of_those_that_a_server_says_it_did_not_take_fails(self):
        """GOAWAY with 0, then the end of the connection, with 50 requests on it: a restart."""
        service = self.service_by_http2()
        service.closed_after = 50
        gateway = self.before(service, admission_workers=50)
        answers = []

        def ask(method):
            answers.append((method, gateway.request(method, "/goaway-zero").status))
        threads = [threading.Thread(target=ask, args=(method,)) for method in ("GET", "POST") * 25]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(sorted(answers), [("GET", 200)] * 25 + [("POST", 200)] * 25, gateway.err())

    def test_one_that_may_have_been_is_not(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        answer = gateway.request("POST", "/reset?2")
        self.assertEqual((answer.status, answer.reason), (502, "upstream_broken"))
        self.assertEqual(len(service.requests), 1)
        gateway.wait_for_text(r"it reset the stream \(INTERNAL_ERROR\)", gateway.err)
        self.assertEqual(gateway.request("GET", "/reset?2").status, 502)
        self.assertEqual(len(service.requests), 3)
        answer = gateway.request("POST", "/bad")
        self.assertEqual((answer.status, answer.reason), (502, "upstream_broken"))

    def test_one_for_which_a_server_closes_takes_the_others_along_once(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.request("GET", "/held").status))
                   for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(service.held) == 3, "three share a connection")
        self.assertEqual(len({id(connection) for connection, _ in service.held}), 1)
        self.assertEqual(gateway.request("GET", "/closes").status, 502)
        wait_until(lambda: len(service.held) == 6, "they are asked for again")
        self.assertEqual(len({id(connection) for connection, _ in service.held[3:]}), 3)
        service.let_go()
        for thread in threads:
            thread.join(60)
        self.assertEqual(answers, [200] * 3)
        self.assertEqual(len([request for request in service.requests if request.path == "/closes"]), 2)
        self.assertIn("\nclassgate_retries_isolated_total 4\n", scrape(gateway)[1])

    def test_half_an_answer_is_cut(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            gateway.request("GET", "/half")
        self.assertNotEqual(self.by_http2(gateway, "/half")[0], 0)

    def test_a_server_of_http1_is_named_as_such(self):
        held = Held()  # its words to the preface have no status line
        self.addCleanup(held.close)
        for service in (self.service(), held):
            gateway = self.before(f"h2c://{service.address}")
            answer = gateway.request()
            self.assertEqual((answer.status, answer.reason), (502, "upstream_broken"))
            gateway.wait_for_text(r'it does not speak HTTP/2, as h2c:// in servers says: it answered "', gateway.err)

    def test_a_client_that_leaves_ends_its_stream_at_once_where_the_conf_says_so(self):
        service = self.service_by_http2()
        gateway = self.before(service, upstream_on_client_abort="cancel")
        connection = gateway.connect()
        connection.request("GET", "/held")
        wait_until(lambda: service.held, "the request is there")
        stayer = gateway.connect()
        stayer.request("GET", "/held")
        wait_until(lambda: len(service.held) == 2, "another")
        stream = service.held.pop(0)[1].stream
        connection.close()
        wait_until(lambda: service.resets == [(stream, 8)], "CANCEL")
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "its worker is free")
        service.let_go()
        self.assertEqual(stayer.getresponse().status, 200)
        self.assertEqual(len(service.connections), 2)

    def test_one_whose_time_is_over_is_reset_and_the_next_goes_another_way(self):
        service = self.service_by_http2()
        gateway = self.before(service, admission_request_timeout="300ms", upstream_on_client_abort="cancel")
        self.assertEqual(gateway.request("GET", "/held").status, 504)
        wait_until(lambda: service.resets, "CANCEL")
        self.assertEqual(gateway.request().status, 200)
        self.assertEqual(len(service.connections), 3)

    def test_reload_and_drain_lose_nothing(self):
        service = self.service_by_http2()
        gateway = self.before(service)
        answers = []
        threads = []
        for _ in range(5):
            threads.append(threading.Thread(target=lambda: answers.append(gateway.request("GET", "/held").status)))
            threads[-1].start()
            held = len(threads)
            wait_until(lambda: len(service.held) == held, "held")
            gateway.do("set", "upstream.header_bytes", f"{40 + held}KiB")
        self.assertEqual(gateway.request().status, 200)
        gateway.signal(15)
        service.let_go()
        for thread in threads:
            thread.join(30)
        self.assertEqual(answers, [200] * 5)
        self.assertEqual(gateway.wait(), 0)


class Checks(UpstreamTest):
    SETTINGS = {"upstream_check_interval": "20ms", "upstream_check_rise": 1, "upstream_check_fall": 1}

    def test_a_server_is_asked_by_http2_and_gets_nothing_while_it_is_not_well(self):
        service = self.service_by_http2()
        gateway = self.before(service, upstream_check_path="/health", **self.SETTINGS)
        gateway.wait_for_text("upstream .*: reachable", gateway.err)
        self.assertEqual(gateway.request().status, 200)
        asked = [request for request in service.requests if request.path == "/health"][0]
        self.assertEqual([asked.field(name) for name in (":method", ":authority", "user-agent")],
                         ["GET", f"127.0.0.1:{service.port}", "classgate-check"])
        service.health = 503
        gateway.wait_for_text("check: it answered 503", gateway.err)
        self.assertEqual(gateway.request().reason, "upstream_down")
        service.health = 200
        wait_until(lambda: gateway.request().status == 200, "it is well again")

    def test_a_server_with_tls_is_asked_in_what_it_chooses(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        context.set_alpn_protocols(["h2"])
        by_http1 = TlsUpstream(self.pair)
        self.addCleanup(by_http1.end)
        for service in (self.service_by_http2(context=context), by_http1):
            gateway = self.before(service.address, upstream_check_path="/echo", upstream_tls_ca_file=self.authority.ca,
                                  upstream_protocols="http/1.1, h2", **self.SETTINGS)
            gateway.wait_for_text("upstream .*: reachable", gateway.err)
            self.assertEqual(gateway.request("POST", "/echo", b"a").status, 200)
            gateway.end()

    def test_a_reload_in_the_middle_of_a_check(self):
        service = self.service_by_http2()
        gateway = self.before(service, upstream_check_path="/held", upstream_check_timeout="60s", **self.SETTINGS)
        for i in range(5):
            wait_until(lambda: len(service.held) > i, "asked")
            gateway.do("set", "upstream.header_bytes", f"{40 + i}KiB")
        wait_until(lambda: len(service.held) > 5, "asked anew")
        service.let_go()
        gateway.wait_for_text("upstream .*: reachable", gateway.err)


class RealServers(UpstreamTest):
    def run_server(self, *command):
        server = Program(command)
        self.addCleanup(server.end)
        return server

    def wait_for_port(self, port):
        def is_there():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return True
            except OSError:
                return False
        wait_until(is_there, "the server listens")

    def test_nghttpd(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "text").write_bytes(b"t" * 100_000)
        port = free_port()
        self.run_server("nghttpd", "--no-tls", "--echo-upload", "--trailer", "x-end: 1", "-d", folder.name, port)
        self.wait_for_port(port)
        gateway = self.before(f"h2c://127.0.0.1:{port}")
        self.assertEqual(gateway.request("GET", "/text").body, b"t" * 100_000)
        self.assertEqual(gateway.request("POST", "/echo", b"e" * 200_000).body, b"e" * 200_000)
        self.assertEqual(gateway.request("GET", "/none").status, 404)
        self.assertEqual(self.by_http2(gateway, "/text")[1][-5:], b"2 200")
        done = subprocess.run(["h2load", "-n", "2000", "-c", "4", "-m", "10", f"http://127.0.0.1:{gateway.port}/text"],
                              capture_output=True, text=True, timeout=120)
        self.assertIn("2000 succeeded", done.stdout)

    def test_node(self):
        port = free_port()
        self.run_server("node", "-e", f"""
            const server = require('http2').createServer();
            server.on('stream', (stream, headers) => {{
              stream.respond({{':status': 201, 'x-path': headers[':path']}}, {{waitForTrailers: true}});
              stream.on('wantTrailers', () => stream.sendTrailers({{'x-end': '1'}}));
              stream.pipe(stream);
            }});
            server.listen({port}, '127.0.0.1');""")
        self.wait_for_port(port)
        gateway = self.before(f"h2c://127.0.0.1:{port}")
        for size in (0, 10, 300_000):
            answer = gateway.request("POST", "/a?b", b"n" * size)
            self.assertEqual((answer.status, answer.body, answer.headers["x-path"]), (201, b"n" * size, "/a?b"))


if __name__ == "__main__":
    unittest.main()
