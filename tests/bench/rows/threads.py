"""T8: what a second thread is worth. Requests in a CPU-bound second are threads divided by the CPU of a
request, whatever the load generator can do; time spent waiting for a lock is not in it, and is shown
as the number of such waits."""
import contextlib

import counts
import peers
from bench import Upstream, load
from table import Goal, Row, interleaved

CONNECTIONS = 128


def t8(scale):
    with Upstream() as upstream, contextlib.ExitStack() as stack:
        sides = [side for threads in (1, 2) for side in stack.enter_context(
            peers.running(scale.others("floor"), peers.Job(upstream.address, threads=threads)))]
        for peer, threads in zip(sides, [1] * (len(sides) // 2) + [2] * (len(sides) // 2)):
            peer.name += f" {threads}"
        costs = interleaved(sides, scale.rounds, lambda peer: load(
            peer.port, peer.pids, expect=200, connections=CONNECTIONS, warmup=2 * CONNECTIONS,
            requests=scale.requests)["counted"]["cpu_us"])
        waits = counts.lock_waits_per_million("classgate", peers.Job(upstream.address, threads=2),
                                              5 * scale.requests, connections=CONNECTIONS)
    gain = {name[:-2]: [2 * one / two for one, two in zip(costs[name], costs[name[:-1] + "2"])]
            for name in costs if name.endswith(" 1")}
    return [Row(f"T8 CPU per request with 1 and 2 threads, {CONNECTIONS} connections", "µs", costs),
            Row("T8 requests in a CPU-bound second, 2 threads, of those of one", "×", gain,
                [Goal(1.7, is_least=True)]),
            Row("T8 waits for a lock, 2 threads", "per million requests",
                {"classgate": [waits]})]
