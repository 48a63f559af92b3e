#!/usr/bin/env python3
"""The attack with invented API keys on the wire: one address sends as many as it can, a new key each time, while
known clients ask on at their pace. What the unknown ones got, what the known ones lost, and what it cost in memory.
Exit 1 when the unknown got more than one client's share, or the known lost 1 %.
    tests/bench/million_keys.py [KEYS] [SECONDS]       defaults: 1,000,000 keys in 60 s, whichever is over first"""
import hashlib
import pathlib
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import PAUSE, Gateway, Service, raw_request, read_answer  # noqa: E402

KNOWN, PACE = 20, 0.25  # clients, and seconds between two requests of one
RATE, BURST = 5, 20     # of one client
BATCH = 50              # requests that are sent at once

CONF = """
[admission]
rate = 0
[fairness]
identity = ["header:X-Api-Key"]
rate = {rate}
burst = {burst}
[clients]
clients_file = "{file}"
secret = "off"
unknown_max = 1000
[client]
requests_per_connection = 0
"""


def memory_of(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def refusals(connection, count):
    """How many of the next so many answers are 429. What is left of the last body is read with the next ones."""
    said = b""
    while min(said.count(b"HTTP/1.1 "), said.count(b"\r\n\r\n")) < count:
        part = connection.recv(1 << 20)
        if not part:
            raise ConnectionError("cut")
        said += part
    return said.count(b"HTTP/1.1 429")


def attack(port, keys, until, told):
    sent = served = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        while sent < keys and time.monotonic() < until:
            count = min(BATCH, keys - sent)
            connection.sendall(b"".join(b"GET /any HTTP/1.1\r\nHost: a\r\nX-Api-Key: invented-%d\r\n\r\n" % (sent + i)
                                        for i in range(count)))
            sent += count
            served += count - refusals(connection, count)
    told.append((sent, served))


def customer(port, number, until, told):
    asked = served = 0
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(raw_request(headers=f"X-Api-Key: known-{number}\r\nConnection: close\r\n"))
            asked += 1
            served += read_answer(connection).head.startswith("HTTP/1.1 200")
        PAUSE.wait(PACE)
    told.append((asked, served))


def main():
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    service = Service("--service-time", "2ms")
    with tempfile.NamedTemporaryFile("w") as file:
        for number in range(KNOWN):
            file.write(f"customer-{number} key=sha256:{hashlib.sha256(b'known-%d' % number).hexdigest()}\n")
        file.flush()
        gateway = Gateway(service.address, conf=CONF.format(rate=RATE, burst=BURST, file=file.name))
        try:
            before, began = memory_of(gateway.process.pid), time.monotonic()
            until = began + seconds
            attacked, known = [], []
            threads = [threading.Thread(target=attack, args=(gateway.port, keys, until, attacked))]
            threads[0].start()
            customers = [threading.Thread(target=customer, args=(gateway.port, n, until, known)) for n in range(KNOWN)]
            for thread in customers:
                thread.start()
            threads[0].join()
            lasted = time.monotonic() - began
            for thread in customers:
                thread.join()
            grown = memory_of(gateway.process.pid) - before
        finally:
            gateway.end()
            service.end()
    (sent, served), asked, had = attacked[0], sum(a for a, _ in known), sum(s for _, s in known)
    share = BURST + RATE * lasted
    print(f"unknown: {sent} keys in {lasted:.1f} s, {served} served; one client's share is {share:.0f}")
    print(f"known:   {asked} requests, {had} served, {100 * (asked - had) / asked:.2f} % lost")
    print(f"memory:  {grown} KiB more")
    good = served <= share + 1 and asked - had < 0.01 * asked
    print("the known ones noticed nothing" if good else "THE KNOWN ONES NOTICED")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
