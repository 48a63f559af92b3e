#!/usr/bin/env python3
"""What classgate load asks: byte for byte what its user says."""
import json
import re
import socket
import subprocess
import threading
import unittest

from http2_service import Http2Service
from kit import CLASSGATE, FolderTest, clean_environment, serve_each, stop_listening

CLASS = """[[class]]
name = "{name}"
rates = ["0s 10", "{length} 0"]
arrivals = "regular"
{rest}
"""


class Recorder:
    """A service that answers 200 to everything and remembers all bytes of each request."""

    def __init__(self):
        self.requests = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        serve_each(self.listener, self.serve)

    def serve(self, connection):
        held = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in held:
                    part = connection.recv(65536)
                    if not part:
                        return
                    held += part
                head, rest = held.split(b"\r\n\r\n", 1)
                length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
                size = int(length.group(1)) if length else 0
                while len(rest) < size:
                    part = connection.recv(65536)
                    if not part:
                        return
                    rest += part
                held = rest[size:]
                with self.lock:
                    self.requests.append(head + b"\r\n\r\n" + rest[:size])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def close(self):
        stop_listening(self.listener)


class Questions(FolderTest):
    def setUp(self):
        super().setUp()
        self.service = Recorder()
        self.addCleanup(self.service.close)

    def workload(self, *classes, top=""):
        """Of each class one request, or as many as it says."""
        text = 'duration = "2s"\n' + top + "\n"
        for i, rest in enumerate(classes):
            rest, count = rest if isinstance(rest, tuple) else (rest, 1)
            text += CLASS.format(name=f"c{i}", length=f"{count * 100 + 50}ms", rest=rest)
        return self.file("w.toml", text)

    def load(self, *words, status=0, path="", to=None):
        done = subprocess.run([CLASSGATE, "load", "--to", (to or f"http://{self.service.address}") + path, *words],
                              capture_output=True, text=True, timeout=100, env=clean_environment())
        if status is not None:
            self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_a_request_in_a_file_is_what_is_asked_byte_for_byte(self):
        body = b'{"inputs": [{"name": "x", "data": [1, 2]}]}\r\n\x00\xff\n'
        request = self.file("r.http", b"POST /v2/models/m/infer?v=1%202 HTTP/1.1\nHost: models.example\n"
                            b"x-api-key:alpha\nContent-Type: application/octet-stream\n\n" + body)
        self.load("--workload", self.workload("path = \"/elsewhere\""), "--request", request, "-H", "X-More: a, b")
        self.assertEqual(self.service.requests, [
            b"POST /v2/models/m/infer?v=1%202 HTTP/1.1\r\nHost: models.example\r\nx-api-key: alpha\r\n"
            b"Content-Type: application/octet-stream\r\nX-More: a, b\r\nContent-Length: " +
            str(len(body)).encode() + b"\r\n\r\n" + body])

    def test_nothing_but_host_and_length_is_added_to_a_request(self):
        self.load("--workload", self.workload("", "path = \"/v1/classify\""), "--request",
                  self.file("r.http", "DELETE /things/5\n"))
        host = self.service.address.encode()
        self.assertEqual(self.service.requests,
                         2 * [b"DELETE /things/5 HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 0\r\n\r\n"])

    def test_with_a_body_it_is_post_whatever_the_path(self):
        body = b'{"inputs": "hello"}'
        words = ("--workload", self.workload('path = "/embed"'), "--body", self.file("b.json", body))
        self.load(*words)
        self.load(*words, "--method", "PUT", "-H", "Content-Type: text/x")
        host = b"Host: " + self.service.address.encode() + b"\r\n"
        self.assertEqual(self.service.requests, [
            b"POST /embed HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nContent-Length: 19\r\n\r\n" + body,
            b"PUT /embed HTTP/1.1\r\n" + host + b"Content-Type: text/x\r\nContent-Length: 19\r\n\r\n" + body])

    def test_by_http2_requests_share_connections(self):
        service = Http2Service(streams=4)
        self.addCleanup(service.close)
        body = self.file("b.json", b"x" * 100_000)
        done = self.load("--workload", self.workload(('path = "/slow"', 1), ('path = "/both-ways"', 5)), "--h2", "--streams", "8",
                         "--body", body, "-H", "Host: model.example", to=f"http://127.0.0.1:{service.port}")
        self.assertIn("answers: 2xx 6, 3xx 0, 4xx 0, 5xx 0\n", done.stdout)
        self.assertEqual({(request.field(":method"), request.field(":authority"), len(request.body)) for request in service.requests},
                         {("POST", "model.example", 100_000)})
        self.assertEqual(len(service.connections), 1)

    def test_calls_of_grpc_are_counted_by_their_status(self):
        service = Http2Service()
        self.addCleanup(service.close)
        message = self.file("m.bin", b"\x0a\x01\x00")
        words = ("--workload", self.workload(("", 3)), "--body", message)
        to = f"http://127.0.0.1:{service.port}"
        self.assertIn("answers: OK 3\n", self.load(*words, "--grpc", "/pkg.Echo/Say", to=to).stdout)
        self.assertEqual({(request.body, request.field("content-type"), request.field("te")) for request in service.requests},
                         {(b"\0\0\0\0\x03\x0a\x01\x00", "application/grpc", "trailers")})
        told = json.loads(self.load(*words, "--grpc", "/pkg.Echo/Refuse", "--json", to=to).stdout)
        self.assertEqual(told["answers"]["grpc_status"], {"8": 3})
        done = self.load(*words, "--grpc", "/pkg.Echo/Refuse", to=to)
        self.assertIn("answers: RESOURCE_EXHAUSTED 3\n", done.stdout)
        for wrong, why in ((("--grpc", "Echo"), "is no method such as"), (("--streams", "3"), "belongs to --h2 or --grpc"),
                           (("--grpc", "/a/B", "--method", "GET"), "not with --method"),
                           (("--h2", "--streams", "0"), "is not 1 to 10000")):
            self.assertIn(why, self.load(*words, *wrong, to=to, status=None).stderr)

    def test_a_body_has_the_size_that_is_wished(self):
        for size in ("0", "1", "4000", "64KiB"):
            self.load("--workload", self.workload('path = "/embed"'), "--body-bytes", size)
        bodies = [request.split(b"\r\n\r\n", 1)[1] for request in self.service.requests]
        self.assertEqual([len(body) for body in bodies], [0, 1, 4000, 65536])
        json.loads(bodies[2])
        self.assertTrue(all(request.startswith(b"POST /embed ") for request in self.service.requests))

    def test_each_class_has_its_method_and_its_clients_their_keys(self):
        self.load("--workload", self.workload(
            ('key = "gold"\nmethod = "PUT"', 2), ('clients = 3\nkey = ["a", "b", "Bearer c"]', 4), "",
            top='key_header = "X-Api-Key"'))
        seen = [(request.split(b" ", 1)[0], re.findall(rb"X-Api-Key: ([^\r]*)", request))
                for request in self.service.requests]
        self.assertEqual([method for method, keys in seen if keys == [b"gold"]], 2 * [b"PUT"])
        self.assertEqual([keys for method, keys in seen if method == b"POST" and keys and keys != [b"gold"]],
                         [[b"a"], [b"b"], [b"Bearer c"], [b"a"]])
        self.assertEqual([method for method, keys in seen if not keys], [b"POST"])

    def test_the_knee_is_looked_for_with_the_question_that_is_given(self):
        body = self.file("b.json", '{"prompt": "x"}')
        done = self.load("--find-knee", "--time", "2s", "--body", body, "-H", "Authorization: Bearer t",
                         path="/v1/completions?x=1", status=None)
        self.assertIn("POST /v1/completions with a body of 15 bytes", done.stdout)
        self.assertEqual(set(self.service.requests), {
            b"POST /v1/completions?x=1 HTTP/1.1\r\nHost: " + self.service.address.encode() +
            b"\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
            b'{"prompt": "x"}'})

    def test_a_log_is_asked_with_the_body_and_the_fields_that_are_given(self):
        line = ('time=2026-11-24T09:00:00.{ms:03}Z id=x client=192.0.2.1 method={method} path="{path}" route="/" '
                'priority=3 verdict=admitted reason=- cost=1 deadline_ms=1000.000 upload_ms=0.000 wait_ms=0.000 '
                'upstream_ms=0.500 total_ms=0.500 status=200 bytes_in={size} bytes_out=0 upstream=- retries=0 tls=-\n')
        log = self.file("access.log", line.format(ms=1, method="GET", path="/health", size=0) +
                        line.format(ms=20, method="PUT", path="/embed", size=900))
        self.load("--log", log, "--body", self.file("b", "hello"), "-H", "X-A: 1")
        host = b"Host: " + self.service.address.encode() + b"\r\n"
        self.assertEqual(self.service.requests, [
            b"GET /health HTTP/1.1\r\n" + host + b"X-A: 1\r\n\r\n",
            b"PUT /embed HTTP/1.1\r\n" + host +
            b"X-A: 1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"])

    def test_what_cannot_be_asked_is_told_before_anything_is_sent(self):
        workload = self.workload('key = "secret"', top='key_header = "X-Api-Key"')
        bad = self.file("r.http", "POST /x HTTP/1.1\nX-Api-Key secret\n\n")
        for words, told in ((("--request", bad), f"{bad}:2:10: is no field such as"),
                            (("--request", bad, "--body", bad), "the file of --request tells the body: not with --body"),
                            (("--body", "/nowhere"), "--body: /nowhere cannot be read: No such file"),
                            (("-H", "x-api-key: other"), "X-Api-Key is the key_header of the workload, and stands in")):
            with self.subTest(words):
                done = self.load("--workload", workload, *words, status=1)
                self.assertIn(told, done.stderr)
                self.assertNotIn("secret", done.stderr)
                self.assertEqual(done.stdout, "")
        self.assertEqual(self.service.requests, [])


if __name__ == "__main__":
    unittest.main()
