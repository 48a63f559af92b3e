"""T3: what a refusal costs, and what a flood of them takes from those who are let in."""
import contextlib
import socket

import peers
from bench import Upstream, load
from table import Goal, Row, interleaved

HELD = 600_000_000  # microseconds: longer than any run
CAPACITY = 500      # requests a second: 50 workers, 100 ms each


def t3(scale):
    rows = [cpu_of_a_refusal(scale, 429), cpu_of_a_refusal(scale, 503)]
    if scale.flood_seconds == 0:
        return rows
    return [*rows,
            # HAProxy's counter counts what it refuses too, so that a flood shuts everybody out.
            goodput_under_flood(scale, 429, ("classgate",), rate=CAPACITY),
            goodput_under_flood(scale, 503, scale.others("floor", "nginx"), queue=100)]


def cpu_of_a_refusal(scale, status):
    """HAProxy's `deny` and nginx's `limit_req` say no to everything. So does classgate's rate limit for
    429; for 503 its queue is full: one request has the only worker for as long as this takes."""
    with contextlib.ExitStack() as held, Upstream(service_us=HELD if status == 503 else 0) as upstream:
        job = peers.Job(upstream.address, threads=scale.threads, refuse=status)
        with peers.running(scale.others("floor"), job) as sides:
            for peer in sides:
                if status == 503:
                    held.enter_context(ask_and_wait(peer.port))
                else:  # there is a first token, whose answer could come after a whole warm-up of refusals
                    load(peer.port, connections=1, warmup=0, requests=1)
            values = interleaved(sides, scale.rounds, lambda peer: load(
                peer.port, peer.pids, expect=status, connections=64, warmup=200,
                requests=2 * scale.requests)["counted"]["cpu_us"])
    return Row(f"T3 CPU per refused request ({status}), keep-alive", "µs", values,
               [Goal(0.95, "nginx"), Goal(0.75, "haproxy")])


def ask_and_wait(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"GET /held HTTP/1.1\r\nHost: bench\r\n\r\n")
    return connection


def goodput_under_flood(scale, status, names, **limits):
    """Requests served in a second by a service that can do 500, asked by an open loop of twenty times
    that; of those served when it is asked for just what it can do. Who is refused is up to the conf: a
    rate limit of 500 (429), or a full queue (503)."""
    with Upstream(service_us=100_000) as upstream:
        job = peers.Job(upstream.address, threads=scale.threads, **limits)
        with peers.running(names, job) as sides:
            values = interleaved(sides, scale.fewer(5), lambda peer: (
                goodput(peer.port, 20 * CAPACITY, 1000, scale.flood_seconds) /
                goodput(peer.port, CAPACITY, 400, scale.flood_seconds)), warms_up=False)
    return Row(f"T3 goodput under a flood of 20 × capacity, of that without ({status})", "share", values,
               [Goal(0.90, is_least=True)])


def goodput(port, rate, connections, seconds):
    counted = load(port, rate=rate, connections=connections, requests=rate * seconds,
                   warmup=rate // 2)["counted"]
    return counted["by_status"].get("200", 0) / counted["seconds"]
