#!/usr/bin/env python3
"""KEDA's external scaler: externalscaler.ExternalScaler on ops.listen, by a real client of gRPC."""
import os
import socket
import struct
import time

import grpc
import grpc_kit
from kit import FolderTest, wait_until

HEADER = "time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ACTIVE = b"\x08\x01"


def frame(kind, payload=b"", flags=0, stream=0):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def field(number, payload):
    assert len(payload) < 128
    return bytes((number << 3 | 2, len(payload))) + payload


def reference(**metadata):
    return field(1, b"model") + field(2, b"default") + b"".join(
        field(3, field(1, key.encode()) + field(2, value.encode())) for key, value in metadata.items())


def metric(message):
    """(name, whole, number) of the one in a GetMetricSpecResponse or GetMetricsResponse."""
    assert message[0] == 0x0a and message[1] == len(message) - 2, message
    inner = message[2:]
    size = inner[1]
    rest = inner[2 + size:]
    assert rest[0] == 0x10 and rest[1] < 128 and rest[2] == 0x19 and len(rest) == 11, rest
    return inner[2:2 + size].decode(), rest[1], struct.unpack("<d", rest[3:])[0]


class ExternalScaler(FolderTest):
    def open(self, minutes=0, **settings):
        demand = self.folder / "demand"
        now = int(time.time()) // 60 * 60
        if minutes:
            demand.write_text(HEADER + "".join(
                f"{now - ago * 60},600,0,0,600,0,0,60\n" for ago in range(minutes, 0, -1)))
        service = self.service("--service-time", "1ms")
        return self.gateway(service.address, **{"forecast_file": demand, **settings})

    def client(self, gateway):
        channel = grpc.insecure_channel(f"127.0.0.1:{gateway.ops_port}", options=(
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)))
        grpc_kit.KEPT.append(channel)
        self.addCleanup(channel.close)

        def call(name, message=b"", **more):
            return channel.unary_unary("/externalscaler.ExternalScaler/" + name)(message, timeout=20, **more)
        call.channel = channel
        return call

    def code_of(self, call, *words, **more):
        with self.assertRaises(grpc.RpcError) as told:
            call(*words, **more)
        return told.exception.code(), told.exception.details()

    def test_what_keda_asks_is_answered_from_the_forecast(self):
        gateway = self.open(30)
        call = self.client(gateway)
        self.assertEqual(call("IsActive", reference()), ACTIVE)
        self.assertEqual(metric(call("GetMetricSpec", reference())), ("servers_needed", 1, 1.0))
        wanted = reference(metric="demand", targetSize="2.5")
        self.assertEqual(metric(call("GetMetricSpec", wanted)), ("demand", 3, 2.5))

        def demand():
            try:
                return metric(call("GetMetrics", field(1, wanted)))
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return None
        name, whole, number = wait_until(demand, "a forecast")
        self.assertEqual(name, "demand")
        self.assertGreaterEqual(number, 10 * 0.9)  # 600 a minute
        self.assertEqual(whole, -(-number // 1))

    def test_what_is_not_known_or_not_there_is_told_with_its_code(self):
        call = self.client(self.open())
        code, why = self.code_of(call, "GetMetrics", field(1, reference()))
        self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        self.assertIn("yet", why)
        self.assertEqual(self.code_of(call, "Other")[0], grpc.StatusCode.UNIMPLEMENTED)
        code, why = self.code_of(call, "GetMetricSpec", reference(metric="cpu"))
        self.assertEqual((code, why), (grpc.StatusCode.INVALID_ARGUMENT,
                                       'metric: "cpu": servers_needed, workers_needed or demand'))
        self.assertEqual(self.code_of(call, "IsActive", b"\x0a\x7f")[0], grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(self.code_of(call, "IsActive", b"\x0a" * 70_000)[0], grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(call("IsActive"), ACTIVE)  # and the connection goes on

    def test_a_stream_tells_at_once_and_once_a_minute(self):
        gateway = self.open(30)
        call = self.client(gateway)
        told = call.channel.unary_stream("/externalscaler.ExternalScaler/StreamIsActive")(reference(), timeout=150)
        self.assertEqual(next(told), ACTIVE)
        self.assertEqual(call("IsActive"), ACTIVE)  # beside it
        self.assertEqual(next(told), ACTIVE)  # of the next minute
        self.assertEqual(gateway.request("GET", "/queue/health").status, 200)
        told.cancel()

    def test_a_token_is_wanted_where_everything_wants_one(self):
        tokens = self.file("tokens", "0123456789abcdef0123456789abcdef\n")
        os.chmod(tokens, 0o600)
        call = self.client(self.open(ops_token_file=tokens, ops_token_for="everything"))
        self.assertEqual(self.code_of(call, "IsActive")[0], grpc.StatusCode.UNAUTHENTICATED)
        bearer = (("authorization", "Bearer 0123456789abcdef0123456789abcdef"),)
        self.assertEqual(call("IsActive", metadata=bearer), ACTIVE)

    def test_what_is_no_http2_and_what_is_no_grpc_end_one_connection(self):
        gateway = self.open()
        for sent in (PREFACE + b"\xff" * 100, PREFACE + frame(0x0), PREFACE + frame(0x4) + frame(0x9, b"x", 4, 1),
                     PREFACE[:-1] + b"x", b"PRI * HTTP/2.0\r\n\r\n" + b"x" * 1000):
            with self.subTest(sent=sent[:40]), socket.create_connection(("127.0.0.1", gateway.ops_port), 10) as one:
                one.sendall(sent)
                got = b""
                while part := one.recv(65536):
                    got += part
                self.assertTrue(got)
        # By bytes: the preface alone is nothing yet.
        with socket.create_connection(("127.0.0.1", gateway.ops_port), 10) as one:
            for i in range(len(PREFACE)):
                one.sendall(PREFACE[i:i + 1])
            one.sendall(frame(0x4))
            got = b""
            while len(got) < 9:
                got += one.recv(65536)
            self.assertEqual(got[3], 0x4)
        self.assertEqual(gateway.request("GET", "/queue/health").status, 200)
        self.assertEqual(self.client(gateway)("IsActive"), ACTIVE)


if __name__ == "__main__":
    grpc_kit.main()
