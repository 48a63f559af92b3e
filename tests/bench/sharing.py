#!/usr/bin/env python3
"""Four gateways before one service, with their workers together by a real Redis, and beside it without: how many are in the
service at most, how much of the workers is used with nine tenths of the load at one gateway, how soon they go elsewhere, what
Redis is asked; and how much of a rate is let in. Prints a table in Markdown. `sharing.py [SECONDS] [rate]` of each window, 10 by
default; `rate`: of that alone.

    python3 tests/bench/sharing.py 10
"""
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

from bench import BUILD, PAUSE, Gateway, Service, get_json, prefer, wait_until
from redis_kit import Redis

WORKERS, GATEWAYS = 50, 4
LOADS = (72, 3, 3, 2)  # requests at once of each gateway's clients, of 80: nine tenths at one
RATE, BURST = 1000, 200
ASKED = (1350, 50, 50, 50)  # requests a second at each
STOPPED = 10  # seconds: beyond a lease and what a request may take, so that the others have its workers
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 10


class Load:
    """Clients of one gateway that ask again when they are answered, so many at once, until stop(); with a rate so many a
    second, answered or not."""

    def __init__(self, gateway, at_once, rate=0):
        self.process = subprocess.Popen(
            [BUILD / "tests/bench/bench_load", "--target", f"127.0.0.1:{gateway.port}", "--connections", str(at_once),
             "--rate", str(rate), "--requests", "1000000000", "--seconds", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Running(threading.Thread):
    """How many are in the service, looked at a hundred times a second."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.seen, self.over = service, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            stats = get_json(self.service.port, "/stats")
            self.seen.append((time.monotonic(), stats["running"] + stats["waiting"]))
            PAUSE.wait(0.01)

    def mean(self, begin, end):
        return sum(n for t, n in self.seen if begin <= t < end) / max(1, sum(begin <= t < end for t, n in self.seen))


class World:
    def __init__(self, is_shared, **limits):
        self.limits = {"admission_workers": WORKERS, "admission_rate": 0, **limits}
        self.service = Service("--concurrency", "100000", "--service-time", "50ms", "--spread", "exponential")
        self.redis = Redis()
        self.is_shared = is_shared
        self.gateways = [self.gateway() for _ in range(GATEWAYS)]
        self.wait_for_all()
        self.loads = []

    def gateway(self):
        sharing = {"sharing_redis": self.redis.url, "sharing_away_max": "30s"} if self.is_shared else {}
        return Gateway(self.service.address, admission_request_timeout="3s", threads=1, **self.limits, **sharing)

    def wait_for_all(self):
        if self.is_shared:
            for gateway in self.gateways:
                gateway.wait_for_health(lambda health: health["sharing"] == "ok", "sharing: ok", 30)

    def begin(self, loads):
        self.end_loads()
        self.loads = [Load(gateway, n) for gateway, n in zip(self.gateways, loads) if n > 0]

    def end_loads(self):
        for load in self.loads:
            load.stop()
        self.loads = []

    def most(self):
        return self.service.stats()["max_running"]

    def close(self):
        self.end_loads()
        for program in (*self.gateways, self.redis, self.service):
            program.end()


def commands(redis):
    found = re.search(rb"cmdstat_evalsha:calls=(\d+)", redis.ask("INFO", "commandstats"))
    return int(found.group(1)) if found else 0


def measured(is_shared):
    world = World(is_shared)
    row = {}
    try:
        running = Running(world.service)
        world.begin(LOADS)
        PAUSE.wait(2)
        begin, asked = time.monotonic(), commands(world.redis)
        PAUSE.wait(SECONDS)
        end = time.monotonic()
        row["use"] = running.mean(begin, end) / WORKERS
        row["commands"] = (commands(world.redis) - asked) / (end - begin) / GATEWAYS
        # All that was at the first goes to the second.
        world.begin((0, 0, 0, 0))
        wait_until(lambda: world.service.stats()["running"] == 0, "the service is idle")
        world.begin((72, 0, 0, 0))
        PAUSE.wait(2)
        for load in world.loads:
            load.stop()
        world.loads = [Load(world.gateways[1], 72)]
        began = time.monotonic()
        wait_until(lambda: world.gateways[1].health()["active_workers"] >= WORKERS * 9 // 10, "it has them", 30)
        row["moved_ms"] = (time.monotonic() - began) * 1000
        if is_shared:
            row["key_bytes"] = int(re.search(rb":(\d+)", world.redis.ask("MEMORY", "USAGE", "classgate:ledger")).group(1))
            row["expires_s"] = int(re.search(rb":(-?\d+)", world.redis.ask("TTL", "classgate:ledger")).group(1))
        faults(world, row)
        running.over.set()
        row["most"] = world.most()
        row["served"] = world.service.stats()["finished"]
        return row
    finally:
        world.close()


def faults(world, row):
    """One gateway is stopped, one killed and begun anew, Redis hung, and begun anew: each while all have more than enough
    to do."""
    world.begin((40, 40, 40, 40))
    gateways = world.gateways
    gateways[3].signal(signal.SIGSTOP)
    PAUSE.wait(max(SECONDS, STOPPED))
    gateways[3].signal(signal.SIGCONT)
    PAUSE.wait(1)
    gateways[2].signal(signal.SIGKILL)
    gateways[2].wait()
    gateways[2].end()
    gateways[2] = world.gateway()
    world.begin((40, 40, 40, 40))
    PAUSE.wait(2)
    world.redis.signal(signal.SIGSTOP)
    PAUSE.wait(3)
    world.redis.signal(signal.SIGCONT)
    began = time.monotonic()
    world.wait_for_all()
    row["healed_ms"] = (time.monotonic() - began) * 1000
    PAUSE.wait(1)
    world.redis.end()
    PAUSE.wait(2)
    world.redis = Redis(port=world.redis.port)
    began = time.monotonic()
    world.wait_for_all()
    row["healed_anew_ms"] = (time.monotonic() - began) * 1000
    PAUSE.wait(2)


def rate_measured(is_shared):
    """Served in ten seconds, least and most, over several such."""
    world = World(is_shared, admission_workers=400, admission_queue_size=2000, admission_rate=RATE, admission_burst=BURST)
    try:
        world.loads = [Load(gateway, 64, rate) for gateway, rate in zip(world.gateways, ASKED)]
        PAUSE.wait(4)
        seen = []
        end = time.monotonic() + 10 + 2 * SECONDS
        while time.monotonic() < end:
            seen.append((time.monotonic(), world.service.stats()["finished"]))
            PAUSE.wait(0.1)
        tens = [(b - a) * 10 / (t - s) for s, a in seen for t, b in seen if 10 <= t - s < 10.2]
        return {"least": min(tens), "most": max(tens), "median": statistics.median(tens)}
    finally:
        world.close()


def tell_rate():
    shared, alone = rate_measured(True), rate_measured(False)
    print(f"\n{GATEWAYS} gateways, {RATE} requests a second and a burst of {BURST}; {'/'.join(map(str, ASKED))} are asked for\n")
    print("| measure | together | each alone | goal |\n| --- | --- | --- | --- |")
    print(f"| served in 10 s, at most | {shared['most']:.0f} | {alone['most']:.0f} | {10 * RATE * 1.01:.0f} |")
    print(f"| served in 10 s, median | {shared['median']:.0f} | {alone['median']:.0f} | |")
    print(f"| served in 10 s, at least | {shared['least']:.0f} | {alone['least']:.0f} | {10 * RATE * 0.98:.0f} |")
    return 0 if shared["most"] <= 10 * RATE * 1.01 else 1


def main():
    prefer()
    if "rate" in sys.argv[2:]:
        return tell_rate()
    shared, alone = measured(True), measured(False)
    print(f"{GATEWAYS} gateways, {WORKERS} workers, a service of 50 ms (exponential); windows of {SECONDS:g} s\n")
    print("| measure | together | each alone | goal |\n| --- | --- | --- | --- |")
    for name, key, form, goal in (
            ("most at once in the service, through all faults", "most", "{:.0f}", f"{WORKERS}"),
            ("use of the workers, 90 % of the load at one gateway", "use", "{:.1%}", "98 %"),
            ("until another gateway has nine tenths of them", "moved_ms", "{:.0f} ms", "150 ms"),
            ("commands to Redis a second, each gateway", "commands", "{:.1f}", "20"),
            ("memory of the ledger in Redis", "key_bytes", "{:.0f} bytes", "1 MiB"),
            ("it expires in", "expires_s", "{:.0f} s", "at all"),
            ("healed after Redis was hung", "healed_ms", "{:.0f} ms", "1000 ms"),
            ("healed after Redis was begun anew", "healed_anew_ms", "{:.0f} ms", "1000 ms"),
            ("requests served", "served", "{:.0f}", "")):
        cells = [form.format(row[key]) if key in row and not (row is alone and "healed" in key) else "-"
                 for row in (shared, alone)]
        print(f"| {name} | {cells[0]} | {cells[1]} | {goal} |")
    print(json.dumps({"together": shared, "alone": alone}), file=sys.stderr)
    return tell_rate() or (0 if shared["most"] <= WORKERS else 1)


if __name__ == "__main__":
    sys.exit(main())
