"""T5: one request's journey at 2,000 requests a second, where each pays its own wake-ups."""
import statistics
import types

import peers
from bench import Upstream, load
from table import Goal, Row, interleaved

RATE = 2000


def t5(scale):
    """Many short runs: a disturbance of the machine spoils some of them, and the medians pass it over.
    What the journey costs without a gateway is measured among them, and taken off."""
    with Upstream() as upstream:
        job = peers.Job(upstream.address, threads=scale.threads)
        direct = types.SimpleNamespace(name="direct", port=upstream.port, pids=())
        with peers.running([*scale.peers, "h2o"], job) as sides:
            runs = interleaved([direct, *sides], scale.rounds, lambda peer: load(
                peer.port, peer.pids, expect=200, rate=RATE, connections=64, warmup=100,
                requests=min(1000, scale.requests))["counted"])
    base = statistics.median(run["latency_us"]["p50"] for run in runs.pop("direct"))
    rivals = ("haproxy", "nginx", "h2o")
    return [Row(f"T5 added p50 at {RATE:,} requests/s (open loop)", "µs",
                {name: [run["latency_us"]["p50"] - base for run in each] for name, each in runs.items()},
                [Goal(1.0, rival) for rival in rivals], f"without a gateway {base:.0f} µs", is_paired=False),
            Row(f"T5 p99 at {RATE:,} requests/s, of the whole journey", "µs",
                {name: [run["latency_us"]["p99"] for run in each] for name, each in runs.items()}),
            Row(f"T5 CPU per request at {RATE:,} requests/s", "µs",
                {name: [run["cpu_us"] for run in each] for name, each in runs.items()},
                [Goal(0.85, "nginx")])]
