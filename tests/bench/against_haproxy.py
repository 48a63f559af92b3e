#!/usr/bin/env python3
"""CPU per request of classgate and of HAProxy (Debian's package) on the same job, one thread each, in
front of the same service, in interleaved runs; prints the medians and their ratio.
    tests/bench/against_haproxy.py [RUNS] [REQUESTS]      defaults: 9 runs of 20,000 requests"""
import os
import pathlib
import socket
import statistics
import sys

from bench import Gateway, Program, Service, cpu_seconds, storm, wait_until

CONNECTIONS = 64


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    service = Service("--concurrency", "64")
    gateway = Gateway(service.address, admission_rate=0, threads=1)
    port = free_port()
    haproxy = Program(["haproxy", "-db", "-f", pathlib.Path(__file__).with_name("haproxy.cfg")],
                      {"GATE_PORT": str(port), "SERVICE_PORT": str(service.port),
                       "PATH": os.environ["PATH"]})
    wait_until(lambda: answers(port) or haproxy.process.poll() is not None, "HAProxy to listen")
    if haproxy.process.poll() is not None:
        sys.exit(haproxy.err())
    sides = {"classgate": (gateway.process.pid, gateway.port), "haproxy": (haproxy.process.pid, port)}
    costs = {name: [] for name in sides}
    for run in range(runs + 1):  # the first warms up
        for name, (pid, target) in sides.items():
            before = cpu_seconds(pid)
            said = storm(target, requests, CONNECTIONS)
            if said["by_status"] != {"200": requests}:
                sys.exit(f"{name} did not answer everything: {said}")
            if run > 0:
                costs[name].append((cpu_seconds(pid) - before) / requests * 1e6)
    medians = {name: statistics.median(values) for name, values in costs.items()}
    for name, values in costs.items():
        print(f"{name}: median {medians[name]:.2f} us/request, from {min(values):.2f} to {max(values):.2f}")
    print(f"ratio classgate / haproxy: {medians['classgate'] / medians['haproxy']:.3f}")
    for program in (haproxy, gateway, service):
        program.end()


if __name__ == "__main__":
    main()
