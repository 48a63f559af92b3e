#!/usr/bin/env python3
"""Is a quota exact? A million requests of one client, through a restart, an upgrade (twice: once while the quota runs
out, with both processes serving) and a kill -9, before a service that counts what it gets. The listening socket is
held from outside, as a service manager does, so that the storm goes on. Never more than the quota and one second's
worth may reach the service. Exit 1 when it was more, or when it was over too soon to tell what a second is worth.
    tests/bench/quota_exact.py [REQUESTS [SERVICE-TIME]]   default: 1,000,000 (a minute or two), 0ms"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from bench import PAUSE, STORM, Gateway, Service, wait_until

CONF = """
[clients]
secret = "{folder}/secret"
quota_file = "{folder}/quotas.db"

[fairness]
identity = ["address"]

[[plan]]
name = "metered"
clients = ["address:127.0.0.1"]
quota_month = {quota}
"""
SETTINGS = {"admission_rate": 0, "admission_queue_size": 1000, "drain_timeout": "10s", "handover_grace": "3s"}


class Rate:
    """What the service gets, and the most that it got within a second."""

    def __init__(self, service):
        self.service, self.most, self.is_over = service, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        seen = []
        while not self.is_over.wait(0.05):
            now = time.monotonic()
            seen.append((now, self.service.stats()["started"]))
            seen = [pair for pair in seen if pair[0] > now - 1.2]
            last = [count for at, count in seen if at <= now - 1]
            if last:
                self.most = max(self.most, seen[-1][1] - last[-1])

    def end(self):
        self.is_over.set()
        self.thread.join()


class World:
    def __init__(self, folder, quota, service_time):
        self.conf = CONF.format(folder=folder, quota=quota)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.service = Service("--service-time", service_time)
        self.gateway = self.start()

    def start(self):
        given = self.listener.fileno()
        wrapper = ["sh", "-c", f'exec 3<&{given}; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=listen exec "$@"', "sh"]
        return Gateway(self.service.address, conf=self.conf, wrapper=wrapper, pass_fds=[given], **SETTINGS)

    def restart(self, number):
        former, self.gateway.conf = self.gateway, self.gateway.conf
        former.signal(number)
        former.wait()
        self.gateway = self.start()

    def upgrade(self):
        code, out, err = self.gateway.command("upgrade")
        assert code == 0, out + err
        former = self.gateway.process
        self.successor = int(out.split()[1])
        wait_until(lambda: former.poll() is not None, "the end of the former process", 30)

    def replace_successor(self):
        """The upgraded one ends in order; one that we can wait for takes its place."""
        os.kill(self.successor, signal.SIGTERM)
        wait_until(lambda: not pathlib.Path(f"/proc/{self.successor}").exists() or
                   "State:\tZ" in pathlib.Path(f"/proc/{self.successor}/status").read_text(), "its end", 30)
        self.gateway = self.start()

    def storm(self, requests):
        return subprocess.Popen([STORM, "--target", f"127.0.0.1:{self.listener.getsockname()[1]}", "--requests",
                                 str(requests), "--connections", "50", "--abort", "0", "--seconds", "600"],
                                stdout=subprocess.PIPE, text=True)


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    quota = requests * 6 // 10
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder, quota, sys.argv[2] if len(sys.argv) > 2 else "0ms")
        rate = Rate(world.service)
        began, run, events = time.monotonic(), world.storm(requests), []

        def at(share, what, do):
            wait_until(lambda: world.service.stats()["started"] >= quota * share or run.poll() is not None, what, 600)
            do()
            events.append(f"{what} at {world.service.stats()['started']}")
        try:
            at(0.2, "restart", lambda: world.restart(signal.SIGTERM))
            at(0.4, "kill -9", lambda: world.restart(signal.SIGKILL))
            at(0.6, "upgrade", world.upgrade)
            at(0.7, "restart", world.replace_successor)
            at(0.97, "upgrade while it runs out", world.upgrade)
            said = json.loads(run.communicate(timeout=600)[0])
            PAUSE.wait(0.1)
            reached = world.service.stats()["started"]
            rate.end()
            lasted = time.monotonic() - began
        finally:
            rate.end()
            run.kill()
            os.kill(getattr(world, "successor", 0) or world.gateway.process.pid, signal.SIGKILL)
            world.gateway.end()
            world.service.end()
    over = reached - quota
    print(f"storm:   {said}, {lasted:.0f} s")
    print(f"events:  {'; '.join(events)}")
    print(f"service: {reached} of a quota of {quota}: {over:+} (one second's worth was {rate.most})")
    if rate.most == 0:
        sys.exit("cannot tell: it took less than a second; ask for more requests, or a longer service time")
    good = 0 <= over + rate.most and over <= rate.most
    print("the quota held" if good else "THE QUOTA DID NOT HOLD")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
