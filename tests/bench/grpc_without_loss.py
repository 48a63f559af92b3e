#!/usr/bin/env python3
"""Calls of gRPC at a steady rate while the gateway is reloaded and upgraded: how many were made and how many failed, by
what their clients heard. Clients are grpcio's, without retries of their own beyond what gRPC calls transparent (a call
that a server has provably not taken); the service is nghttpd. Exit 1 when one failed.
    tests/bench/grpc_without_loss.py [--reloads 100] [--upgrades 20] [--rate 1000] [--pause 0.2]"""
import argparse
import collections
import os
import pathlib
import signal
import socket
import sys
import tempfile
import threading
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from changeable import Changeable  # noqa: E402
from kit import PAUSE, Program, free_port, wait_until  # noqa: E402

CHANNELS = 8  # each a connection
MESSAGE = b"m" * 20
CONF = """
threads = 2
protocols = ["h2", "http/1.1"]
[admission]
rate = 0
workers = 50
queue_size = 1000
"""


class Calls(threading.Thread):
    """`rate` calls a second, whatever becomes of those before."""

    def __init__(self, port, rate):
        super().__init__(daemon=True)
        self.interval, self.is_over, self.made, self.answered = 1 / rate, False, 0, 0
        self.failed, self.lock = collections.Counter(), threading.Lock()
        self.channels = [grpc.insecure_channel(f"127.0.0.1:{port}", options=(
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)))
            for _ in range(CHANNELS)]
        self.methods = [channel.unary_unary("/v1/classify") for channel in self.channels]

    def run(self):
        due = time.monotonic()
        while not self.is_over:
            due += self.interval
            PAUSE.wait(max(0, due - time.monotonic()))
            self.made += 1
            self.methods[self.made % CHANNELS].future(MESSAGE, timeout=30).add_done_callback(self.note)

    def note(self, call):
        error = call.exception()
        with self.lock:
            self.answered += 1
            if error is not None:
                self.failed[f"{call.code().name}: {call.details()} {dict(call.trailing_metadata() or ()).get('x-classgate-reason', '')}"] += 1
            elif call.result() != MESSAGE:
                self.failed["another answer"] += 1

    def end(self):
        self.is_over = True
        self.join(30)
        wait_until(lambda: self.answered == self.made, "the last calls", 60)


def serve(folder):
    """Every call is answered with one message and the trailer of a call that went well."""
    pathlib.Path(folder, "v1").mkdir()
    pathlib.Path(folder, "v1", "classify").write_bytes(b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE)
    port = free_port()
    server = Program(["/usr/sbin/nghttpd", "--no-tls", "--trailer", "grpc-status: 0", "-d", folder, port])

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    wait_until(listens, "nghttpd to listen", 30)
    return server, port


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--upgrades", type=int, default=20)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds before each change")
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="classgate-bench-") as folder:
        server, port = serve(folder)
        gateway = Changeable(f"h2c://127.0.0.1:{port}", conf=CONF)

        def reload():
            gateway.signal(signal.SIGHUP)

        def upgrade():
            before = gateway.pids()
            os.kill(before[-1], signal.SIGUSR2)
            try:  # a process that has not begun to serve yet would be ended by the next signal
                wait_until(lambda: gateway.pids()[-1] not in before and
                           f"process {gateway.pids()[-1]} takes over" in gateway.err(), "the new process", 20)
            except AssertionError as error:
                raise AssertionError(f"{error}:\n{gateway.err()[-2000:]}") from error

        try:
            for name, change, times in (("reloads", reload, given.reloads), ("upgrades", upgrade, given.upgrades)):
                calls = Calls(gateway.port, given.rate)
                calls.start()
                began = time.monotonic()
                for _ in range(times):
                    PAUSE.wait(given.pause)
                    change()
                PAUSE.wait(given.pause)
                took = time.monotonic() - began
                calls.end()
                failed += sum(calls.failed.values())
                print(f"{times} {name} in {took:.1f} s: {calls.made} calls ({calls.made / took:.0f}/s), "
                      f"{sum(calls.failed.values())} failed {dict(calls.failed) or ''}", flush=True)
        finally:
            gateway.end()
            server.end()
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # grpcio 1.51 may end a process that takes its channels apart


if __name__ == "__main__":
    main()
