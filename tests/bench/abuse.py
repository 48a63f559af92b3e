#!/usr/bin/env python3
"""What each kind of abuse does to one well-behaved client beside it: success, latency, peak memory; and whether all
workers are free afterwards (50 requests at once are all in the service). A table in Markdown.
    tests/bench/abuse.py [SECONDS [ABUSE...]]        of each abuse; default: 5, all of them
    tests/bench/abuse.py --soak MINUTES              all of them mixed, at 2 threads: what is left in the end"""
import multiprocessing
import os
import pathlib
import resource
import selectors
import socket
import ssl
import struct
import sys
import threading
import time

from bench import Gateway, Service, balance, get_json, wait_until
from authority import Authority
from kit import TEXT, ask, raw_request

WORKERS = 50
MEMORY = 128  # client.memory's default, in MiB; the process may have 32 more
AUTHORITY = Authority()
CERTIFICATE = AUTHORITY.issue("localhost", names=("DNS:localhost",))
PAUSE = threading.Event()


def connect(port, receive_buffer=0):
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(5)
    connection.connect(("127.0.0.1", port))
    return connection


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def trickle(port, end, count, first, bit, pause, receive_buffer=0):
    """`count` connections that say `first` and then a little at a time; whoever is sent away comes again."""
    crowd = []
    while time.monotonic() < end:
        while len(crowd) < count:
            try:
                crowd.append(connect(port, receive_buffer))
                crowd[-1].sendall(first)
                crowd[-1].setblocking(False)
            except OSError:
                break
        for connection in list(crowd):
            try:
                connection.send(bit)
            except BlockingIOError:
                pass
            except OSError:
                crowd.remove(connection)
                connection.close()
        PAUSE.wait(pause)
    for connection in crowd:
        connection.close()


def slow_heads(port, end):
    trickle(port, end, 500, b"GET /x HTTP/1.1\r\nHost: a\r\nX: ", b"y", 0.2)


