"""Paced clients that never stop: what became of each of their requests, and how long nobody was answered."""
import random
import select
import socket
import threading
import time

from kit import PAUSE, raw_request, read_answer


class Client(threading.Thread):
    """One client: keeps its connection as HTTP/1.1 clients do, or makes a new one for each request."""

    def __init__(self, traffic, number, keeps):
        super().__init__()
        self.traffic = traffic
        self.keeps = keeps
        self.random = random.Random(number)
        self.connection = None
        self.sent = 0
        self.answers = []  # (time, status)
        self.failures = []
        self.told_to_close = 0

    def run(self):
        gap = self.traffic.gap
        due = time.monotonic() + self.random.uniform(0, gap)
        while not self.traffic.over.is_set():
            rest = due - time.monotonic()
            if rest > 0:
                PAUSE.wait(rest)
            due = max(due + gap, time.monotonic() - 1)
            self.ask()
        self.close()

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def is_stale(self):
        """Closed by the other side while idle: a client looks before it sends."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def ask(self):
        self.sent += 1
        try:
            if self.connection and self.is_stale():
                self.close()
            if not self.connection:
                self.connection = socket.create_connection(("127.0.0.1", self.traffic.port), timeout=30)
            self.connection.sendall(raw_request())
            answer = read_answer(self.connection)
            if answer is None:
                raise OSError("closed without an answer")
        except OSError as error:
            self.failures.append(repr(error))
            self.close()
            return
        self.answers.append((time.monotonic(), answer.status))
        self.told_to_close += answer.closes
        if answer.closes or not self.keeps:
            self.close()


class Traffic:
    """`rate` requests a second from `clients` clients, half of which keep their connections."""

    def __init__(self, port, rate=1000, clients=40):
        self.port = port
        self.gap = clients / rate
        self.over = threading.Event()
        self.clients = [Client(self, n, keeps=n % 2 == 0) for n in range(clients)]

    def __enter__(self):
        self.began = time.monotonic()
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for client in self.clients:
            client.join()

    def answered(self):
        return sum(len(client.answers) for client in self.clients)

    def report(self):
        times = sorted(t for client in self.clients for t, _ in client.answers)
        failures = [f for client in self.clients for f in client.failures]
        failures += [f"status {status}" for client in self.clients for _, status in client.answers
                     if status != 200]
        return {"sent": sum(client.sent for client in self.clients), "answered": len(times),
                "failed": len(failures), "failures": failures[:5],
                "refused": sum("ConnectionRefused" in failure for failure in failures),
                "told_to_close": sum(client.told_to_close for client in self.clients),
                "longest_gap_ms": round(1000 * max((b - a for a, b in zip(times, times[1:])), default=0)),
                "seconds": round(times[-1] - self.began, 1) if times else 0}
