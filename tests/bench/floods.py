#!/usr/bin/env python3
"""What a flood from one address leaves to others, under the default conf: for each path that is flooded, the share
of the requests of well-behaved clients (each from an address of its own) that were answered with 200, and their wait.
    tests/bench/floods.py [SECONDS]          of each flood; default: 10
    --program PATH    another classgate        --service-ms N   what the service takes for a request; default: 20"""
import argparse
import http.client
import pathlib
import socket
import sys
import threading
import time

from bench import Gateway, Upstream
from kit import CLASSGATE, TEXT, PAUSE, raw_request

FLOOD = "127.0.0.2"
CONNECTIONS = 100  # of the flood
GOOD = 10          # clients, a request each 0.3 s: 33 a second of the 100 that the gateway lets in
PATHS = {
    "nothing": None,
    "/health": b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "/health, POST": raw_request("/health"),
    "/status": b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n",
    "/v1/classify": raw_request(),
    "/v1/classify/batch": raw_request("/v1/classify/batch", '{"texts": ["we bake bread"]}'),
    "an unknown path": raw_request("/echo"),
    "/queue/health": b"GET /queue/health HTTP/1.1\r\nHost: a\r\n\r\n",
}


def flood(port, request, end):
    """Each connection asks again as soon as it is answered."""
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 5, (FLOOD, 0)) as connection:
                while time.monotonic() < end:
                    connection.sendall(request)
                    if not connection.recv(65536):
                        break
        except OSError:
            PAUSE.wait(0.05)


class Good(threading.Thread):
    """One well-behaved client: a probe of /health now and then, else what the service is for."""

    def __init__(self, number, port, end):
        super().__init__()
        self.address = f"127.0.0.{3 + number}"
        self.port = port
        self.end = end
        self.answers = []
        self.waits = []

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2, source_address=(self.address, 0))
        count = 0
        while time.monotonic() < self.end:
            began = time.monotonic()
            method, path = [("POST", "/v1/classify"), ("POST", "/v1/classify"), ("GET", "/health")][count % 3]
            count += 1
            try:
                connection.request(method, path, TEXT if method == "POST" else None)
                answer = connection.getresponse()
                answer.read()
                self.answers.append(answer.status)
            except (OSError, http.client.HTTPException):
                self.answers.append("broken")
                connection.close()
            self.waits.append(time.monotonic() - began)
            PAUSE.wait(max(0, began + 0.3 - time.monotonic()))
        connection.close()


def row(name, request, options):
    with_service = Upstream(service_us=1000 * options.service_ms)
    gate = Gateway(with_service.address, program=options.program)
    try:
        end = time.monotonic() + options.seconds + 1
        crowd = []
        if request:
            crowd = [threading.Thread(target=flood, args=(gate.port, request, end)) for _ in range(CONNECTIONS)]
        for one in crowd:
            one.start()
        PAUSE.wait(1)  # the flood is there first
        good = [Good(number, gate.port, end) for number in range(GOOD)]
        for one in good:
            one.start()
        for one in good + crowd:
            one.join()
        answers = [status for one in good for status in one.answers]
        waits = sorted(wait for one in good for wait in one.waits)
        total = gate.health()["total_requests"]
        print(f"| {name} | {total} | {len(answers)} | {100 * answers.count(200) / len(answers):.1f} % | "
              f"{1000 * waits[len(waits) // 2]:.0f} | {1000 * waits[len(waits) * 95 // 100]:.0f} |", flush=True)
    finally:
        gate.end()
        with_service.end()


def main():
    table = argparse.ArgumentParser()
    table.add_argument("seconds", nargs="?", type=float, default=10)
    table.add_argument("--program", type=pathlib.Path, default=CLASSGATE)
    table.add_argument("--service-ms", type=int, default=20)
    options = table.parse_args()
    print("| flooded | requests in all | of the good | answered 200 | median ms | p95 ms |\n"
          "| --- | --- | --- | --- | --- | --- |")
    for name, request in PATHS.items():
        row(name, request, options)


if __name__ == "__main__":
    sys.exit(main())
