#!/usr/bin/env python3
"""A service that speaks unasked, behind classgate, nginx and HAProxy, which keep their connections to it: how many
answers reach the client that asked for them, another one, or nobody. One table in Markdown.
    tests/bench/unasked.py [SECONDS]      of each row; default: 5
Exit status 1 when more of classgate's answers are another's than of any other's."""
import dataclasses
import multiprocessing
import random
import socket
import socketserver
import sys
import threading
import time

from peers import Job, installed, running
from kit import PAUSE

CLIENTS = 8
SHARE = 0.2         # of the answers after which one more is said
SERVICE_TIME = 0.002
MANNERS = {"with the answer": 0.0, "a moment later": 0.005, "much later": 0.1}  # seconds


def answer(text):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


class Conversation(socketserver.StreamRequestHandler):
    """Answers each request with its path; says some answers once more."""

    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while line := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                PAUSE.wait(SERVICE_TIME)
                self.say(answer(line.split()[1].decode()))
        except OSError:
            pass

    def say(self, text):
        delay = MANNERS[self.server.manner]
        is_said_twice = random.random() < SHARE
        self.wfile.write(text * 2 if is_said_twice and not delay else text)
        if is_said_twice and delay:
            threading.Timer(delay, self.say_again, [text]).start()

    def say_again(self, text):
        try:
            self.wfile.write(text)
        except (OSError, ValueError):
            pass  # closed meanwhile


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 500


class Service:
    def __init__(self, manner):
        server = Server(("127.0.0.1", 0), Conversation)
        server.manner = manner
        server.handle_error = lambda *_: None
        self.address = "127.0.0.1:%d" % server.server_address[1]
        self.process = multiprocessing.Process(target=server.serve_forever, daemon=True)
        self.process.start()
        server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()


@dataclasses.dataclass
class Counts:
    own: int = 0
    anothers: int = 0
    refused: int = 0  # another status
    broken: int = 0

    def total(self):
        return self.own + self.anothers + self.refused + self.broken


class Client(threading.Thread):
    """Asks for one thing after the other, each with a name of its own, on a connection that it keeps."""

    def __init__(self, port, number, end):
        super().__init__()
        self.port, self.number, self.end = port, number, end
        self.counts = Counts()
        self.connection = None

    def run(self):
        count = 0
        while time.monotonic() < self.end:
            count += 1
            try:
                self.ask(f"/{self.number}/{count}")
            except (OSError, ValueError, IndexError):
                self.counts.broken += 1
                self.close()
        self.close()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def ask(self, path):
        if not self.connection:
            self.connection = socket.create_connection(("127.0.0.1", self.port), 5)
            self.file = self.connection.makefile("rb")
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        status = int(self.file.readline().split()[1])
        length, closes = 0, False
        while line := self.file.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            closes = closes or line == b"connection: close"
        text = self.file.read(length).decode()
        if status != 200:
            self.counts.refused += 1
        elif text == path:
            self.counts.own += 1
        else:
            self.counts.anothers += 1
        if closes:
            self.close()


def measure(name, manner, seconds):
    with Service(manner) as service, running([name], Job(service.address)) as peers:
        end = time.monotonic() + seconds
        clients = [Client(peers[0].port, number, end) for number in range(CLIENTS)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
    return Counts(*(sum(getattr(one.counts, field.name) for one in clients) for field in dataclasses.fields(Counts)))


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{100 * SHARE:.0f} % of the answers are said twice; {CLIENTS} clients, GET\n")
    print("| said again | gateway | answers | own | another's | refused | broken |\n| --- | --- | --- | --- | --- | --- | --- |")
    is_best = True
    for manner in MANNERS:
        shares = {}
        for name in filter(installed, ("classgate", "nginx", "haproxy")):
            counts = measure(name, manner, seconds)
            total = max(counts.total(), 1)
            shares[name] = counts.anothers / total
            print(f"| {manner} | {name} | {total} | " + " | ".join(
                f"{100 * getattr(counts, field.name) / total:.2f} %" for field in dataclasses.fields(Counts)) + " |", flush=True)
        is_best = is_best and shares["classgate"] <= min(shares.values())
    return 0 if is_best else 1


if __name__ == "__main__":
    sys.exit(main())
