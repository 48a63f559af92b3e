#!/usr/bin/env python3
"""What it costs that operators watch the page while the gateway is stormed, against the goals: bytes a second of each
viewer, CPU of the process with 100 viewers beside none, and, in a real browser, until a change is seen and whether its
heap grows.   watching.py [--viewers 100] [--seconds 20] [--minutes 10] [--no-browser]"""
import argparse
import contextlib
import pathlib
import socket
import statistics
import sys
import threading
import time

from bench import PAUSE, Gateway, Service, storm, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from browser import Browser  # noqa: E402

BYTES_MAX, CORE_MAX, SEEN_MAX, HEAP_GROWTH_MAX = 2048, 0.02, 2.0, 1.1


class Viewers:
    """Who watch the events; their bytes after the first event, which tells all."""

    def __init__(self, gateway, count):
        self.sockets, self.bytes = [], []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20)
            one.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = b""
            while b"event: all" not in text or not text.endswith(b"\n\n"):
                text += one.recv(65536)
            one.setblocking(False)
            self.sockets.append(one)
            self.bytes.append(0)

    def read(self):
        for i, one in enumerate(self.sockets):
            with contextlib.suppress(BlockingIOError):
                while part := one.recv(65536):
                    self.bytes[i] += len(part)

    def close(self):
        for one in self.sockets:
            one.close()


@contextlib.contextmanager
def under_storm(gateway):
    over = threading.Event()

    def run():
        seed = 0
        while not over.is_set():
            seed += 1
            storm(gateway.port, 2000, 16, abort=0.02, seed=seed)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def cpu_of_operators_loop(gateway):
    """Of the main thread: the loops of the data path are others."""
    pid = gateway.process.pid
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def watched(gateway, count, seconds):
    """The share of a core that the operators' loop takes, and the bytes a second that most was sent of the viewers."""
    viewers = Viewers(gateway, count)
    begin, before = time.monotonic(), cpu_of_operators_loop(gateway)
    while time.monotonic() < begin + seconds:
        PAUSE.wait(0.2)
        viewers.read()
    took = time.monotonic() - begin
    share = (cpu_of_operators_loop(gateway) - before) / took
    viewers.close()
    if count > 0 and min(viewers.bytes) == 0:
        raise AssertionError("a viewer was told nothing")
    return share, max(viewers.bytes, default=0) / took


def cost_of_viewers(gateway, count, seconds):
    """Beside a time before the first viewer: the gateway looks on for ten minutes after the last one."""
    with under_storm(gateway):
        alone, _ = watched(gateway, 0, seconds)
        before = gateway.health()["total_requests"]
        share, most = watched(gateway, count, seconds)
        print(f"  {(gateway.health()['total_requests'] - before) / seconds:.0f} requests/s; the operators' loop takes "
              f"{alone:.4f} of a core alone and {share:.4f} with {count} viewers")
    return share - alone, most


def until_seen(gateway, browser):
    worst = 0
    for _ in range(5):
        before = browser.ask("store.now.total_requests")
        gateway.request()
        begin = time.monotonic()
        wait_until(lambda known=before: browser.ask("store.now.total_requests") > known, "the request on the page")
        worst = max(worst, time.monotonic() - begin)
    return worst


def heap(browser):
    for _ in range(2):
        browser.call("HeapProfiler.collectGarbage")
    return browser.call("Runtime.getHeapUsage")["usedSize"]


def growth_of_heap(gateway, browser, minutes):
    """By its last quarter beside its first, once what it keeps of the last ten minutes (store.recent) is full: with
    copies of what has come, else that would be what grows."""
    with under_storm(gateway):
        browser.ask("while (store.recent.length < 600) store.recent.unshift(structuredClone(store.recent.at(-1))); null")
        PAUSE.wait(minutes * 6)
        samples = []
        for _ in range(20):
            PAUSE.wait(minutes * 60 * 0.9 / 20)
            samples.append(heap(browser))
    kept = browser.ask("store.recent.length")
    print(f"  heap after garbage collection, KiB: {', '.join(str(one // 1024) for one in samples)}; {kept} samples kept")
    return statistics.median(samples[-5:]) / statistics.median(samples[:5])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--minutes", type=float, default=10, help="of watching the heap; 0: not at all")
    parser.add_argument("--no-browser", action="store_true")
    asked = parser.parse_args()
    service = Service("--concurrency", "16", "--service-time", "5ms")
    gateway = Gateway(service.address, admission_rate=300, admission_burst=20, ops_viewers_max=asked.viewers + 10)
    missed = []

    def tell(what, value, most, shown):
        print(f"{what}: {shown} (goal: {most})")
        if value > most:
            missed.append(what)
    try:
        gateway.wait_for_health(lambda h: h["status"] == "ok", "an upstream")
        cost, rate = cost_of_viewers(gateway, asked.viewers, asked.seconds)
        tell(f"CPU for {asked.viewers} viewers", cost, CORE_MAX, f"{cost:.4f} of a core")
        tell("bytes a second of a viewer", rate, BYTES_MAX, f"{rate:.0f}")
        if not asked.no_browser:
            browser = Browser()
            try:
                browser.visit(f"http://127.0.0.1:{gateway.ops_port}/")
                wait_until(lambda: browser.ask("store.now.time > 0"), "the first event")
                seen = until_seen(gateway, browser)
                tell("until a request is seen", seen, SEEN_MAX, f"{seen:.2f} s at most of 5")
                if asked.minutes > 0:
                    growth = growth_of_heap(gateway, browser, asked.minutes)
                    tell(f"heap over {asked.minutes:g} minutes", growth, HEAP_GROWTH_MAX, f"x {growth:.3f}")
            finally:
                browser.close()
    finally:
        gateway.end()
        service.end()
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
