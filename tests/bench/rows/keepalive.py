"""T1, T1b and T2: what one proxied request on a kept connection costs, 64 connections, a small POST."""
import contextlib

import counts
import peers
from bench import Upstream, load
from table import Goal, Row, interleaved

CONNECTIONS = 64


def t1(scale):
    """CPU of the process for each counted request. 64 connections and 50 workers: one in five waits."""
    values = cpu_of_each(scale, Upstream(), connections=CONNECTIONS)
    return [Row(f"T1 CPU per request, {CONNECTIONS} connections", "µs", values,
                [Goal(0.80, "haproxy"), Goal(0.85, "nginx"), Goal(1.25, "floor")])]


def t1b(scale):
    """The same with admission at work: twice as many clients as workers, and a service so slow (4 ms)
    that all workers are always taken: every request goes through the queue."""
    values = cpu_of_each(scale, Upstream(service_us=4000), connections=100)
    return [Row("T1b CPU per request, 100 clients for 50 workers, all through the queue", "µs", values,
                [Goal(0.90, "haproxy")], "nginx has no queue: its 100 requests are all in the service")]


def cpu_of_each(scale, upstream, connections):
    with contextlib.ExitStack() as running:
        running.enter_context(upstream)
        job = peers.Job(upstream.address, threads=scale.threads)
        sides = [running.enter_context(peer) for peer in peers.start(scale.peers, job)]
        return interleaved(sides, scale.rounds, lambda peer: load(
            peer.port, peer.pids, expect=200, connections=connections, warmup=2 * connections,
            requests=scale.requests)["counted"]["cpu_us"])


def t2(scale):
    """System calls and instructions, counted and not timed: one life of each peer for each."""
    names = [name for name in scale.peers if peers.installed(name)]
    with Upstream() as upstream:
        job = peers.Job(upstream.address, threads=scale.threads)
        options = {"connections": CONNECTIONS, "warmup": 2 * CONNECTIONS}
        calls = {name: counts.per_request(name, job, scale.traced, counts.strace, **options)
                 for name in names}
        work = {name: counts.per_request(name, job, scale.traced, counts.callgrind, **options)
                for name in names}
    mine = ", ".join(f"{name} {count:.3f}" for name, count in
                     sorted(calls["classgate"].items(), key=lambda pair: -pair[1]) if count >= 0.0005)
    return [Row("T2 system calls per request, 64 connections", "calls",
                {name: [sum(each.values())] for name, each in calls.items()}, [Goal(4.15)],
                f"classgate: {mine}"),
            Row("T2 instructions per request outside the kernel, 64 connections", "instructions",
                {name: [each["instructions"]] for name, each in work.items()}, [Goal(12_000)])]
