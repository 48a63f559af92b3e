#!/usr/bin/env python3
"""What a request by HTTP/2 costs classgate, HAProxy, nginx, h2o and nghttpx, one thread each, in front of the same service
(300 bytes), asked by h2load in interleaved rounds; and what an idle connection and a waiting stream weigh.
    tests/bench/http2_cost.py [--rounds N] [--requests N] [--only JOB,...] [--classgate PROGRAM,...]
    tests/bench/http2_cost.py --instructions        classgate's, by callgrind, and where they are
Jobs: h2c-h1, h2c-h2, tls-h1, tls-h2 (what clients speak, what the service), each with 64 connections of one stream and
16 of 16; idle; waiting. CPU is user and system time of the process (schedstat) for each request; ratios are medians of
the ratios within a round. A peer that is not installed, or does not speak what the job wants, is left out: nginx and
h2o speak HTTP/1 with services only. --classgate compares several builds of it in the same rounds."""
import argparse
import contextlib
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import peers
from bench import BUILD, Gateway, Program, Upstream, cpu_seconds, free_port, most_files, prefer, resident_bytes, wait_until
import http2_kit as h2  # in tests/process, as kit.py

CONFS = pathlib.Path(__file__).resolve().parent / "peers"
ANSWER_BYTES = 300
SHAPES = {"64x1": (64, 1), "16x16": (16, 16)}
IDLE = 1000     # connections
WAITING = 2000  # streams, 100 on a connection


class Job:
    def __init__(self, name, service, certificate):
        self.name, self.service, self.certificate = name, service, certificate
        self.is_tls = name.startswith("tls")
        self.asks_http2 = name.endswith("h2")


class Served:
    """One of those that are compared: its port and its processes."""

    def __init__(self, name, program, port, folder=None):
        self.name, self.port = name, port
        self.peer = peers.Peer(name, program, port, folder)
        self.pids = self.peer.pids

    def end(self):
        self.peer.end()


def classgate(job, program=None, name="classgate", **more):
    scheme = "h2c://" if job.asks_http2 else ""
    settings = {"threads": 1, "protocols": "h2, http/1.1", "admission_workers": 50, "admission_queue_size": 1000,
                "client_max_connections": 4000, "client_requests_per_connection": 0, "admission_rate": peers.NOBODY_REACHES,
                "admission_burst": peers.NOBODY_REACHES, "admission_request_timeout": "5m",
                "admission_queue_timeout": "5m", **more}
    if job.is_tls:
        settings |= {"listen": "127.0.0.1:0,https://127.0.0.1:0", "tls_certificate": job.certificate[0],
                     "tls_key": job.certificate[1]}
    gateway = Gateway(scheme + job.service, nofile=most_files(10_000),
                      **({"program": program} if program else {}), **settings)
    port = gateway.port
    if job.is_tls:
        port = int(re.search(r"https://127\.0\.0\.1:(\d+)", gateway.err()).group(1))
    return Served(name, gateway, port)


def by_conf(name, template, command, **words):
    folder = tempfile.TemporaryDirectory(prefix="classgate-bench-")
    port = free_port()
    text = (CONFS / template).read_text()
    for word, value in {"PORT": port, "FOLDER": folder.name, **words}.items():
        text = text.replace(f"@{word}@", str(value))
    conf = pathlib.Path(folder.name) / template
    conf.write_text(text)
    return Served(name, Program([*command, conf], nofile=most_files(10_000)), port, folder)


def haproxy(job):
    bind = "proto h2"
    if job.is_tls:
        both = pathlib.Path(job.certificate[0]).with_name("both.pem")
        both.write_text("".join(pathlib.Path(part).read_text() for part in job.certificate))
        bind = f"ssl crt {both} alpn h2"
    return by_conf("haproxy", "haproxy-http2.cfg", ["/usr/sbin/haproxy", "-db", "-f"], UPSTREAM=job.service, BIND=bind,
                   PROTO="proto h2" if job.asks_http2 else "")


def nginx(job):
    if job.asks_http2:
        return None
    files = "".join(f"ssl_certificate{suffix} {part};" for suffix, part in zip(("", "_key"), job.certificate))
    return by_conf("nginx", "nginx-http2.conf", ["/usr/sbin/nginx", "-c"], UPSTREAM=job.service,
                   BIND="ssl" if job.is_tls else "", FILES=files if job.is_tls else "")


