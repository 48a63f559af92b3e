#!/usr/bin/env python3
"""gRPC through the gateway, by a real client and a real server: all four forms, their trailers and their deadlines."""
import queue
import re
import socket
import subprocess

import grpc
import grpc_kit
from grpc_kit import EchoClient, GrpcService
from kit import CLASSGATE, ProcessTest, clean_environment, wait_until


class GrpcTest(ProcessTest):
    def before(self, **settings):
        service = GrpcService()
        self.addCleanup(service.close)
        gateway = self.gateway(service.address, **{"protocols": "http/1.1, h2", "threads": 1, "admission_rate": 0,
                                                   **settings})
        client = EchoClient(gateway.port)
        self.addCleanup(client.close)
        return service, gateway, client


class Forms(GrpcTest):
    def test_unary(self):
        service, _, client = self.before()
        for message in (b"", b"a", b"b" * 1_000_000):
            answer, call = client.unary.with_call(message, timeout=30, metadata=(("x-said", "by the client"),))
            self.assertEqual(answer, b"<" + message + b">")
            self.assertEqual(call.code(), grpc.StatusCode.OK)
            self.assertEqual(dict(call.initial_metadata())["x-first"], "1")
            trailers = dict(call.trailing_metadata())
            self.assertEqual((trailers["x-last"], trailers["x-data-bin"]), ("2", b"\x00\xff"))
        metadata, remaining = service.calls[-1]
        self.assertEqual(metadata["x-said"], "by the client")
        self.assertTrue(metadata["user-agent"].startswith("grpc-python"))
        self.assertLess(remaining, 31)

    def test_an_error_of_the_service_is_its_own(self):
        _, _, client = self.before()
        with self.assertRaises(grpc.RpcError) as raised:
            client.fail(b"x", timeout=30)
        self.assertEqual((raised.exception.code(), raised.exception.details()),
                         (grpc.StatusCode.INVALID_ARGUMENT, "not this: x"))
        self.assertEqual(dict(raised.exception.trailing_metadata())["x-why"], "told")
        with self.assertRaises(grpc.RpcError) as raised:  # Trailers-Only
            client.none(b"x", timeout=30)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_streams_of_answers(self):
        _, _, client = self.before()
        self.assertEqual(list(client.down(b"1000", timeout=30)), [str(i).encode() for i in range(1000)])
        self.assertEqual(list(client.down(b"0", timeout=30)), [])

    def test_streams_of_requests(self):
        _, _, client = self.before()
        parts = [str(i).encode() for i in range(1000)]
        self.assertEqual(client.up(iter(parts), timeout=30), b",".join(parts))
        self.assertEqual(client.up(iter([]), timeout=30), b"")
        self.assertEqual(len(client.up(iter([b"x" * 100_000] * 20), timeout=30)), 20 * 100_001 - 1)

    def test_a_message_is_answered_before_the_next_one_is_said(self):
        _, gateway, client = self.before()
        says = queue.SimpleQueue()
        answers = client.both(iter(says.get, None), timeout=60)
        for word in (b"one", b"two", b"three"):
            says.put(word)
            self.assertEqual(next(answers), word.upper())
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "it holds its worker")
        says.put(None)
        self.assertEqual(list(answers), [])
        self.assertEqual(answers.code(), grpc.StatusCode.OK)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "it has given it back")

    def test_a_stream_may_be_silent_for_longer_than_an_upload(self):
        _, gateway, client = self.before(client_body_timeout="100ms", client_body_rate_min="1MiB")
        says = queue.SimpleQueue()
        answers = client.both(iter(says.get, None), timeout=60)
        says.put(b"a")
        self.assertEqual(next(answers), b"A")
        other = client.both(iter([b"x"] * 200), timeout=60)
        self.assertEqual(len(list(other)), 200)
        for _ in range(3):  # an upload that begins now, and is silent likewise, is cut
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as upload:
                upload.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
                self.assertTrue(upload.recv(100).startswith(b"HTTP/1.1 408 "))
        says.put(b"b")
        self.assertEqual(next(answers), b"B")
        says.put(None)
        self.assertEqual(list(answers), [])

    def test_many_at_once_over_one_connection(self):
        _, _, client = self.before(admission_workers=8)
        calls = [client.unary.future(str(i).encode(), timeout=60) for i in range(500)]
        self.assertEqual([call.result() for call in calls], [b"<%d>" % i for i in range(500)])


class Checks(GrpcTest):
    def test_the_health_protocol_tells_whether_a_server_gets_requests(self):
        service, gateway, client = self.before(upstream_check_grpc="true", upstream_check_interval="20ms",
                                               upstream_check_rise=1, upstream_check_fall=1)
        gateway.wait_for_text("upstream .*: reachable", gateway.err)
        self.assertEqual(client.unary(b"a", timeout=30), b"<a>")
        self.assertEqual(set(service.checks), {b""})
        service.is_serving = False
        gateway.wait_for_text("check: it says NOT_SERVING", gateway.err)
        service.is_serving = True
        wait_until(lambda: len(re.findall("upstream .*: reachable", gateway.err())) == 2, "it serves again")
        self.assertEqual(client.unary(b"b", timeout=30), b"<b>")

    def test_a_server_without_it_is_told_so(self):
        service, gateway, _ = self.before(upstream_check_grpc="true", upstream_check_interval="20ms",
                                          upstream_check_fall=1)
        service.knows_health = False
        gateway.wait_for_text(r"check: it has no grpc.health.v1.Health \(UNIMPLEMENTED\)", gateway.err)

    def test_all_servers_must_speak_it(self):
        status, _, err = self.run_check("127.0.0.1:1")
        self.assertEqual(status, 1, err)
        self.assertIn('"127.0.0.1:1" cannot be asked by upstream.check.grpc: write h2c://', err)
        self.assertEqual(self.run_check("h2c://127.0.0.1:1")[0], 0)

    def run_check(self, server):
        environment = clean_environment({"CLASSGATE_UPSTREAM_SERVERS": server, "CLASSGATE_UPSTREAM_CHECK_GRPC": "true"})
        done = subprocess.run([CLASSGATE, "--conf", "/dev/null", "--check"], env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stdout + done.stderr


class Ends(GrpcTest):
    def test_who_cancels_has_the_service_know(self):
        service, gateway, client = self.before(upstream_on_client_abort="cancel")
        call = client.slow.future(b"x", timeout=60)
        wait_until(lambda: service.calls, "it is there")
        call.cancel()
        self.assertTrue(service.left.wait(20))
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "its worker is free")

    def test_a_service_that_is_gone_is_unavailable(self):
        service, gateway, client = self.before()
        self.assertEqual(client.unary(b"a", timeout=30), b"<a>")
        service.server.stop(None).wait(20)
        with self.assertRaises(grpc.RpcError) as raised:
            client.unary(b"a", timeout=30)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    grpc_kit.main()
