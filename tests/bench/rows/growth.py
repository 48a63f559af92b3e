"""scale: what a request costs when there are ten thousand connections, or a hundred thousand waiting."""
import dataclasses
import json
import subprocess

import peers
from bench import BUILD, Upstream, load, most_files
from table import Goal, Row, interleaved


def growth(scale):
    return [*by_connections(scale), by_waiting(scale), admission_alone(scale)]


@dataclasses.dataclass
class Step:
    name: str
    peer: object
    count: int  # of connections, or of requests waiting


def by_connections(scale):
    """Ten requests at once, on all the connections in turn. The floor shows how much of the growth is
    the kernel's, whose sockets leave the processor's caches."""
    most = scale.connections[-1]
    with Upstream() as upstream, peers.running(
            ("classgate", "floor"), peers.Job(upstream.address, connections=most + 500)) as sides:
        steps = [Step(f"{peer.name} {count:,}", peer, count) for count in scale.connections for peer in sides]
        values = interleaved(steps, scale.fewer(4), lambda step: load(
            step.peer.port, step.peer.pids, expect=200, connections=step.count, outstanding=10,
            warmup=step.count, requests=max(scale.requests, step.count))["counted"]["cpu_us"])
    return [Row(f"scale: CPU per request by open connections, 10 requests at once ({peer.name})", "µs",
                {str(step.count): values[step.name] for step in steps if step.peer is peer},
                [Goal(1.15, str(scale.connections[0]))] if peer.name == "classgate" else [], subject=str(most))
            for peer in sides]


def by_waiting(scale):
    """50 in the service, which takes 4 ms, and so many more clients that wait. A client that waits has a
    connection: where the limit of file descriptors forbids that many, there are fewer."""
    counts = [count for count in scale.waiting if most_files(2 * count + 3000) >= count + 2000]
    with Upstream(service_us=4000) as upstream, peers.classgate(
            peers.Job(upstream.address, connections=counts[-1] + 500, queue=counts[-1] + 500)) as gateway:
        steps = [Step(str(count), gateway, count) for count in counts]
        values = interleaved(steps, scale.fewer(10), lambda step: load(
            gateway.port, gateway.pids, expect=200, connections=step.count + 50,
            warmup=step.count + 500, requests=2 * scale.requests, seconds=120)["counted"]["cpu_us"])
    note = "" if len(counts) == len(scale.waiting) else "more are forbidden here by the limit of descriptors"
    return Row("scale: CPU per request by requests waiting", "µs", values, [Goal(1.15, steps[0].name)],
               note, subject=steps[-1].name)


def admission_alone(scale):
    """Arrival and finish in the admission library, called by one thread (admission_cost.cpp)."""
    steps = [Step(str(count), None, count) for count in (10, 1_000, 10_000, 100_000)]
    values = interleaved(steps, scale.fewer(4), lambda step: json.loads(subprocess.run(
        [BUILD / "tests/bench/admission_cost", "--waiting", str(step.count), "--rounds", "1",
         "--pairs", str(50 * scale.requests)],
        capture_output=True, check=True, timeout=600).stdout)["ns_median"])
    return Row("scale: arrive and finish in admission by requests waiting", "ns", values,
               [Goal(1.20, steps[0].name)], subject=steps[-1].name)
