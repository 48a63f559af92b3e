#!/usr/bin/env python3
"""HTTP/2 in frames: what RFC 9113 and 7541 want of a server, and what must not reach a service that speaks HTTP/1. Each
row is asked of one gateway, which must be well afterwards; of what is refused the service has seen nothing.

    answered(status)   the stream has this answer, and the connection goes on
    stream(error...)   the stream is reset with one of these, or answered 400; the connection goes on
    connection(...)    GOAWAY with one of these errors, or the end of the connection
    well()             nothing happens; the connection goes on
"""
import pathlib
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "process"))
import http2_kit as h2  # noqa: E402
from http2_kit import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY,  # noqa: E402
                       PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, get, headers, literal, request_fields)
from kit import ProcessTest, Script, ScriptedService  # noqa: E402

PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION, CALM = 1, 3, 5, 6, 9, 11


def answered(status):
    def check(test, peer):
        test.assertEqual(peer.answer(1).status, status)
        test.assertTrue(peer.is_well())
    return check


def stream(*errors, number=1):
    def check(test, peer):
        answer = peer.answers.setdefault(number, h2.Answer())
        peer.read_until(lambda _: answer.error is not None or answer.status == 400)
        test.assertTrue(answer.error in errors or answer.status == 400, (answer.error, answer.status))
        test.assertTrue(peer.is_well())
    return check


def connection(*errors):
    def check(test, peer):
        goaway = peer.goaway()
        test.assertTrue(goaway is not None and goaway.error in errors or peer.has_ended, peer.frames)
        test.assertTrue(peer.has_ended or peer.ends())
    return check


def well(test, peer):
    test.assertTrue(peer.is_well())


def without(name):
    return [field for field in request_fields() if field[0] != name]


def saying(name, value):
    return [(known, value if known == name else said) for known, said in request_fields()]


def malformed(section, what, fields):
    return (section, what, headers(1, fields), stream(PROTOCOL))


POST = request_fields(method="POST")
LENGTH_5 = request_fields(method="POST", extra=[("content-length", "5")])

