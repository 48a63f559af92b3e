#!/usr/bin/env python3
"""Names of servers, looked up again while requests flow: a real nameserver that changes its mind."""
import http.server
import os
import re
import socket
import socketserver
import struct
import tempfile
import threading
import unittest

from kit import ProcessTest, wait_until


class Nameserver:
    """Answers A queries for model.test with what `addresses` holds; NXDOMAIN when that is empty."""

    def __init__(self, addresses, ttl=1):
        self.addresses, self.ttl, self.queries = addresses, ttl, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(512)
            if query == b"end":
                return
            self.queries += 1
            self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        is_known = question[:-4].lower() == b"\x05model\x04test\0" and self.addresses
        records = self.addresses if is_known and question[-4:-2] == b"\0\1" else []
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | (0 if is_known else 3), 1, len(records), 0, 0)
        return head + question + b"".join(
            b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", self.ttl, 4) + socket.inet_aton(address)
            for address in records)

    def end(self):
        self.socket.sendto(b"end", ("127.0.0.1", int(self.address.split(":")[1])))
        self.thread.join()
        self.socket.close()


class Service:
    """Says which address it was asked at."""

    def __init__(self, host, port=0):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = host.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer((host, port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Names(ProcessTest):
    def setUp(self):
        self.first = Service("127.0.0.1")
        self.addCleanup(self.first.end)
        for host in ("127.0.0.2", "127.0.0.3"):
            self.addCleanup(Service(host, self.first.port).end)

    def named(self, nameserver, **settings):
        self.addCleanup(nameserver.end)
        return self.gateway(f"model.test:{self.first.port}", upstream_nameservers=nameserver.address, admission_rate=0,
                            **settings)

    def who(self, gateway):
        answer = gateway.request("GET", "/x")
        self.assertEqual(answer.status, 200)
        return answer.body.decode()

    def test_new_addresses_are_used_while_requests_flow_and_none_fails(self):
        nameserver = Nameserver(["127.0.0.1"])
        gateway = self.named(nameserver)
        self.assertEqual({self.who(gateway) for _ in range(5)}, {"127.0.0.1"})
        nameserver.addresses = ["127.0.0.3", "127.0.0.2"]
        seen = []
        wait_until(lambda: seen.append(self.who(gateway)) or {"127.0.0.2", "127.0.0.3"} <= set(seen), "the new ones")
        self.assertEqual({self.who(gateway) for _ in range(10)}, {"127.0.0.2", "127.0.0.3"})
        health = gateway.health()
        self.assertEqual(set(health["upstream"]), {f"model.test:{self.first.port}/127.0.0.{i}" for i in (2, 3)})
        self.assertEqual(health["failed_requests"], 0)
        self.assertRegex(gateway.err(), "has other addresses: forwarding to model.test")
        self.assert_balanced(health)

    def test_a_name_that_is_not_known_any_more_keeps_its_addresses(self):
        nameserver = Nameserver(["127.0.0.2"])
        gateway = self.named(nameserver)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        nameserver.addresses = []
        gateway.wait_for_text(r'cannot look up "model.test:\d+" again: .*; it keeps its addresses', gateway.err)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        nameserver.addresses = ["127.0.0.1"]
        wait_until(lambda: self.who(gateway) == "127.0.0.1", "the new address")
        self.assertRegex(gateway.err(), "can be looked up again")

    def test_an_answer_is_believed_for_its_time_at_most_for_resolve_interval(self):
        nameserver = Nameserver(["127.0.0.1"], ttl=3600)
        gateway = self.named(nameserver, upstream_resolve_interval="1s")
        wait_until(lambda: nameserver.queries >= 4, "questions, an hour before the answer ages")
        self.assertEqual(self.who(gateway), "127.0.0.1")

    def test_an_unknown_name_is_one_clear_line_at_start(self):
        nameserver = Nameserver([])
        self.addCleanup(nameserver.end)
        with self.assertRaises(AssertionError) as raised:
            self.gateway("nobody.test:1", upstream_nameservers=nameserver.address)
        self.assertTrue(re.search(r'cannot look up "nobody.test:1": .*\(see upstream.servers\)', str(raised.exception)),
                        raised.exception)


class UnixSocket(ProcessTest):
    """A server on a path instead of a port."""

    def listen(self, path):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"unix")

            def log_message(self, *_):
                pass

        server = Listener(path, Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def test_it_is_asked_and_found_again_when_it_comes_back(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.sock"
            server = self.listen(path)
            gateway = self.gateway(f"unix:{path}", admission_rate=0, upstream_probe_interval="100ms")
            for _ in range(20):
                self.assertEqual(gateway.request("GET").body, b"unix")
            server.shutdown()
            server.server_close()
            os.unlink(path)
            # Connections that are kept live on with their threads; who needs another one finds nobody.
            crowd = [threading.Thread(target=gateway.request, args=("GET",)) for _ in range(8)]
            for one in crowd:
                one.start()
            for one in crowd:
                one.join()
            server = self.listen(path)
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            wait_until(lambda: gateway.request("GET").body == b"unix", "the server again")
            self.assert_balanced(gateway.health())


class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    unittest.main(verbosity=2)
