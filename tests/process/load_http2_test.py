#!/usr/bin/env python3
"""classgate load --h2 against servers that break HTTP/2 and stay connected: each call is counted, and it ends."""
import json
import socket
import struct
import subprocess
import unittest

import http2_kit as h2
from kit import CLASSGATE, FolderTest, clean_environment, serve_each, stop_listening

WORKLOAD = """duration = "500ms"
[[class]]
rate = 40
arrivals = "regular"
clients = 5
patience = "400ms"
"""
BROKEN = r"nothing answered: \d+ answers that break HTTP/2$"
NONE = r"nothing answered: no answer came in time$"
PROMISE = struct.pack(">I", 2) + h2.literal(h2.request_fields())
# What comes first, what comes to each request, and the reason that load gives.
SERVERS = {
    "rubbish": (b"\x00\xff" * 500, None, BROKEN),
    "HTTP/1": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", None,
               r"nothing answered: \d+ answers of HTTP/1: it does not speak HTTP/2$"),
    "SETTINGS of 3 bytes": (h2.frame(h2.SETTINGS, payload=b"abc"), None, BROKEN),
    "a frame may have 1 byte": (h2.settings((5, 1)), None, BROKEN),
    "DATA first": (h2.frame(h2.DATA, payload=b"abc"), None, BROKEN),
    "bad HPACK": (h2.settings(), lambda stream: h2.frame(h2.HEADERS, 5, stream, b"\xff" * 6), BROKEN),
    "PUSH_PROMISE": (h2.settings(), lambda stream: h2.frame(h2.PUSH_PROMISE, h2.END_HEADERS, stream, PROMISE), BROKEN),
    "no status": (h2.settings(), lambda stream: h2.headers(stream, [("x", "200")]), BROKEN),
    "halves of frames": (h2.settings(), lambda stream: h2.headers(stream, [(":status", "200")])[:7], BROKEN),
    "half a frame": (h2.settings() + h2.headers(1, [(":status", "200")])[:7], None, NONE),
    "silence": (b"", None, NONE),
    "REFUSED_STREAM": (h2.settings(), lambda stream: h2.reset(stream, h2.REFUSED_STREAM),
                       r"nothing answered: \d+ requests refused \(REFUSED_STREAM or GOAWAY\)$"),
    "RST_STREAM": (h2.settings(), lambda stream: h2.reset(stream, 2),
                   r"nothing answered: \d+ requests reset \(RST_STREAM\)$"),
}


class RawServer:
    """Says bytes, and keeps each connection open until its client closes it."""

    def __init__(self, first, answer):
        self.first, self.answer = first, answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        serve_each(self.listener, self.serve)

    def serve(self, connection):
        with connection:
            try:
                connection.settimeout(30)
                connection.sendall(self.first)
                self.answer_all(connection)
            except OSError:
                pass

    def answer_all(self, connection):
        held, begin = b"", len(h2.PREFACE)
        while part := connection.recv(65536):
            held += part
            while self.answer and len(held) >= begin + 9:
                end = begin + 9 + int.from_bytes(held[begin:begin + 3], "big")
                if len(held) < end:
                    break
                if held[begin + 3] == h2.HEADERS:
                    connection.sendall(self.answer(int.from_bytes(held[begin + 5:begin + 9], "big")))
                begin = end

    def close(self):
        stop_listening(self.listener)


class LoadAgainstBrokenHttp2(FolderTest):
    def test_every_call_is_counted_and_the_end_comes_with_a_reason(self):
        words = ("--workload", self.file("w.toml", WORKLOAD), "--h2", "--streams", "5", "--time", "2s", "--json")
        begun = {}
        for name, (first, answer, _) in SERVERS.items():
            server = RawServer(first, answer)
            self.addCleanup(server.close)
            begun[name] = subprocess.Popen([CLASSGATE, "load", "--to", server.address, *words], text=True,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
            self.addCleanup(begun[name].kill)
        for name, load in begun.items():
            with self.subTest(name):
                out, error = load.communicate(timeout=30)
                self.assertEqual(load.returncode, 1, error)
                self.assertRegex(error.strip(), SERVERS[name][2])
                of_all = json.loads(out)["all"]
                self.assertGreater(of_all["arrived"], 10)
                self.assertEqual(of_all["served"], 0)
                self.assertEqual(sum(of_all["failed"].values()) + of_all["abandoned"], of_all["arrived"], of_all)


if __name__ == "__main__":
    unittest.main()
