#!/usr/bin/env python3
"""What a history of who used how much costs: requests and idle connections with history.keep beside without, by the
rows T1 (CPU), T2 (system calls, and instructions) and T4 (memory), and by what the history's thread takes of the process,
which other load on the machine hardly changes. The goal is 2 % more at most; instructions are shown without one: under
callgrind a process is so slow that what the history does by the clock, as writing every five seconds, has few requests to
be divided by. T1 is the median of pairs of runs, one of each side right after the other, in processes that are begun anew
six times: what else the machine does changes both of a pair. Where the interval of that median holds the goal, it is said
that nobody can tell.   history_cost.py [--rounds 60] [--requests 20000] [--idle 4000] [--no-callgrind] [--only T1]"""
import argparse
import math
import pathlib
import statistics
import sys

import counts
import peers
from bench import PAUSE, Upstream, load
from rows.memory import memory_with, resident_bytes

CONNECTIONS, MOST, SETTLED, LIVES = 64, 1.02, 12, 6
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
    """Microseconds a request, of two processes that take turns: pairs (with, without)."""
    pairs = []
    for _ in range(LIVES):
        with peers.classgate(peers.Job(upstream, history=True)) as kept, \
                peers.classgate(peers.Job(upstream, history=False)) as none:
            for number in range(-(-rounds // LIVES)):
                took = {}
                # Who is first takes turns as well.
                for side, peer in ((True, kept), (False, none))[::1 if number % 2 else -1]:
                    said = load(peer.port, peer.pids, expect=200, connections=CONNECTIONS, warmup=2 * CONNECTIONS,
                                requests=requests)
                    took[side] = said["counted"]["cpu_us"]
                pairs.append((took[True], took[False]))
    return pairs


def median_interval(values):
    """The median, and the order statistics between which it is with at least 95 %: of the binomial distribution (half of
    all are below it), whatever the distribution of the values."""
    ordered, count = sorted(values), len(values)
    below, rank = 0, 0
    while (below + math.comb(count, rank)) / 2 ** count <= 0.025:
        below += math.comb(count, rank)
        rank += 1
    if rank == 0:
        sys.exit(f"{count} pairs are too few for an interval: --rounds 6 at least")
    return statistics.median(ordered), ordered[rank - 1], ordered[count - rank]


def events(upstream, tool, requests, lives):
    """Of each side in some lives, for each request; warm-up and end fall out."""
    return {side: [sum(counts.per_request("classgate", peers.Job(upstream, history=side), requests, tool,
                                          connections=CONNECTIONS, warmup=2 * CONNECTIONS).values())
                   for _ in range(lives)] for side in SIDES}


def idle(upstream, connections, lives):
    """Bytes of each connection that waits, after some requests; of each side in some lives, which take turns: what a
    process has in memory is told in pages, and differs by some from life to life."""
    values = {side: [] for side in SIDES}
    for side in SIDES * lives:
        with peers.classgate(peers.Job(upstream, connections=connections + 1000, history=side)) as peer:
            load(peer.port, expect=200, requests=10_000, connections=CONNECTIONS)  # a journal has 8,192 places
            PAUSE.wait(SETTLED)  # its file is open, and has been written twice
            before = resident_bytes(peer.pids)
            values[side].append((memory_with(peer, connections) - before) / connections)
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--idle", type=int, default=4_000)
    parser.add_argument("--no-callgrind", action="store_true")
    parser.add_argument("--only", choices=["T1"])
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
        if asked.only is None:
            tell("T2 system calls a request", "calls", events(upstream.address, counts.strace, asked.requests, 5))
            if not asked.no_callgrind:
                tell("T2 instructions a request", "instructions",
                     events(upstream.address, counts.callgrind, asked.requests, 1), False)
            share = share_of_thread(upstream.address, 20 * asked.requests)
            print(f"the history's thread takes {share:.2%} of the process's CPU", flush=True)
            if share > MOST - 1:
                missed.append("the history's thread")
            tell(f"T4 memory for each of {asked.idle:,} idle connections", "bytes", idle(upstream.address, asked.idle, 5))
        pairs = cpu(upstream.address, asked.rounds, asked.requests)
        ratio, low, high = median_interval([kept / none for kept, none in pairs])
        print(f"T1 CPU a request: {statistics.median(kept for kept, _ in pairs):.2f} µs with a history, "
              f"{statistics.median(none for _, none in pairs):.2f} without: x {ratio:.4f} ({low:.4f} to {high:.4f} with "
              f"95 %), {len(pairs)} pairs", flush=True)
        if low > MOST:
            missed.append("T1 CPU a request")
        elif high > MOST:
            missed.append("perhaps T1 CPU a request, which cannot be told here")
    sys.exit(f"more than {MOST}: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
