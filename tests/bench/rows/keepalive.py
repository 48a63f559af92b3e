"""T1, T1b and T2: what one proxied request on a kept connection costs, 64 connections, a small POST."""
import counts
import peers
from bench import Upstream, load
from table import Goal, Row, interleaved

CONNECTIONS = 64


def t1(scale):
    """CPU of the process for each counted request. 64 connections and 50 workers: one in five waits."""
    values = cpu_of_each(scale, Upstream(), CONNECTIONS)
    return [Row(f"T1 CPU per request, {CONNECTIONS} connections", "µs", values,
                [Goal(0.80, "haproxy"), Goal(0.85, "nginx"), Goal(1.25, "floor")])]


def t1b(scale):
    """The same with admission at work: twice as many clients as workers, and a service so slow (4 ms)
    that all workers are always taken: every request goes through the queue."""
    values = cpu_of_each(scale, Upstream(service_us=4000), connections=100)
    return [Row("T1b CPU per request, 100 clients for 50 workers, all through the queue", "µs", values,
                [Goal(0.90, "haproxy")], "nginx has no queue: its 100 requests are all in the service")]


def cpu_of_each(scale, service, connections):
    with service as upstream:
        job = peers.Job(upstream.address, threads=scale.threads)
        names = scale.others("floor") if scale.threads > 1 else scale.peers  # the floor has one thread
        with peers.running(names, job) as sides:
            return interleaved(sides, scale.rounds, lambda peer: load(
                peer.port, peer.pids, expect=200, connections=connections, warmup=2 * connections,
                requests=scale.requests)["counted"]["cpu_us"])


def t2(scale):
    """System calls and instructions, counted and not timed."""
    rows = []
    with Upstream() as upstream:
        job = peers.Job(upstream.address, threads=scale.threads)
        calls = count_each(scale, job, counts.strace)
        mine = ", ".join(f"{name} {count:.3f}" for name, count in
                         sorted(calls["classgate"].items(), key=lambda pair: -pair[1]) if count >= 0.0005)
        rows.append(Row(f"T2 system calls per request, {CONNECTIONS} connections", "calls",
                        {name: [sum(each.values())] for name, each in calls.items()}, [Goal(4.15)],
                        f"classgate: {mine}", is_insisted_on=True))
        if scale.has_callgrind:
            # How many requests a turn finds, and so what each costs, is not the same in every life.
            lives = [count_each(scale, job, counts.callgrind) for _ in range(scale.lives)]
            rows.append(Row(f"T2 instructions per request outside the kernel, {CONNECTIONS} connections",
                            "instructions",
                            {name: [life[name]["instructions"] for life in lives] for name in lives[0]},
                            [Goal(12_000)]))
    return rows


def count_each(scale, job, tool):
    return {name: counts.per_request(name, job, scale.traced, tool, connections=CONNECTIONS,
                                     warmup=2 * CONNECTIONS)
            for name in scale.peers if peers.installed(name)}
