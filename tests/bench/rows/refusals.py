"""T3: what a refusal costs, and what a flood of them takes from those who are let in."""
import contextlib
import socket

import peers
from bench import Upstream, load
from table import Goal, Row, interleaved


def t3(scale):
    return [*cpu_of_refusals(scale), *goodput_under_flood(scale)]


def cpu_of_refusals(scale):
    """HAProxy's `deny` and nginx's `limit_req` say no to everything. So does classgate's rate limit for
    429; for 503 its queue is full: one request has the only worker for as long as this takes."""
    rows = []
    for status in (429, 503):
        with contextlib.ExitStack() as running:
            upstream = running.enter_context(Upstream(service_us=600_000_000 if status == 503 else 0))
            job = peers.Job(upstream.address, threads=scale.threads, refuse=status)
            names = [name for name in scale.peers if name != "floor"]
            sides = [running.enter_context(peer) for peer in peers.start(names, job)]
            if status == 503:
                for peer in sides:
                    running.enter_context(hold_the_worker(peer))
            values = interleaved(sides, scale.rounds, lambda peer: load(
                peer.port, peer.pids, expect=status, connections=64, warmup=200,
                requests=2 * scale.requests)["counted"]["cpu_us"])
        rows.append(Row(f"T3 CPU per refused request ({status}), keep-alive", "µs", values,
                        [Goal(0.95, "nginx"), Goal(0.75, "haproxy")]))
    return rows


def hold_the_worker(peer):
    connection = socket.create_connection(("127.0.0.1", peer.port))
    connection.sendall(b"GET /held HTTP/1.1\r\nHost: bench\r\n\r\n")
    return connection


def goodput_under_flood(scale):
    """Requests served in a second by a service that can do 500 (50 workers, 100 ms each): asked for
    just what it can do, and by an open loop of twenty times that. Who is refused is up to the conf: a
    rate limit of 500 (429), or a full queue (503)."""
    capacity, seconds = 500, 2
    rows = []
    for status, limits, note in (
            (429, {"rate": capacity}, "HAProxy counts what it refuses: under a flood it serves nobody"),
            (503, {"queue": 100}, "")):
        with contextlib.ExitStack() as running:
            upstream = running.enter_context(Upstream(service_us=100_000))
            job = peers.Job(upstream.address, threads=scale.threads, **limits)
            names = [name for name in scale.peers if name not in ("floor", "nginx")]
            sides = [running.enter_context(peer) for peer in peers.start(names, job)]
            values = interleaved(sides, max(1, scale.rounds // 7), lambda peer: (
                flood(peer.port, capacity, seconds) / calm(peer.port, capacity, seconds)), warms_up=False)
        rows.append(Row(f"T3 goodput under a flood of 20 × capacity, of that without ({status})", "share",
                        values, [Goal(0.90, is_least=True)], note if "haproxy" in values else ""))
    return rows


def calm(port, capacity, seconds):
    return goodput(load(port, rate=capacity, connections=400, requests=capacity * seconds,
                        warmup=capacity))


def flood(port, capacity, seconds):
    return goodput(load(port, rate=20 * capacity, connections=1000, requests=20 * capacity * seconds,
                        warmup=20 * capacity))


def goodput(said):
    return said["counted"]["by_status"].get("200", 0) / said["counted"]["seconds"]