def slow_bodies(port, end):
    trickle(port, end, 300, b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", b"y" * 20, 0.2)


def slow_uploads(port, end):
    """Larger than what is held before a worker is asked for: each that gets so far has one."""
    first = b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b" " * 70_000
    trickle(port, end, 2 * WORKERS, first, b" " * 400, 0.2)


def slow_readers(port, end):
    trickle(port, end, 200, raw_request() * 20, raw_request(), 0.2, receive_buffer=1)


def large_readers(port, end):
    """They ask for more than is held for a reader, and take next to nothing of it."""
    size = 6 << 20
    request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b" " * size
    crowd = []
    while time.monotonic() < end:
        if len(crowd) < WORKERS + 10:
            connection = connect(port, receive_buffer=1)
            try:
                connection.sendall(request)
                crowd.append(connection)
            except OSError:
                connection.close()
        for connection in list(crowd):
            try:
                connection.setblocking(False)
                if not connection.recv(1):
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                crowd.remove(connection)
                connection.close()
    for connection in crowd:
        connection.close()


def idlers(port, end):
    crowd = []
    while time.monotonic() < end and len(crowd) < 10_000:
        try:
            crowd.append(connect(port))
        except OSError:
            break
    while time.monotonic() < end:
        PAUSE.wait(0.1)


def connect_and_reset(port, end):
    while time.monotonic() < end:
        try:
            reset(connect(port))
        except OSError:
            PAUSE.wait(0.01)


def many_heads(port, end):
    head = b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: %s\r\n" % (i, b"y" * 400) for i in range(200))
    while time.monotonic() < end:
        try:
            with connect(port) as connection:
                connection.sendall(head)
                connection.recv(1000)
        except OSError:
            pass


def half_closes(port, end):
    while time.monotonic() < end:
        try:
            with connect(port) as connection:
                connection.sendall(raw_request())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        except OSError:
            pass


def aborts(port, end):
    """Of requests that wait, and of requests in flight."""
    while time.monotonic() < end:
        crowd = []
        try:
            for _ in range(3 * WORKERS):
                crowd.append(connect(port))
                crowd[-1].sendall(raw_request())
        except OSError:
            pass
        for number, connection in enumerate(crowd):
            reset(connection) if number % 2 else connection.close()


def garbage(port, end):
    while time.monotonic() < end:
        try:
            with connect(port) as connection:
                connection.sendall(os.urandom(3000))
                connection.recv(1000)
        except OSError:
            pass


def is_answered(connection):
    """Or gone; its part of a handshake is no answer."""
    try:
        said = connection.recv(65536)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not said or said.startswith(b"HTTP/")


def hold(port, end, count, first, batch=200):
    """`count` connections that each say `first`, as far as it is taken, and wait; whoever is sent away comes again."""
    crowd = {}
    selector = selectors.DefaultSelector()
    while time.monotonic() < end:
        for _ in range(min(batch, count - len(crowd))):
            try:
                connection = connect(port)
                connection.setblocking(False)
                crowd[connection] = connection.send(first)
                selector.register(connection, selectors.EVENT_READ)
            except OSError:
                connection.close()
                break
        for connection in [c for c, sent in crowd.items() if sent < len(first)]:
            try:
                crowd[connection] += connection.send(first[crowd[connection]:])
            except OSError:
                pass  # not now, or sent away: see below
        for key, _ in selector.select(timeout=0.02):
            if is_answered(key.fileobj):
                selector.unregister(key.fileobj)
                del crowd[key.fileobj]
                key.fileobj.close()
    for connection in crowd:
        connection.close()


def half_heads(port, end):
    hold(port, end, 9000, b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 32_000)


def half_bodies(port, end):
    hold(port, end, 9000, b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 65000\r\n\r\n" + b" " * 64_000)


def tls_hellos(port, end):
    """Handshakes of which only the first word comes."""
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        hold(port, end, 3000, hello.read())


ABUSES = (slow_heads, slow_bodies, slow_uploads, slow_readers, large_readers, idlers, connect_and_reset, many_heads, half_closes,
          aborts, garbage, half_heads, half_bodies, tls_hellos)


class GoodClient:
    """One request every 20 ms, on a connection that it keeps."""

    def __init__(self, gateway):
        self.gateway, self.connection = gateway, gateway.connect(10)
        self.times, self.failures = [], []

    def run_until(self, end, over=PAUSE):
        while time.monotonic() < end and not over.is_set():
            begin = time.monotonic()
            try:
                answer = ask(self.connection)
                if answer.status == 200:
                    self.times.append(time.monotonic() - begin)
                else:
                    self.failures.append(answer.reason)
            except (OSError, ConnectionError) as error:
                self.failures.append(repr(error))
                self.connection.close()
                self.connection = self.gateway.connect(10)
            PAUSE.wait(max(0.0, 0.02 - (time.monotonic() - begin)))

    def row(self):
        total = len(self.times) + len(self.failures)
        ordered = sorted(self.times) or [0.0]
        return (f"{100 * len(self.times) / total:.2f} % of {total} | {1000 * ordered[len(ordered) // 2]:.1f} | "
                f"{1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]:.1f}")


def memory(pid, what):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def free_workers(gateway, service):
    """How many of 50 requests at once are in the service together."""
    connections = [connect(gateway.port) for _ in range(WORKERS)]
    for connection in connections:
        connection.sendall(raw_request())
    most = 0
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ)
    answered = 0
    while answered < WORKERS:
        most = max(most, service.stats()["max_running"])
        for key, _ in selector.select(timeout=10):
            assert b" 200 " in key.fileobj.recv(65536)
            selector.unregister(key.fileobj)
            answered += 1
    for connection in connections:
        connection.close()
    return max(most, service.stats()["max_running"])


def settled(gateway):
    health = wait_until(lambda: (lambda h: h if not h["active_workers"] and not h["queue_size"] else None)(
        get_json(gateway.ops_port, "/queue/health", any_status=True)), "the workers are free", 60)
    assert balance(health) == 0, health
    return health


def under(abuse, seconds):
    service = Service("--concurrency", str(WORKERS), "--service-time", "5ms")
    gateway = Gateway(service.address, admission_rate=0, client_connections_per_address=0,
                      listen="127.0.0.1:0, https://127.0.0.1:0", tls_certificate=CERTIFICATE[0],
                      tls_key=CERTIFICATE[1])
    port = gateway.port
    if abuse is tls_hellos:
        port = int(gateway.wait_for_text(r"https://127\.0\.0\.1:(\d+)", gateway.err).group(1))
    good = GoodClient(gateway)
    good.run_until(time.monotonic() + 0.2)
    good.times.clear()
    end = time.monotonic() + seconds
    attacker = multiprocessing.Process(target=abuse, args=(port, end)) if abuse else None
    if attacker:
        attacker.start()
    good.run_until(end)
    if attacker:
        attacker.join(20)
    peak = memory(gateway.process.pid, "VmHWM")
    settled(gateway)
    PAUSE.wait(max(0.0, end + 10 - time.monotonic()))
    after = memory(gateway.process.pid, "VmRSS")
    slow = Service("--concurrency", str(WORKERS), "--service-time", "500ms")
    gateway.command("set", "upstream.servers", slow.address)
    free = free_workers(gateway, slow)
    name = abuse.__name__.replace("_", " ") if abuse else "nothing"
    print(f"| {name} | {good.row()} | {peak:.1f}{'' if peak <= MEMORY + 32 else ' (too much)'} | {after:.1f} | {free} |", flush=True)
    for reason in sorted(set(map(str, good.failures)))[:3]:
        print(f"  (failed: {reason})", flush=True)
    for program in (gateway, service, slow):
        program.end()


def soak(minutes):
    service = Service("--concurrency", str(WORKERS), "--service-time", "5ms")
    gateway = Gateway(service.address, admission_rate=0, threads=2, client_max_connections=5000)
    pid = gateway.process.pid
    good = GoodClient(gateway)
    good.run_until(time.monotonic() + 1)
    before = descriptors(pid)
    begin = time.monotonic()
    end = begin + 60 * minutes
    samples = []
    kinds = [abuse for abuse in ABUSES if abuse is not idlers]
    turn = 0
    while time.monotonic() < end:
        until = min(end, time.monotonic() + 10)
        attackers = [multiprocessing.Process(target=kinds[(turn + i) % len(kinds)], args=(gateway.port, until))
                     for i in range(3)]
        turn += 1
        for attacker in attackers:
            attacker.start()
        good.run_until(until)
        for attacker in attackers:
            attacker.join(20)
        samples.append((time.monotonic() - begin, memory(pid, "VmRSS")))
    good.connection.close()
    health = settled(gateway)
    wait_until(lambda: get_json(gateway.ops_port, "/queue/health", any_status=True)["connections"] == 0, "nobody is left", 120)
    # Kept connections to the service go after upstream.idle_timeout (30 s).
    wait_until(lambda: descriptors(pid) < before, "the descriptors have gone", 60)
    late = [rss for at, rss in samples if at > 30 * minutes]
    print(f"soak of {minutes} min at 2 threads: good client {good.row()} (success, p50 ms, p99 ms)")
    print(f"requests {health['total_requests']}, processed {health['processed_requests']}, "
          f"rejected {health['rejected_requests']}, abandoned {health['abandoned_requests']}, "
          f"failed {health['failed_requests']}: the books balance")
    print(f"descriptors {before} before (with the good client), {descriptors(pid)} after (without)")
    print(f"RSS in the last half: {min(late):.1f} to {max(late):.1f} MiB; "
          f"first of it {late[0]:.1f}, last {late[-1]:.1f}")
    gateway.end()
    service.end()


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if sys.argv[1:2] == ["--soak"]:
        return soak(float(sys.argv[2]))
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    wanted = [abuse for abuse in ABUSES if abuse.__name__ in sys.argv[2:]] or [None, *ABUSES]
    print(f"text of {len(TEXT)} bytes, one request every 20 ms beside the abuse\n")
    print("| abuse | good client | p50 ms | p99 ms | peak RSS MiB | RSS 10 s later | workers free after |\n|---|---|---|---|---|---|---|")
    for abuse in wanted:
        under(abuse, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
