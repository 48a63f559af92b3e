#!/usr/bin/env python3
"""What the gateway costs, in numbers that do not depend on the machine's speed: system calls for each
request, wake-ups of an idle process, resident memory."""
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from kit import PAUSE, STORM, ProcessTest, Program, wait_until


def storm(gateway, requests, connections, abort=0.0, seconds=120):
    done = subprocess.run([STORM, "--target", gateway.address, "--requests", str(requests),
                           "--connections", str(connections), "--abort", str(abort),
                           "--seconds", str(seconds)], capture_output=True, timeout=seconds + 60)
    return json.loads(done.stdout)


# In what strace wrote: a call that waits, with what came of it.
CAME_BACK = re.compile(r"^\d+ +(?:<\.\.\. )?(?:epoll_p?wait2?|p?poll|p?select6?|(?:clock_)?nanosleep|restart_syscall|"
                       r"futex(?: resumed|\(\w+, FUTEX_WAIT)).*\) += ", re.MULTILINE)


def calls_of(summary):
    """strace -c: {system call: count}"""
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ )?(\w+)$", summary, re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


class Footprint(ProcessTest):
    def test_a_proxied_request_costs_two_reads_and_two_writes(self):
        upstream = self.service("--concurrency", "64")
        gateway = self.gateway(upstream.address, admission_rate=0)
        storm(gateway, 2000, 64)  # connections to the upstream are there, buffers have grown
        counts = tempfile.NamedTemporaryFile("r")
        tracer = self.start(Program(["strace", "-f", "-c", "-o", counts.name, "-p",
                                     str(gateway.process.pid)]))
        tracer.wait_for_text(r"attached", tracer.err)
        requests = 20_000
        self.assertEqual(storm(gateway, requests, 64)["by_status"], {"200": requests})
        tracer.signal(signal.SIGINT)
        tracer.wait()
        calls = calls_of(pathlib.Path(counts.name).read_text())
        reads_and_writes = sum(calls.get(name, 0) for name in (
            "read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"))
        print(f"\nfor each request: {reads_and_writes / requests:.3f} reads and writes, "
              f"{calls.get('epoll_wait', 0) / requests:.3f} epoll_wait, "
              f"{sum(calls.values()) / requests:.3f} in all")
        self.assertGreaterEqual(reads_and_writes, 4 * requests)  # else the count itself is broken
        # Once for each connection, never for each request. Beyond four: opening and closing the storm's own 64 connections, letters between loops.
        self.assertLessEqual(reads_and_writes, 4.1 * requests, calls)
        self.assertLessEqual(calls.get("epoll_ctl", 0), requests / 20, calls)
        self.assertNotIn("ioctl", calls)

    def test_an_idle_gateway_wakes_at_most_once_a_second(self):
        upstream = self.service()
        gateway = self.gateway(upstream.address)
        self.assertEqual(gateway.request().status, 200)

        # What it waited in and came back from. (Its voluntary switches tell more: the kernel makes a
        # thread sleep when it moves a page that the thread wants.)
        def woke_up(seconds, meanwhile=lambda: None):
            calls = tempfile.NamedTemporaryFile("r")
            tracer = self.start(Program(["strace", "-f", "-o", calls.name, "-p", str(gateway.process.pid)]))
            tracer.wait_for_text(r"attached", tracer.err)
            meanwhile()
            PAUSE.wait(seconds)  # the span that is measured
            tracer.signal(signal.SIGINT)
            tracer.wait()
            return len(CAME_BACK.findall(pathlib.Path(calls.name).read_text()))

        # What the start and the request began is over: a second of rest, which who wakes more often never has.
        wait_until(lambda: woke_up(1) <= 1, "a second with one wake-up at most")
        # Longer than what happens once in five seconds, or at the turn of a minute, makes of a short one.
        seconds = 20
        wakeups = woke_up(seconds)
        print(f"\n{wakeups} wake-ups in {seconds} s")
        self.assertLessEqual(wakeups, seconds)
        self.assertGreaterEqual(woke_up(0, gateway.request), 2)  # else the count itself is broken

    def test_it_starts_in_less_than_12_mib(self):
        upstream = self.service()
        gateway = self.gateway(upstream.address)
        gateway.health()
        status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
        print(f"\n{resident} KiB resident after start")
        self.assertLess(resident, 12 * 1024)


if __name__ == "__main__":
    unittest.main(verbosity=2)
