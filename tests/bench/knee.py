#!/usr/bin/env python3
"""classgate load --find-knee against services whose capacity is known: from 1 to 200 at once, from 2 ms to 5 s, with
fixed, exponential and heavy-tailed (Pareto 1.5) service times; such as batch, slow down or fail when they are crowded,
limit their rate themselves, do not know the path; and nobody. Each goal: the capacity within 5 %, or, with an exit
status that is not 0 and without a conf, that it cannot be told; no more left in the service than it computes within
one service time (its slots, once); 90 s at most.
    tests/bench/knee.py [--record NOTE] [WORD ...]      only those whose names have one of the words in them
    --record NOTE adds the table to tests/bench/results.md. Two at a time: all take some 10 minutes.
Exits 1 when a goal is missed. A service that batches is full for certain with twice its batch in it: one group is
computed, the next one waits."""
import argparse
import concurrent.futures
import dataclasses
import json
import subprocess
import sys
import time

from bench import Service, prefer
from history import circumstances, keep
from kit import CLASSGATE, clean_environment, free_port

OFF_MOST = .05
SECONDS_MOST = 90
CANNOT_TELL = None  # planted where there is no capacity to be told


@dataclasses.dataclass
class Planted:
    name: str
    capacity: int | None
    options: tuple = ()
    path: str = ""
    slots: int = 1       # what it computes at once, for what is left in it
    seconds: int = 40    # --time
    listens: bool = True


def of_slots(slots, takes, spread="fixed", seconds=40):
    return Planted(f"{slots} × {takes} {spread}", slots,
                   ("--concurrency", slots, "--service-time", takes, "--spread", spread), slots=slots, seconds=seconds)


def of_batches(batch, takes):
    return Planted(f"batches of {batch} / {takes}", 2 * batch, ("--batch", batch, "--service-time", takes), slots=batch)


def with_slots(name, capacity, slots, takes, *options, **more):
    return Planted(f"{slots} × {takes}, {name}", capacity, ("--concurrency", slots, "--service-time", takes, *options),
                   slots=slots, **more)


SERVICES = (
    of_slots(1, "20ms"),
    of_slots(1, "50ms", "exponential"),
    of_slots(2, "2ms"),
    of_slots(4, "500ms"),
    of_slots(4, "5s", seconds=60),
    of_slots(8, "200ms"),
    of_slots(8, "60ms", "exponential"),
    of_slots(8, "60ms", "heavy"),
    of_slots(50, "150ms", "exponential"),
    of_slots(50, "150ms", "heavy"),
    of_slots(200, "400ms"),
    of_slots(200, "1s", "exponential", seconds=60),
    of_batches(8, "100ms"),
    of_batches(32, "300ms"),
    with_slots("slower beyond 16 (× n/16)²", 16, 64, "80ms", "--slowdown-beyond", 16, "--slowdown-power", 2),
    with_slots("503 beyond 24", 24, 24, "80ms", "--fail-beyond", 24),
    with_slots("503 beyond 30", 24, 24, "80ms", "--fail-beyond", 30),
    with_slots("429 beyond 100/s", CANNOT_TELL, 16, "50ms", "--rate-limit", 100),
    with_slots("404", CANNOT_TELL, 16, "50ms", path="/v1/no-such-path"),
    Planted("nobody listens", CANNOT_TELL, listens=False),
)


@dataclasses.dataclass
class Found:
    capacity: float | None
    told: str
    seconds: float
    at_once: int     # the most that it was asked with
    left: float      # in it at the end, in slots
    wrong: list      # what was missed


def measure(planted):
    service = Service(*map(str, planted.options)) if planted.listens else None
    address = service.address if service else f"127.0.0.1:{free_port()}"
    try:
        began = time.monotonic()
        done = subprocess.run(
            [CLASSGATE, "load", "--find-knee", "--to", f"http://{address}{planted.path}", "--time",
             f"{planted.seconds}s", "--json"], capture_output=True, text=True, env=clean_environment(),
            timeout=4 * SECONDS_MOST)
        took = time.monotonic() - began
        left = service.stats()["running"] / planted.slots if service else 0
    finally:
        if service:
            service.end()
    return judge(planted, done, json.loads(done.stdout), took, left)


def judge(planted, done, knee, took, left):
    wrong = []
    if not knee["known"]:
        told = f"cannot tell: {knee['why_unknown']}"
        if done.returncode == 0 or "conf" in knee:
            wrong.append("a conf, or exit 0, all the same")
    else:
        told = f"{knee['per_second_most']:.1f} a second; {knee['method']}"
        if done.returncode != 0:
            wrong.append(f"exit {done.returncode} with a capacity")
        if planted.capacity is CANNOT_TELL:
            wrong.append("a capacity where there is none to tell")
        elif abs(knee["capacity"] / planted.capacity - 1) > OFF_MOST:
            wrong.append("the capacity")
    if took > SECONDS_MOST:
        wrong.append("the time")
    if left > 1:
        wrong.append("what is left")
    return Found(knee["capacity"] if knee["known"] else None, told, took,
                 max((step["at_once"] for step in knee.get("steps") or ()), default=0), left, wrong)


HEAD = ("| service | planted | found | off | at once, at most | took | left in it | told | goal |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |")


def line(planted, found):
    capacity = off = "-"
    if found.capacity is not None:
        capacity = f"{found.capacity:.1f}"
        if planted.capacity:
            off = f"{found.capacity / planted.capacity - 1:+.1%}"
    verdict = f"NOT reached: {', '.join(found.wrong)}" if found.wrong else "reached"
    return (f"| {planted.name} | {planted.capacity or '-'} | {capacity} | {off} | {found.at_once} "
            f"| {found.seconds:.0f} s | {found.left:.2f} × | {found.told} | {verdict} |")


def main():
    options = argparse.ArgumentParser(description="--find-knee on services of known capacity")
    options.add_argument("--record", metavar="NOTE")
    options.add_argument("words", nargs="*")
    given = options.parse_args()
    prefer()
    about = circumstances()
    services = [s for s in SERVICES if not given.words or any(word in s.name for word in given.words)]
    lines, missed, told = [HEAD], 0, 0
    print(HEAD)
    with concurrent.futures.ThreadPoolExecutor(2) as two_at_a_time:
        for planted, found in zip(services, two_at_a_time.map(measure, services)):
            lines.append(line(planted, found))
            print(lines[-1], flush=True)
            missed += bool(found.wrong)
            told += found.capacity is not None and not found.wrong
    untold = len(services) - told - missed
    lines.append(f"\n{len(services)} services: of {told} the capacity within 5 %, of {untold} that it cannot be told, "
                 f"{missed} missed")
    print(lines[-1])
    if given.record:
        keep(f"knee.py; {given.record}", about, ["", *lines])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