def h2o(job):
    if job.asks_http2:
        return None
    ssl = "".join(f"    {word}-file: {part}\n" for word, part in zip(("certificate", "key"), job.certificate))
    return by_conf("h2o", "h2o-http2.conf", ["/usr/bin/h2o", "-c"], UPSTREAM=job.service,
                   SSL="  ssl:\n" + ssl if job.is_tls else "")


def nghttpx(job):
    port = free_port()
    address, service = f"127.0.0.1,{port}", job.service.replace(":", ",")
    words = ["/usr/sbin/nghttpx", "--conf=/dev/null", "--workers=1", "--single-process", "--accesslog-file=/dev/null",
             f"--frontend={address}" + ("" if job.is_tls else ";no-tls"),
             f"--backend={service}" + (";;proto=h2" if job.asks_http2 else ""), "--backend-keep-alive-timeout=60",
             "--errorlog-file=/dev/null", "--worker-frontend-connections=4000"]
    if job.is_tls:
        words += [job.certificate[1], job.certificate[0]]
    return Served("nghttpx", Program(words, nofile=most_files(10_000)), port)


class ServiceByHttp2:
    """nghttpd with one thread and one file."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="classgate-bench-")
        pathlib.Path(self.folder.name, "v1").mkdir()
        pathlib.Path(self.folder.name, "v1", "classify").write_bytes(b"x" * ANSWER_BYTES)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.program = Program(["/usr/sbin/nghttpd", "--no-tls", "-d", self.folder.name, self.port],
                               nofile=most_files(10_000))
        wait_until(lambda: peers.listens(self.port), "nghttpd to listen", 30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.end()
        self.folder.cleanup()


def certificate(folder):
    pair = (str(pathlib.Path(folder, "certificate.pem")), str(pathlib.Path(folder, "key.pem")))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=localhost", "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True,
                   timeout=60)
    return pair


def ask(port, is_tls, requests, connections, streams, out):
    """One run of h2load, whose words go to a file; what it says must be that every answer was 2xx."""
    with open(out, "w") as file:
        done = subprocess.run(["h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams), "-t", "1",
                               f"{'https' if is_tls else 'http'}://127.0.0.1:{port}/v1/classify"], stdout=file,
                              stderr=subprocess.STDOUT, timeout=120)
    text = pathlib.Path(out).read_text()
    if done.returncode != 0 or f"{requests} succeeded" not in text or f"{requests} 2xx" not in text:
        raise AssertionError(f"not every answer came:\n{text}")


def cost_of(served, job, requests, shape, out):
    """Microseconds of each request."""
    ask(served.port, job.is_tls, 20 * shape[0], *shape, out)
    before = sum(cpu_seconds(pid) for pid in served.pids)
    ask(served.port, job.is_tls, requests, *shape, out)
    return (sum(cpu_seconds(pid) for pid in served.pids) - before) / requests * 1e6


def print_costs(job_name, shape_name, costs):
    rows = {name: statistics.median(values) for name, values in costs.items()}
    words = [f"{name} {value:6.2f} µs" for name, value in rows.items()]
    others = [name for name in costs if not name.startswith("classgate")]
    for own in (name for name in costs if name.startswith("classgate")):
        if others:
            ratio = statistics.median(mine / min(best) for mine, *best in
                                      zip(costs[own], *(costs[name] for name in others)))
            words.append(f"{own} / best {ratio:.2f}")
    print(f"{job_name:7} {shape_name:6} " + " | ".join(words), flush=True)


def measure_costs(job, programs, rounds, requests, out):
    kinds = [(lambda own, program=program, name=name: classgate(own, program, name)) for name, program in programs]
    kinds += [kind for kind in (haproxy, nginx, h2o, nghttpx) if shutil.which(kind.__name__, path="/usr/sbin:/usr/bin")]
    with contextlib.ExitStack() as stack:
        all_served = []
        for kind in kinds:
            if (served := kind(job)) is not None:
                stack.callback(served.end)
                all_served.append(served)
        for shape_name, shape in SHAPES.items():
            costs = {served.name: [] for served in all_served}
            for _ in range(rounds):
                for served in all_served:
                    costs[served.name].append(cost_of(served, job, requests, shape, out))
            print_costs(job.name, shape_name, costs)


def asking(port, connections):
    """One more connection, with a request on it."""
    connections.append(socket.create_connection(("127.0.0.1", port), timeout=20))
    connections[-1].sendall(h2.PREFACE + h2.settings() + h2.get(1, "/v1/classify"))
    return connections[-1]


def idle_bytes(job):
    """Of a connection on which one request was answered, and which has nothing to do."""
    rows = []
    for kind in (classgate, nghttpx):
        served = kind(job)
        connections = []
        try:
            def open_some(count):
                for _ in range(count):
                    one = asking(served.port, connections)
                    text = b""
                    while b"x" * ANSWER_BYTES not in text:
                        part = one.recv(65536)
                        assert part, f"{served.name} closed the connection"
                        text += part
            open_some(100)
            before = resident_bytes(served.pids)
            open_some(IDLE)
            rows.append(f"{served.name} {(resident_bytes(served.pids) - before) / IDLE:8,.0f} B")
        finally:
            for one in connections:
                one.close()
            served.end()
    print("idle connection  " + " | ".join(rows), flush=True)


def waiting_bytes():
    """Of a stream that waits for a worker, beyond its head and body, of which there is little."""
    service = socket.create_server(("127.0.0.1", 0))  # takes nothing
    job = Job("h2c-h1", f"127.0.0.1:{service.getsockname()[1]}", None)
    served = classgate(job, admission_workers=1, admission_queue_size=5000)
    connections = []
    try:
        def open_some(count):
            for _ in range(count):
                asking(served.port, connections)

        def wait_for(queue_size):
            wait_until(lambda: served.peer.program.health()["queue_size"] >= queue_size, f"{queue_size} wait", 60)
        open_some(1 + WAITING // 100)
        wait_for(WAITING // 100)
        before = resident_bytes(served.pids)
        for one in connections:
            one.sendall(b"".join(h2.get(2 * i + 3, "/v1/classify") for i in range(99)))
        wait_for(WAITING + 99)
        print(f"waiting stream   classgate {(resident_bytes(served.pids) - before) / (99 * len(connections)):8,.0f} B",
              flush=True)
    finally:
        for one in connections:
            one.close()
        served.end()
        service.close()


def instructions(job, requests, out):
    """Of classgate for a request: between two lives, one with twice the requests."""
    for shape_name, shape in SHAPES.items():
        counts = []
        for many in (requests, 2 * requests):
            counts_file = f"{out}.callgrind"
            served = classgate(job, wrapper=("valgrind", "--tool=callgrind", f"--callgrind-out-file={counts_file}"))
            try:
                ask(served.port, job.is_tls, many, *shape, out)
                served.peer.stop()
            finally:
                served.end()
            total = re.findall(r"^(?:totals|summary): (\d+)$", pathlib.Path(counts_file).read_text(), re.MULTILINE)
            counts.append(int(total[-1]))
        print(f"{job.name} {shape_name}: {(counts[1] - counts[0]) / requests:,.0f} instructions a request", flush=True)
        done = subprocess.run(["callgrind_annotate", "--auto=no", counts_file], capture_output=True, text=True, timeout=120)
        print("\n".join(line[:150] for line in done.stdout.splitlines()[18:52]), flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=10_000, help="of each run")
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--classgate", type=lambda text: text.split(","), default=[""])
    parser.add_argument("--instructions", action="store_true")
    return parser.parse_args()


def main():
    given = parse()
    programs = [("classgate" if i == 0 else f"classgate{i + 1}", program or None)
                for i, program in enumerate(given.classgate)]
    with tempfile.TemporaryDirectory(prefix="classgate-bench-") as folder:
        out, pair, began = str(pathlib.Path(folder, "h2load")), certificate(folder), time.monotonic()
        with Upstream(answer_bytes=ANSWER_BYTES) as by_http1, ServiceByHttp2() as by_http2:
            jobs = {name: Job(name, (by_http2 if name.endswith("h2") else by_http1).address, pair)
                    for name in ("h2c-h1", "h2c-h2", "tls-h1", "tls-h2")}
            if given.only:
                wrong = set(given.only) - {*jobs, "idle", "waiting"}
                if wrong:
                    sys.exit(f"no such job: {', '.join(sorted(wrong))}")
            for name in given.only or [*jobs, "idle", "waiting"]:
                if name == "idle":
                    idle_bytes(jobs["h2c-h1"])
                elif name == "waiting":
                    waiting_bytes()
                elif given.instructions:
                    instructions(jobs[name], 2000, out)
                else:
                    if name == "h2c-h1":
                        prefer()
                    measure_costs(jobs[name], programs, given.rounds, given.requests, out)
        print(f"{time.monotonic() - began:.0f} s, {given.rounds} rounds of {given.requests} requests", file=sys.stderr)


if __name__ == "__main__":
    main()
