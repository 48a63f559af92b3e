"""gRPC by python3-grpcio with bytes for messages: a service with one method of each form, and clients of it."""
import contextlib
import os
import sys
import threading
import unittest
from concurrent import futures

import grpc


class EchoHandlers(grpc.GenericRpcHandler):
    """/test.Echo/Unary, /Down (n answers), /Up (one answer with all), /Both (an answer to each message); /Fail."""

    def __init__(self, service):
        self.service_of = service

    def service(self, details):
        name = details.method.rpartition("/")[2]
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both)}
        if details.method == "/grpc.health.v1.Health/Check" and self.service_of.knows_health:
            return grpc.unary_unary_rpc_method_handler(self.check)
        return handlers.get(name)

    def note(self, context):
        self.service_of.calls.append((dict(context.invocation_metadata()), context.time_remaining()))
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"), ("x-data-bin", b"\x00\xff")))

    def unary(self, request, context):
        self.note(context)
        return b"<" + request + b">"

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "told"),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this: " + request.decode())

    def slow(self, request, context):
        context.add_callback(self.service_of.left.set)
        self.note(context)
        self.service_of.release.wait(60)
        return request

    def down(self, request, context):
        self.note(context)
        for i in range(int(request)):
            yield str(i).encode()

    def up(self, requests, context):
        self.note(context)
        return b",".join(requests)

    def both(self, requests, context):
        self.note(context)
        for request in requests:
            yield request.upper()

    def check(self, request, context):
        self.service_of.checks.append(request)
        return b"\x08" + (b"\x01" if self.service_of.is_serving else b"\x02")


# grpcio 1.51 ends the process where a server or a channel goes while a thread of it still looks at it ("pure virtual
# method called", once in some runs on a busy machine): none goes before the process does.
KEPT = []


def main():
    """As unittest.main(), but that nothing of grpcio is taken apart afterwards."""
    result = unittest.main(exit=False, module="__main__").result
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if result.wasSuccessful() else 1)


class GrpcService:
    def __init__(self):
        self.calls, self.checks = [], []
        self.left, self.release = threading.Event(), threading.Event()
        self.is_serving = self.knows_health = True
        self.server = grpc.server(futures.ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        self.server.add_generic_rpc_handlers((EchoHandlers(self),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"h2c://127.0.0.1:{self.port}"
        self.server.start()
        KEPT.append(self)

    def close(self):
        self.release.set()
        self.server.stop(None).wait(20)


class EchoClient:
    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=(
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)))
        self.unary = self.channel.unary_unary("/test.Echo/Unary")
        self.fail = self.channel.unary_unary("/test.Echo/Fail")
        self.slow = self.channel.unary_unary("/test.Echo/Slow")
        self.none = self.channel.unary_unary("/test.Echo/None")
        self.down = self.channel.unary_stream("/test.Echo/Down")
        self.up = self.channel.stream_unary("/test.Echo/Up")
        self.both = self.channel.stream_stream("/test.Echo/Both")
        KEPT.append(self.channel)

    def close(self):
        with contextlib.suppress(ValueError):
            self.channel.close()