ROWS = [
    # Framing and connections.
    ("3.4", "a preface that is none", b"", None),
    ("4.1", "an unknown frame is ignored", frame(0x50, 0xFF, 0, b"x") + get(1), answered(200)),
    ("4.1", "flags that mean nothing are ignored", frame(PING, 0xFE, 0, b"12345678"), well),
    ("4.2", "DATA larger than is allowed", headers(1, POST, END_HEADERS) + frame(DATA, END_STREAM, 1, b"x" * 16385),
     connection(SIZE)),
    ("4.2", "HEADERS larger than is allowed", frame(HEADERS, 5, 1, literal(request_fields(extra=[("x", "a" * 17000)]))),
     connection(SIZE)),
    ("4.3", "a header block that can't be decoded", frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"), connection(COMPRESSION)),
    ("4.3", "another frame within a header block", frame(HEADERS, 1, 1, literal(request_fields())) + h2.ping(),
     connection(PROTOCOL)),
    ("4.3", "a header block of another stream within one", frame(HEADERS, 1, 1, literal(request_fields())) + get(3),
     connection(PROTOCOL)),
    ("5.1", "idle: DATA", frame(DATA, END_STREAM, 1, b"x"), connection(PROTOCOL)),
    ("5.1", "idle: RST_STREAM", h2.reset(1), connection(PROTOCOL)),
    ("5.1", "idle: WINDOW_UPDATE", h2.window_update(1, 100), connection(PROTOCOL)),
    ("5.1", "idle: CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, literal(request_fields())), connection(PROTOCOL)),
    ("5.1", "half closed: DATA", get(1) + frame(DATA, END_STREAM, 1, b"x"), "closed"),
    ("5.1", "half closed: HEADERS", get(1) + get(1), "closed"),
    ("5.1", "closed: DATA behind a reset", headers(1, POST, END_HEADERS) + h2.reset(1) + frame(DATA, END_STREAM, 1, b"x"),
     connection(CLOSED)),
    ("5.1", "closed: HEADERS behind a reset", headers(1, POST, END_HEADERS) + h2.reset(1) + get(1), connection(CLOSED)),
    ("5.1", "closed: DATA of an upload that was refused may still be on its way",
     headers(1, request_fields(method="POST", extra=[("content-length", "99999999999")]), END_HEADERS) +
     frame(DATA, 0, 1, b"x"), "refused"),
    ("5.1.1", "a stream with an even number", get(2), connection(PROTOCOL)),
    ("5.1.1", "a stream with a smaller number than the last is not served", get(5) + get(3), connection(PROTOCOL)),
    ("5.3.1", "a stream that hangs on itself", frame(HEADERS, 0x25, 1, struct.pack(">IB", 1, 5) + literal(request_fields())), "any"),
    ("5.4.1", "GOAWAY from the client", frame(7, 0, 0, struct.pack(">II", 0, 0)) + get(1), "any"),
    ("6.1", "DATA on stream 0", frame(DATA, END_STREAM, 0, b"x"), connection(PROTOCOL)),
    ("6.1", "DATA with more padding than there is", headers(1, POST, END_HEADERS) + frame(DATA, PADDED | END_STREAM, 1, b"\x0ax"),
     connection(PROTOCOL)),
    ("6.2", "HEADERS on stream 0", get(0), connection(PROTOCOL)),
    ("6.2", "HEADERS with more padding than there is", frame(HEADERS, PADDED | 5, 1, b"\xff" + literal(request_fields())),
     connection(PROTOCOL)),
    ("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"\0\0\0\0\5"), connection(PROTOCOL)),
    ("6.3", "PRIORITY of a wrong size", frame(PRIORITY, 0, 1, b"\0\0\0\0"), "any"),
    ("6.4", "RST_STREAM on stream 0", h2.reset(0), connection(PROTOCOL)),
    ("6.4", "RST_STREAM of a wrong size", headers(1, POST, END_HEADERS) + frame(RST_STREAM, 0, 1, b"\0\0\0"), connection(SIZE)),
    ("6.5", "SETTINGS with ACK and a payload", frame(SETTINGS, 1, 0, b"\0\4\0\0\0\1"), connection(SIZE)),
    ("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1), connection(PROTOCOL)),
    ("6.5", "SETTINGS of a wrong size", frame(SETTINGS, 0, 0, b"\0\4\0"), connection(SIZE)),
    ("6.5.2", "ENABLE_PUSH that is neither", h2.settings((2, 2)), connection(PROTOCOL)),
    ("6.5.2", "INITIAL_WINDOW_SIZE above the most", h2.settings((4, 2**31)), connection(FLOW)),
    ("6.5.2", "MAX_FRAME_SIZE below the least", h2.settings((5, 16383)), connection(PROTOCOL)),
    ("6.5.2", "MAX_FRAME_SIZE above the most", h2.settings((5, 2**24)), connection(PROTOCOL)),
    ("6.5.2", "an unknown setting is ignored", h2.settings((0x99, 7)) + get(1), answered(200)),
    ("6.5.3", "SETTINGS are acknowledged", h2.settings(), "acknowledged"),
    ("6.6", "PUSH_PROMISE from a client", frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + literal(request_fields())),
     connection(PROTOCOL)),
    ("6.7", "PING is answered", b"", well),
    ("6.7", "PING with ACK is not", frame(PING, 1, 0, b"12345678"), well),
    ("6.7", "PING on a stream", frame(PING, 0, 1, b"12345678"), connection(PROTOCOL)),
    ("6.7", "PING of a wrong size", frame(PING, 0, 0, b"123456"), connection(SIZE)),
    ("6.8", "GOAWAY on a stream", frame(7, 0, 1, struct.pack(">II", 0, 0)), connection(PROTOCOL)),
    ("6.9", "WINDOW_UPDATE of nothing", h2.window_update(0, 0), connection(PROTOCOL)),
    ("6.9", "WINDOW_UPDATE of nothing on a stream", headers(1, POST, END_HEADERS) + h2.window_update(1, 0), connection(PROTOCOL)),
    ("6.9", "WINDOW_UPDATE of a wrong size", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0"), connection(SIZE)),
    ("6.9.1", "a window of the connection that overflows", h2.window_update(0, 2**31 - 1), connection(FLOW)),
    ("6.9.1", "a window of a stream that overflows", headers(1, POST, END_HEADERS) + h2.window_update(1, 2**31 - 1), stream(FLOW)),
    ("6.10", "CONTINUATIONs put together a head", frame(HEADERS, 1, 1, literal(request_fields()[:2])) +
     frame(CONTINUATION, 0, 1, literal(request_fields()[2:3])) + frame(CONTINUATION, END_HEADERS, 1, literal(request_fields()[3:])),
     answered(200)),
    ("6.10", "CONTINUATION behind the end of a head", get(1) + frame(CONTINUATION, END_HEADERS, 1, literal([("x", "y")])),
     connection(PROTOCOL, CLOSED)),
    ("6.10", "CONTINUATION on stream 0", frame(HEADERS, 1, 1, literal(request_fields())) + frame(CONTINUATION, END_HEADERS, 0, b""),
     connection(PROTOCOL)),
    # HTTP in it.
    ("8.1", "a body in pieces", headers(1, POST, END_HEADERS) + frame(DATA, 0, 1, b"ab") + frame(DATA, END_STREAM, 1, b"c"), answered(200)),
    ("8.1", "trailers", headers(1, POST, END_HEADERS) + frame(DATA, 0, 1, b"ab") + headers(1, [("x-sum", "2")]), answered(200)),
    ("8.1", "trailers that do not end the stream", headers(1, POST, END_HEADERS) + frame(DATA, 0, 1, b"ab") +
     headers(1, [("x-sum", "2")], END_HEADERS), stream(PROTOCOL)),
    ("8.1", "trailers with a pseudo field", headers(1, POST, END_HEADERS) + frame(DATA, 0, 1, b"ab") + headers(1, [(":path", "/")]),
     stream(PROTOCOL)),
    ("8.1.1", "a body shorter than it says", headers(1, LENGTH_5, END_HEADERS) + frame(DATA, END_STREAM, 1, b"abcd"), stream(PROTOCOL)),
    ("8.1.1", "a body longer than it says", headers(1, LENGTH_5, END_HEADERS) + frame(DATA, END_STREAM, 1, b"abcdef"), stream(PROTOCOL)),
    ("8.1.1", "a body longer than it says, in pieces", headers(1, LENGTH_5, END_HEADERS) + frame(DATA, 0, 1, b"abc") +
     frame(DATA, END_STREAM, 1, b"def"), stream(PROTOCOL)),
    ("8.1.1", "a length and no body", headers(1, LENGTH_5), stream(PROTOCOL)),
    malformed("8.1.1", "two lengths", request_fields(extra=[("content-length", "0"), ("content-length", "0")])),
    malformed("8.2.1", "an upper case name", request_fields(extra=[("X-Tenant", "a")])),
    malformed("8.2.1", "CR LF in a value", request_fields(extra=[("x", "a\r\nx-tenant: b")])),
    malformed("8.2.1", "LF in a value", request_fields(extra=[("x", "a\nb")])),
    malformed("8.2.1", "CR in a value", request_fields(extra=[("x", "a\rb")])),
    malformed("8.2.1", "NUL in a value", request_fields(extra=[("x", "a\0b")])),
    malformed("8.2.1", "white space before a value", request_fields(extra=[("x", " a")])),
    malformed("8.2.1", "white space behind a value", request_fields(extra=[("x", "a\t")])),
    malformed("8.2.1", "a colon in a name", request_fields(extra=[("x:y", "a")])),
    malformed("8.2.1", "a space in a name", request_fields(extra=[("x y", "a")])),
    malformed("8.2.1", "a line end in a name", request_fields(extra=[("x: a\r\ny", "a")])),
    malformed("8.2.1", "a name of nothing", request_fields(extra=[("", "a")])),
    malformed("8.2.2", "Connection", request_fields(extra=[("connection", "x-tenant")])),
    malformed("8.2.2", "Transfer-Encoding", request_fields(extra=[("transfer-encoding", "chunked")])),
    malformed("8.2.2", "Upgrade", request_fields(extra=[("upgrade", "websocket")])),
    malformed("8.2.2", "Keep-Alive", request_fields(extra=[("keep-alive", "timeout=5")])),
    malformed("8.2.2", "Proxy-Connection", request_fields(extra=[("proxy-connection", "keep-alive")])),
    malformed("8.2.2", "TE but trailers", request_fields(extra=[("te", "trailers, deflate")])),
    ("8.2.2", "te: trailers", get(1, extra=[("te", "trailers")]), answered(200)),
    ("8.2.3", "cookie crumbs", get(1, extra=[("cookie", "a=1"), ("cookie", "b=2")]), answered(200)),
    malformed("8.3", "an unknown pseudo field", request_fields(extra=[(":test", "a")])[::-1][:1] + request_fields()),
    malformed("8.3", "an answer's pseudo field", [(":status", "200"), *request_fields()]),
    malformed("8.3", "a pseudo field behind the others", [*without(":path"), ("x", "y"), (":path", "/")]),
    malformed("8.3.1", "an empty path", saying(":path", "")),
    malformed("8.3.1", "no method", without(":method")),
    malformed("8.3.1", "no scheme", without(":scheme")),
    malformed("8.3.1", "no path", without(":path")),
    malformed("8.3.1", "no authority and no host", without(":authority")),
    malformed("8.3.1", "two methods", [(":method", "GET"), *request_fields()]),
    malformed("8.3.1", "two schemes", [(":scheme", "http"), *request_fields()]),
    malformed("8.3.1", "two paths", [(":path", "/"), *request_fields()]),
    malformed("8.3.1", "two authorities", [(":authority", "test"), *request_fields()]),
    malformed("8.3.1", "an authority and another host", request_fields(extra=[("host", "other")])),
    malformed("8.3.1", "an authority with a user", saying(":authority", "a@test")),
    malformed("8.3.1", "an absolute path", saying(":path", "http://other/x")),
    malformed("8.3.1", "a path with a space and a version", saying(":path", "/ HTTP/1.1")),
    malformed("8.3.1", "a path with a line end", saying(":path", "/ HTTP/1.1\r\nx: y\r\n\r\nGET /")),
    malformed("8.3.1", "a star that is no OPTIONS", saying(":path", "*")),
    malformed("8.3.1", "a method with a space", saying(":method", "GET /x")),
    malformed("8.3.1", "a scheme that is none of HTTP", saying(":scheme", "ftp")),
    ("8.3.1", "an authority and the same host", get(1, extra=[("host", "test")]), answered(200)),
    ("8.3.1", "a host and no authority", headers(1, [*without(":authority"), ("host", "test")]), answered(200)),
    ("8.5", "CONNECT", headers(1, [(":method", "CONNECT"), (":authority", "test:1")]), answered(405)),
    malformed("8.5", "CONNECT with a path", [(":method", "CONNECT"), (":authority", "test:1"), (":path", "/")]),
    malformed("8441 4", "CONNECT for another protocol, which was not offered",
              [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"), (":authority", "test")]),
    ("10.5.1", "a head that is too large", frame(HEADERS, 1, 1, literal(request_fields(extra=[("x", "a" * 15000)]))) +
     frame(CONTINUATION, 0, 1, literal([("y", "b" * 15000)])) + frame(CONTINUATION, END_HEADERS, 1, literal([("z", "c" * 15000)])),
     answered(431)),
    ("10.5.1", "too many fields", get(1, extra=[("x", "")] * 101), answered(431)),
    ("10.5.1", "too many crumbs", get(1, extra=[("cookie", "a=1")] * 101), answered(431)),
    ("10.5.1", "a target that is too long", get(1, "/" + "a" * 9000), answered(414)),
    # RFC 7541.
    ("7541 2.3.3", "an index that is not there", frame(HEADERS, 5, 1, b"\xff\x00"), connection(COMPRESSION)),
    ("7541 4.2", "a table size above what was allowed", frame(HEADERS, 5, 1, b"\x3f\xe2\x7f" + literal(request_fields())),
     connection(COMPRESSION)),
    ("7541 4.2", "a table size that is not at the beginning", frame(HEADERS, 5, 1, literal(request_fields()) + b"\x20"),
     connection(COMPRESSION)),
    ("7541 5.2", "Huffman padding of more than 7 bits", frame(HEADERS, 5, 1, literal(request_fields()) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
     connection(COMPRESSION)),
    ("7541 5.2", "Huffman with EOS", frame(HEADERS, 5, 1, literal(request_fields()) + b"\x00\x01x\x84\xff\xff\xff\xff"),
     connection(COMPRESSION)),
    ("7541 6.1", "index 0", frame(HEADERS, 5, 1, b"\x80"), connection(COMPRESSION)),
]


def websocket(**other):
    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/x", ":authority": "test"}
    return [(name, value) for name, value in {**fields, **other}.items() if value is not None]


# Where upstream.websocket is on; the service agrees to nothing.
WEBSOCKET_ROWS = [
    ("8441 4", "a protocol that is not known", headers(1, websocket(**{":protocol": "ftp"}), END_HEADERS), answered(501)),
    malformed("8441 4", "GET with a protocol", websocket(**{":method": "GET"})),
    malformed("8441 4", "an extended CONNECT without a path", websocket(**{":path": None})),
    malformed("8441 4", "an extended CONNECT without a scheme", websocket(**{":scheme": None})),
    malformed("8441 4", "an extended CONNECT without an authority", websocket(**{":authority": None})),
    ("8441 4", "CONNECT as it always was", headers(1, [(":method", "CONNECT"), (":authority", "test:1")]), answered(405)),
    malformed("8441 5", "a tunnel that ends with its head", websocket()),
    ("8441 5", "a tunnel with a length", headers(1, websocket(**{"content-length": "3"}), END_HEADERS), stream(PROTOCOL)),
    ("8441 5", "Upgrade beside the protocol", headers(1, websocket(upgrade="websocket"), END_HEADERS), stream(PROTOCOL)),
    ("8441 5", "a success that is no agreement", headers(1, websocket(), END_HEADERS), answered(502)),
]


class Table(ProcessTest):
    def setUp(self):
        seen = self.seen = []

        class Seen(Script):
            def any(self):
                seen.append((self.command, self.path, self.headers.as_string()))
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    while length := int(self.rfile.readline() or b"0", 16):
                        self.rfile.read(length)
                        self.rfile.readline()
                    while self.rfile.readline() not in (b"\r\n", b""):
                        pass
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.say(200)
            do_GET = do_POST = do_OPTIONS = any

        self.service = ScriptedService(Seen)
        self.addCleanup(self.service.close)
        self.made = self.gateway(self.service.address, protocols="http/1.1, h2", threads=1, admission_rate=0,
                                 client_body_buffer="64KiB")

    def check(self, check, peer):
        if callable(check):
            return check(self, peer)
        if check == "acknowledged":
            return self.assertIsNotNone(peer.read_until(lambda read: read.kind == SETTINGS and read.flags & 1))
        if check == "refused":
            self.assertEqual(peer.answer(1).status, 413)
            peer.read_until(lambda read: read.kind == RST_STREAM)
            peer.send(frame(DATA, 0, 1, b"more"), headers(1, [("x-sum", "1")]))
            return self.assertTrue(peer.is_well())
        if check == "closed":  # a stream error, a connection error, or ignored where the frame may still have been on its way
            peer.send(h2.ping(b"and now?"))
            peer.read_until(lambda read: read.kind == PING and read.payload == b"and now?" or read.kind == 7)
            return self.assertTrue(all(read.error in (NO, PROTOCOL, CLOSED) for read in peer.frames if read.kind in (RST_STREAM, 7)))
        peer.send(h2.ping(b"and now?"))
        peer.read_until(lambda read: read.kind == PING or read.kind == 7)

    def test_every_row_of_websocket(self):
        self.made = self.gateway(self.service.address, protocols="http/1.1, h2", threads=1, admission_rate=0,
                                 upstream_websocket="true")
        self.check_rows(WEBSOCKET_ROWS)

    def test_every_row(self):
        self.check_rows(ROWS)

    def check_rows(self, rows):
        for section, what, frames, check in rows:
            if check is None:
                continue
            with self.subTest(f"{section}: {what}"), h2.Peer(self.made.port) as peer:
                self.seen.clear()
                peer.send(frames)
                self.check(check, peer)
                if check is not None and getattr(check, "__qualname__", "").startswith("stream"):
                    self.assertEqual([line for line in self.seen if line[0] == "GET"], [], "it reached the service")
        self.assertEqual(self.made.request(path="/after", method="GET").status, 200)
        self.assertIsNone(self.made.process.poll())

    def test_frames_of_a_stream_that_has_had_its_answer_end_the_connection(self):
        for what, more in (("DATA", frame(DATA, END_STREAM, 1, b"x")), ("HEADERS", get(1))):
            with self.subTest(what), h2.Peer(self.made.port) as peer:
                self.assertEqual(peer.ask(1).status, 200)
                peer.send(more)
                self.assertEqual(peer.goaway().error, CLOSED)
                self.assertTrue(peer.ends())

    def test_a_preface_that_is_none_is_a_request_that_is_none(self):
        for begin in (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n", b"PRI /x HTTP/1.1\r\nHost: a\r\n\r\n"):
            with self.subTest(begin), h2.Peer(self.made.port) as peer:
                pass
            connection_ = h2.socket.create_connection(("127.0.0.1", self.made.port), timeout=20)
            self.addCleanup(connection_.close)
            connection_.sendall(begin)
            said = connection_.recv(1000)
            self.assertTrue(said == b"" or said.startswith(b"HTTP/1.1 400 ") or said[3] in (SETTINGS, 7), said)

    def test_what_goes_on_is_what_was_said(self):
        with h2.Peer(self.made.port) as peer:
            peer.send(get(1, "/x?a=b", [("cookie", "a=1"), ("x-tenant", "t"), ("cookie", "b=2"), ("te", "trailers"),
                                        ("priority", "u=1")]))
            self.assertEqual(peer.answer(1).status, 200)
        method, path, fields = self.seen[0]
        self.assertEqual((method, path), ("GET", "/x?a=b"))
        for line in ("Host: test", "cookie: a=1; b=2", "x-tenant: t", "priority: u=1", "Via: 2.0 classgate"):
            self.assertIn("\n" + line, "\n" + fields)
        self.assertNotIn("te:", fields.lower().replace("date:", ""))


NO = 0

if __name__ == "__main__":
    unittest.main()
