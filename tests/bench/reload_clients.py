#!/usr/bin/env python3
"""A reload with very many known clients, on the wire: how long `classgate reload` takes, and the longest time in which
a loop answered nothing meanwhile, beside the same without a reload. Each loop is asked by connections of its own, one
request after the other; the file says something else each time. Prints one JSON line; exit 1 when the median of the
reloads took 300 ms or more, or the median of their longest gaps is 10 ms longer than without.
    tests/bench/reload_clients.py [CLIENTS] [RELOADS]       defaults: 50,000 clients, 9 reloads
Other work on the machine makes gaps: let it be idle, or give it more than its share (nice -n -15)."""
import hashlib
import json
import pathlib
import socket
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import PAUSE, Gateway, Service, read_answer  # noqa: E402

CONNECTIONS = 4  # for each loop there is one, or more

CONF = """
threads = 2
[admission]
rate = 0
[fairness]
identity = ["header:X-Api-Key"]
[clients]
clients_file = "{file}"
secret = "off"
[client]
requests_per_connection = 0
"""


def lines_of(clients, version):
    return "".join(f"client-{i} key=sha256:{hashlib.sha256(f'{version}-{i}'.encode()).hexdigest()}\n"
                   for i in range(clients))


class Asker(threading.Thread):
    """Asks one thing after the other, and knows when it was answered."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.answered = []
        self.is_over = False

    def run(self):
        while not self.is_over:
            self.connection.sendall(b"GET /status HTTP/1.1\r\nHost: a\r\nX-Api-Key: 0-7\r\n\r\n")
            assert read_answer(self.connection).status == 200
            self.answered.append(time.monotonic())
            PAUSE.wait(0.0005)


def longest_gap(askers, begin, end):
    """In ms: of the connections the one that waited longest between two answers."""
    gaps = [0.0]
    for asker in askers:
        times = [t for t in list(asker.answered) if begin <= t <= end]
        gaps += [b - a for a, b in zip(times, times[1:])]
    return max(gaps) * 1e3


def main():
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    reloads = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "clients"
        texts = [lines_of(clients, version) for version in (0, 1)]
        file.write_text(texts[0])
        service = Service()
        gateway = Gateway(service.address, conf=CONF.format(file=file))
        askers = [Asker(gateway.port) for _ in range(CONNECTIONS)]
        took, gaps, gaps_without = [], [], []
        try:
            for asker in askers:
                asker.start()
            for number in range(reloads):
                begin = time.monotonic()
                PAUSE.wait(0.5)
                gaps_without.append(longest_gap(askers, begin, time.monotonic()))
                file.write_text(texts[(number + 1) % 2])
                begin = time.monotonic()
                code, out, err = gateway.command("reload")
                took.append((time.monotonic() - begin) * 1e3)
                assert code == 0, err
                PAUSE.wait(0.2)  # the rules before are taken apart
                gaps.append(longest_gap(askers, begin, time.monotonic()))
            answered = sum(len(asker.answered) for asker in askers)
        finally:
            for asker in askers:
                asker.is_over = True
            for asker in askers:
                asker.join(10)
            gateway.end()
            service.end()
    result = {"clients": clients, "reloads": reloads, "reload_ms": round(statistics.median(took), 1),
              "reload_ms_most": round(max(took), 1), "gap_ms": round(statistics.median(gaps), 2),
              "gap_ms_most": round(max(gaps), 2), "gap_ms_without": round(statistics.median(gaps_without), 2),
              "gap_ms_without_most": round(max(gaps_without), 2), "answers": answered}
    print(json.dumps(result))
    return 1 if result["reload_ms"] >= 300 or result["gap_ms"] - result["gap_ms_without"] >= 10 else 0


if __name__ == "__main__":
    sys.exit(main())
