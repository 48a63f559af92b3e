#!/usr/bin/env python3
"""WebSocket of clients of HTTP/2 (RFC 8441) with a service of HTTP/1: a tunnel on one stream."""
import base64
import hashlib
import re
import socket
import subprocess
import unittest
from pathlib import Path

import http2_kit as h2
from browser import Browser
from kit import serve_each, stop_listening
from tls_kit import TlsTest

ENABLE_CONNECT_PROTOCOL = 8
FIELDS = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"), (":authority", "test"),
          ("sec-websocket-version", "13")]


def connect(stream, fields=FIELDS):
    return h2.headers(stream, fields, h2.END_HEADERS)


class Echo:
    """Agrees to WebSocket and says what it hears; its end is its peer's."""

    def __init__(self, answer=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.heads, self.answer, self.ends_first = [], answer, False
        serve_each(self.listener, self.serve)

    def serve(self, connection):
        with connection:
            self.talk(connection)

    def talk(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(65536)
            if not part:
                return
            head += part
        self.heads.append(head.decode("latin-1"))
        key = re.search(r"(?im)^sec-websocket-key: (\S+)\r$", self.heads[-1])
        if not key:
            return connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<p>a page</p>")
        digest = hashlib.sha1((key.group(1) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        connection.sendall(self.answer or b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n" % base64.b64encode(digest))
        if self.ends_first:
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            if not self.ends_first:
                connection.sendall(self.reply(part))

    def reply(self, part):
        return part

    def close(self):
        stop_listening(self.listener)


class Framed(Echo):
    """Says a short message again as a server must: without its client's mask (RFC 6455 section 5.1)."""

    def reply(self, part):
        size = part[1] & 0x7F
        mask, text = part[2:6], part[6:6 + size]
        return bytes([part[0], size]) + bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))


class WebSockets(TlsTest):
    def echo(self, answer=None):
        echo = Echo(answer)
        self.addCleanup(echo.close)
        return echo

    def before(self, echo, **settings):
        return self.gateway(echo.address, **{"protocols": "http/1.1, h2", "threads": 1, "admission_rate": 0,
                                             "upstream_websocket": "true", "log_access": "stdout", **settings})

    def peer(self, gateway, **options):
        peer = h2.Peer(gateway.port, **options)
        self.addCleanup(peer.socket.close)
        return peer

    def offer(self, peer):
        read = peer.read_until(lambda read: read.kind == h2.SETTINGS and not read.flags & h2.ACK)
        pairs = [read.payload[i:i + 6] for i in range(0, len(read.payload), 6)]
        return {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}.get(ENABLE_CONNECT_PROTOCOL, 0)

    def opened(self, peer, stream=1):
        peer.send(connect(stream))
        peer.read_until(lambda read: read.kind == h2.HEADERS and read.stream == stream)
        return peer.answers[stream]

    def heard(self, peer, text, stream=1):
        peer.read_until(lambda read: peer.answers[stream].body.endswith(text))
        return peer.answers[stream].body

    def test_node_talks_through_many_tunnels_of_one_connection(self):
        echo = self.echo()
        gateway = self.tls_gateway(upstream=echo.address, protocols="http/1.1, h2", admission_rate=0, upstream_websocket="true",
                                   admission_workers=20)
        for ca, url in (("-", f"http://127.0.0.1:{gateway.port}"), (self.authority.ca, f"https://localhost:{gateway.tls_port}")):
            done = subprocess.run(["node", Path(__file__).with_name("http2_websocket.js"), ca, url + "/chat", "300000", "10"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.stdout.split("\n")[:-1], ["200 chat undefined true"] * 10, done.stderr)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "the workers are back")

    def test_a_browser_talks_through_its_connection_of_http2(self):
        browser = Browser()
        self.addCleanup(browser.close)
        service = Framed()
        self.addCleanup(service.close)
        gateway = self.tls_gateway(upstream=service.address, protocols="http/1.1, h2", admission_rate=0, upstream_websocket="true")
        browser.call("Security.setIgnoreCertificateErrors", ignore=True)
        address = f"localhost:{gateway.tls_port}"
        browser.visit(f"https://{address}/")
        heard = browser.ask(f"""new Promise((done) => {{
            const socket = new WebSocket("wss://{address}/chat", "chat");
            socket.onopen = () => socket.send("hello");
            socket.onmessage = (message) => done(message.data + " " + socket.protocol);
            socket.onerror = () => done("an error");
        }})""")
        self.assertEqual(heard, "hello chat")
        asked = [head for head in service.heads if head.startswith("GET /chat HTTP/1.1\r\n")]
        self.assertEqual(len(asked), 1, service.heads)
        self.assertIn("\r\nVia: 2.0 classgate", asked[0])  # it came by HTTP/2

    def test_the_service_is_asked_as_by_http1_and_its_agreement_is_the_clients_200(self):
        echo = self.echo()
        gateway = self.before(echo)
        peer = self.peer(gateway)
        self.assertEqual(self.offer(peer), 1)
        answer = self.opened(peer)
        self.assertEqual((answer.status, answer.fields["sec-websocket-protocol"]), (200, "chat"))
        self.assertFalse({"sec-websocket-accept", "upgrade", "connection"} & answer.fields.keys())
        head = echo.heads[0]
        self.assertTrue(head.startswith("GET /chat HTTP/1.1\r\nHost: test\r\n"), head)
        for line in ("Connection: Upgrade", "Upgrade: websocket", "sec-websocket-version: 13"):
            self.assertIn(f"\r\n{line}\r\n", head)
        self.assertEqual(len(base64.b64decode(re.search(r"(?i)sec-websocket-key: (\S+)", head).group(1))), 16)
        peer.send(h2.frame(h2.DATA, 0, 1, b"hello, there"))
        self.assertEqual(self.heard(peer, b"hello, there"), b"hello, there")
        self.assertEqual(gateway.health()["active_workers"], 1)
        peer.send(h2.frame(h2.DATA, h2.END_STREAM, 1, b"the end"))
        self.assertTrue(self.peer_hears_the_end(peer, b"hello, therethe end"))
        gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["processed_requests"] == 1, "the worker is back")
        gateway.wait_for_text(r"status=101 .*protocol=h2", gateway.out)
        self.assertTrue(peer.is_well())

    def peer_hears_the_end(self, peer, body, stream=1):
        answer = peer.answer(stream)
        return answer.is_whole and answer.body == body

    def test_what_comes_before_the_service_has_agreed_waits(self):
        echo = self.echo()
        gateway = self.before(echo)
        peer = self.peer(gateway)
        peer.send(connect(1), h2.frame(h2.DATA, h2.END_STREAM, 1, b"too early"))
        self.assertTrue(self.peer_hears_the_end(peer, b"too early"))

    def test_a_service_that_ends_first_is_told_as_the_end_of_the_stream(self):
        echo = self.echo()
        echo.ends_first = True
        gateway = self.before(echo)
        peer = self.peer(gateway)
        self.assertEqual(self.opened(peer).status, 200)
        self.assertTrue(self.peer_hears_the_end(peer, b"bye"))
        peer.send(h2.frame(h2.DATA, h2.END_STREAM, 1, b"and you"))
        gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["processed_requests"] == 1, "the worker is back")
        self.assertTrue(peer.is_well())

    def test_a_reset_ends_the_tunnel_and_frees_its_worker(self):
        echo = self.echo()
        gateway = self.before(echo)
        peer = self.peer(gateway)
        self.assertEqual(self.opened(peer).status, 200)
        peer.send(h2.reset(1))
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "the worker is back")
        self.assertEqual(self.opened(peer, 3).status, 200)
        peer.socket.close()
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "the worker is back")

    def test_a_tunnel_in_which_nobody_says_anything_ends(self):
        echo = self.echo()
        gateway = self.before(echo, client_idle_timeout="400ms")
        peer = self.peer(gateway)
        self.assertEqual(self.opened(peer).status, 200)
        self.assertEqual(peer.answer(1).error, h2.CANCEL)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "the worker is back")

    def test_an_answer_for_another_key_or_another_success_is_no_agreement(self):
        for said, reason in ((b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                              b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "that is not the key's"),
                             (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "with another success")):
            with self.subTest(reason):
                gateway = self.before(self.echo(said))
                peer = self.peer(gateway)
                peer.send(connect(1))
                answer = peer.answer(1)
                self.assertEqual((answer.status, answer.fields["x-classgate-reason"]), (502, "upstream_broken"))
                gateway.wait_for_text(re.escape(reason), gateway.err)
                self.assertTrue(peer.is_well())
                self.assertEqual(gateway.health()["active_workers"], 0)

    def test_a_service_that_knows_no_websocket_there_is_not_passed_over_for_it(self):
        gateway = self.before(self.echo(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), upstream_eject_after=2)
        peer = self.peer(gateway)
        for stream in range(1, 13, 2):
            peer.send(connect(stream))
            self.assertEqual(peer.answer(stream).status, 502)
        self.assertEqual(gateway.health()["status"], "ok")
        self.assertNotIn("failures in a row", gateway.err())

    def test_what_was_offered_and_cannot_be_had_any_more_is_refused(self):
        echo = self.echo()
        gateway = self.before(echo)
        peer = self.peer(gateway)
        self.assertEqual(self.opened(peer).status, 200)
        code, _, err = gateway.command("set", "upstream.servers", f"h2c://{echo.address}")
        self.assertEqual(code, 0, err)
        peer.send(connect(3))
        self.assertEqual(peer.answer(3).status, 405)
        self.assertEqual(len(echo.heads), 1)

    def test_a_refusal_of_the_service_goes_on(self):
        gateway = self.before(self.echo(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
        peer = self.peer(gateway)
        peer.send(connect(1))
        answer = peer.answer(1)
        self.assertEqual((answer.status, answer.body), (403, b"no"))
        self.assertTrue(peer.is_well())

    def test_it_is_offered_only_where_it_can_be_had(self):
        echo = self.echo()
        for settings in ({"upstream_websocket": "false"}, {"upstream_servers": f"h2c://{echo.address}"}):
            gateway = self.before(echo, **settings)
            peer = self.peer(gateway)
            self.assertEqual(self.offer(peer), 0)
            peer.send(connect(1))
            self.assertEqual(peer.answer(1).error, h2.PROTOCOL_ERROR)
            self.assertTrue(peer.is_well())


if __name__ == "__main__":
    unittest.main()
