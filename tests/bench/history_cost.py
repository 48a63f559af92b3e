#!/usr/bin/env python3
"""What a history of who used how much costs: requests and idle connections with history.keep beside without, by the
rows T1 (CPU), T2 (system calls, and instructions) and T4 (memory), and by what the history's thread takes of the process,
which other load on the machine hardly changes. The goal is 2 % more at most; instructions are shown without one: under
callgrind a process is so slow that what the history does by the clock, as writing every five seconds, has few requests to
be divided by.   history_cost.py [--rounds 9] [--requests 20000] [--idle 2000] [--no-callgrind]"""
import argparse
import pathlib
import statistics
import sys

import counts
import peers
from bench import PAUSE, Upstream, load
from rows.memory import memory_with, resident_bytes

CONNECTIONS, MOST, SETTLED = 64, 1.02, 12
SIDES = (True, False)


def seconds_of(peer, thread=None):
    """CPU of all threads of a process, or of the one with this name."""
    tasks = [task for pid in peer.pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks
               if thread is None or (task / "comm").read_text().strip() == thread)


def share_of_thread(upstream, requests):
    """What the history's thread takes of the process: of one run, so that what else the machine does changes both."""
    with peers.classgate(peers.Job(upstream)) as peer:
        load(peer.port, expect=200, connections=CONNECTIONS, requests=2000)
        before = seconds_of(peer), seconds_of(peer, "history")
        load(peer.port, expect=200, connections=CONNECTIONS, requests=requests)
        PAUSE.wait(SETTLED)  # what it still has to write belongs to it
        return (seconds_of(peer, "history") - before[1]) / (seconds_of(peer) - before[0])


def cpu(upstream, rounds, requests):
    """Microseconds a request, of two processes that take turns."""
    values = {side: [] for side in SIDES}
    with peers.classgate(peers.Job(upstream, history=True)) as kept, \
            peers.classgate(peers.Job(upstream, history=False)) as none:
        for _ in range(rounds):
            for side, peer in ((True, kept), (False, none)):
                said = load(peer.port, peer.pids, expect=200, connections=CONNECTIONS, warmup=2 * CONNECTIONS,
                            requests=requests)
                values[side].append(said["counted"]["cpu_us"])
    return values


def events(upstream, tool, requests, lives):
    """Of each side in some lives, for each request; warm-up and end fall out."""
    return {side: [sum(counts.per_request("classgate", peers.Job(upstream, history=side), requests, tool,
                                          connections=CONNECTIONS, warmup=2 * CONNECTIONS).values())
                   for _ in range(lives)] for side in SIDES}


def idle(upstream, connections):
    """Bytes of each connection that waits, after some requests."""
    values = {}
    for side in SIDES:
        with peers.classgate(peers.Job(upstream, connections=connections + 1000, history=side)) as peer:
            load(peer.port, expect=200, requests=10_000, connections=CONNECTIONS)  # a journal has 8,192 places
            PAUSE.wait(SETTLED)  # its file is open, and has been written twice
            before = resident_bytes(peer.pids)
            values[side] = [(memory_with(peer, connections) - before) / connections]
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--idle", type=int, default=2_000)
    parser.add_argument("--no-callgrind", action="store_true")
    asked = parser.parse_args()
    missed = []

    def tell(what, unit, values, has_goal=True):
        with_it, without = (statistics.median(values[side]) for side in SIDES)
        ratio = with_it / without
        spread = "" if len(values[True]) == 1 else "".join(
            f"; {name} {min(values[side]):.2f} to {max(values[side]):.2f}" for name, side in (("with", True), ("without", False)))
        print(f"{what}: {with_it:,.2f} {unit} with a history, {without:,.2f} without: x {ratio:.4f}{spread}", flush=True)
        if has_goal and ratio > MOST:
            missed.append(what)
    with Upstream() as upstream:
        tell("T2 system calls a request", "calls", events(upstream.address, counts.strace, asked.requests, 5))
        if not asked.no_callgrind:
            tell("T2 instructions a request", "instructions", events(upstream.address, counts.callgrind, asked.requests, 1),
                 False)
        share = share_of_thread(upstream.address, 20 * asked.requests)
        print(f"the history's thread takes {share:.2%} of the process's CPU", flush=True)
        if share > MOST - 1:
            missed.append("the history's thread")
        tell(f"T4 memory for each of {asked.idle:,} idle connections", "bytes", idle(upstream.address, asked.idle))
        tell("T1 CPU a request", "µs", cpu(upstream.address, asked.rounds, asked.requests))
    sys.exit(f"more than {MOST}: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
