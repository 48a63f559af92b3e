#!/usr/bin/env python3
"""Who used how much: the history tells the same as the books, the metrics and the access log. With
CLASSGATE_USAGE_REQUESTS=1000000 over so many requests."""
import collections
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import unittest

from changeable import Changeable
from kit import STORM, FolderTest, get_json, scrape, wait_until

REQUESTS = int(os.environ.get("CLASSGATE_USAGE_REQUESTS", "6000"))
SUMS = ("requests", "served", "refused", "failed", "abandoned", "cost", "bytes_in", "bytes_out")
OUTCOMES = {"processed": "served", "rejected": "refused", "failed": "failed", "abandoned": "abandoned"}

# The time of day, by as many seconds off as a file says: for a process that runs.
SHIFTED_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
static volatile long long* shift;
static int (*real)(clockid_t, struct timespec*);
__attribute__((constructor)) static void find(void) {
  const int fd = open(getenv("CLOCK_SHIFT"), O_RDONLY);
  real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  shift = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
}
int clock_gettime(clockid_t clock, struct timespec* now) {
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int result = real(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && shift) now->tv_sec += *shift;
  return result;
}
"""


def samples(gateway, family):
    """{labels: value} of one family of /metrics."""
    found = re.findall(rf"^{family}(?:\{{(.*?)\}})? ([\d.e+]+)$", scrape(gateway)[1], re.MULTILINE)
    return {tuple(sorted(re.findall(r'(\w+)="(.*?)"', labels))): float(value) for labels, value in found}


def from_log(lines):
    """What the access log tells: as usage tells it."""
    sums, reasons, clients = collections.Counter(), collections.Counter(), collections.Counter()
    for line in lines:
        reason, verdict = line["reason"], line["verdict"]
        # What the service answers with 500 or more it has served, as the books have it.
        failed = verdict == "admitted" and (reason or "").startswith(("upstream", "stream"))
        end = ("refused" if verdict == "rejected" else "abandoned" if verdict in ("abandoned", "queued") or
               line["status"] == 0 else "failed" if failed else "served")
        sums.update({"requests": 1, end: 1, "bytes_in": line["bytes_in"], "bytes_out": line["bytes_out"],
                     "cost": line["cost"] if verdict == "admitted" else 0})
        clients[line["client"]] += 1
        if end == "refused":
            reasons[reason] += 1
    return sums, reasons, clients


class History(FolderTest):
    def open(self, service, **settings):
        return self.start(Changeable(service.address, **{"state_dir": self.folder, "clients_secret": self.folder / "secret",
                                                         "fairness_identity": "header:x-tenant, address",
                                                         **settings}))

    def usage(self, gateway, **query):
        return get_json(gateway.ops_port, "/api/v1/usage?" + "&".join(f"{k}={v}" for k, v in query.items()))

    def test_usage_books_metrics_and_access_log_tell_the_same(self):
        log = pathlib.Path(self.folder) / "access.log"
        service = self.service("--concurrency", "8", "--service-time", "1ms", "--fail-beyond", "6")
        gateway = self.open(service, log_access=log, log_format="json", log_access_lines_max=1_000_000,
                            log_refusals_max=1_000_000, admission_workers=8, admission_queue_size=20,
                            admission_rate=REQUESTS // 6, admission_burst=50, threads=2)
        done = subprocess.run([STORM, "--target", gateway.address, "--requests", str(REQUESTS), "--connections", "64",
                               "--abort", "0.1", "--seconds", "900"], capture_output=True, timeout=1000)
        self.assertEqual(done.returncode, 0, done.stderr)
        for tenant in "ab":
            for _ in range(5):
                gateway.request(headers={"x-tenant": tenant})
        health = gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "rest")
        self.assertGreater(health["abandoned_requests"], 0)
        self.assertGreater(health["rejected_requests"], 0)
        books = {"requests": health["total_requests"], "served": health["processed_requests"],
                 "refused": health["rejected_requests"], "failed": health["failed_requests"],
                 "abandoned": health["abandoned_requests"]}
        told = wait_until(lambda: (lambda u: u if u["total"]["requests"] >= books["requests"] else None)(
            self.usage(gateway, by="client", top=10)), "all to be counted")
        total = told["total"]
        self.assertEqual({name: total[name] for name in books}, books)
        refused_for = {word: n for word, n in health["rejected_by_reason"].items() if n}
        failed_for = {word: n for word, n in health["failed_by_reason"].items() if n}
        self.assertEqual(total["reasons"], refused_for | failed_for)

        metrics = collections.Counter()
        for labels, value in samples(gateway, "classgate_requests_total").items():
            metrics[OUTCOMES[dict(labels)["outcome"]]] += int(value)
        self.assertEqual(dict(metrics), {name: books[name] for name in OUTCOMES.values()})
        self.assertEqual(samples(gateway, "classgate_history_requests_total"), {(): books["requests"]})
        self.assertEqual(sum(samples(gateway, "classgate_received_bytes_total").values()), total["bytes_in"])
        self.assertEqual(sum(samples(gateway, "classgate_sent_bytes_total").values()), total["bytes_out"])

        lines = wait_until(lambda: (lambda ls: ls if len(ls) >= books["requests"] else None)(
            log.read_text().splitlines()), "all lines")
        sums, reasons, clients = from_log(json.loads(line) for line in lines)
        self.assertEqual({name: sums[name] for name in SUMS}, {name: total[name] for name in SUMS})
        self.assertEqual(dict(reasons), refused_for)
        self.assertEqual({row["key"]: row["requests"] for row in told["rows"]}, dict(clients))
        self.assertEqual(told["others"]["requests"], 0)

        for by in ("plan", "route", "priority", "status", "client"):
            for top in (0, 1, 100):
                with self.subTest(by=by, top=top):
                    table = self.usage(gateway, by=by, top=top)
                    self.assertLessEqual(len(table["rows"]), top)
                    for name in SUMS:
                        self.assertEqual(sum(row[name] for row in [*table["rows"], table["others"]]), total[name], name)
        statuses = {row["key"]: row["requests"] for row in self.usage(gateway, by="status", top=100)["rows"]}
        self.assertEqual(statuses, dict(collections.Counter(
            str(json.loads(line)["status"] or "-") for line in lines)))
        words = {row["key"]: row["requests"] for row in self.usage(gateway, by="reason", top=100)["rows"]}
        self.assertEqual(words, total["reasons"])

    def test_what_was_used_is_told_by_the_next_process_too(self):
        service = self.service()
        gateway = self.open(service)
        for tenant in "aab":
            self.assertEqual(gateway.request(headers={"x-tenant": tenant}).status, 200)
        before = self.usage(gateway)
        self.assertEqual([row["requests"] for row in before["rows"]], [2, 1])
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)
        after = self.open(service)
        told = wait_until(lambda: (lambda u: u if u["rows"] else None)(self.usage(after)), "the history")
        self.assertEqual([(row["key"], row["requests"]) for row in told["rows"]],
                         [(row["key"], row["requests"]) for row in before["rows"]])
        for tenant in "bc":
            after.request(headers={"x-tenant": tenant})
        wait_until(lambda: [row["requests"] for row in self.usage(after)["rows"]] == [2, 2, 1], "both processes' sums")
        sessions = get_json(after.ops_port, "/api/v1/sessions")
        self.assertEqual((sessions["returning"], sessions["new"]), (1, 1))

    def test_where_nothing_can_be_written_it_is_kept_in_memory_and_said_once(self):
        gateway = self.open(self.service(), state_dir="/proc/nowhere")
        gateway.request()
        wait_until(lambda: self.usage(gateway)["total"]["requests"] == 1, "the request")
        gateway.request()
        wait_until(lambda: self.usage(gateway)["total"]["requests"] == 2, "the other")
        self.assertEqual(len(re.findall("(?<!conf )history: ", gateway.err())), 1, gateway.err())

    def test_a_file_that_is_cut_short_in_use_ends_nothing(self):
        gateway = self.gateway(self.service().address)
        for count in (1, 2, 3):
            self.assertEqual(gateway.request().status, 200)
            self.assertEqual(self.usage(gateway)["total"]["requests"], count)
            with open(pathlib.Path(gateway.state.name) / "history.db-shm", "r+b") as index:
                index.truncate(0)
        self.assertEqual(gateway.request().status, 200)
        wait_until(lambda: "cut short while it was in use" in gateway.err(), "what is said of it")
        self.assertEqual(gateway.request().status, 200)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)

    def test_without_a_history_nothing_is_kept(self):
        gateway = self.open(self.service(), history_keep="false")
        self.assertEqual(gateway.request().status, 200)
        for path in ("usage", "series", "sessions"):
            body = get_json(gateway.ops_port, f"/api/v1/{path}", any_status=True)
            self.assertIn("history.keep", body["error"])
        self.assertEqual(samples(gateway, "classgate_history_requests_total"), {})
        self.assertEqual(list(pathlib.Path(self.folder).glob("history*")), [])

    def test_a_client_is_forgotten_and_the_sums_stay(self):
        gateway = self.open(self.service())
        for tenant in "aab":
            gateway.request(headers={"x-tenant": tenant})
        first = wait_until(lambda: (lambda u: u if u["total"]["requests"] == 3 else None)(self.usage(gateway)),
                           "three requests")["rows"][0]["key"]
        status, text = self.forget(gateway, first)
        self.assertEqual(status, 200)
        self.assertGreater(int(re.search(r"(\d+) rows of it are deleted", text).group(1)), 0)
        told = self.usage(gateway)
        self.assertEqual([row["requests"] for row in told["rows"]], [1])
        self.assertEqual((told["others"]["requests"], told["total"]["requests"]), (2, 3))
        self.assertEqual(self.forget(gateway, first)[0], 404)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)
        for file in pathlib.Path(self.folder).glob("history*"):
            self.assertNotIn(first.encode(), file.read_bytes())

    def test_who_is_forgotten_is_new_when_he_comes_again(self):
        gateway = self.open(self.service())
        gateway.request(headers={"x-tenant": "a"})
        gateway.request(headers={"x-tenant": "b"})
        rows = wait_until(lambda: (lambda u: u if u["total"]["requests"] == 2 else None)(self.usage(gateway)), "both")["rows"]
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)
        gateway = self.open(self.service())
        self.assertEqual(self.forget(gateway, rows[0]["key"])[0], 200)
        for tenant in "ab":
            gateway.request(headers={"x-tenant": tenant})
        told = wait_until(lambda: (lambda s: s if s["sessions_begun"] == 2 else None)(
            get_json(gateway.ops_port, "/api/v1/sessions")), "both to come again")
        self.assertEqual((told["new"], told["returning"]), (1, 1))

    def test_what_an_old_process_could_not_write_is_written_before_it_ends(self):
        service = self.service()
        gateway = self.open(service)
        gateway.request(headers={"x-tenant": "a"})
        wait_until(lambda: self.usage(gateway)["total"]["requests"] == 1, "the first")
        other = sqlite3.connect(pathlib.Path(self.folder) / "history.db", isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            gateway.request(headers={"x-tenant": "a"})
        wait_until(lambda: samples(gateway, "classgate_history_rows_waiting").get((), 0) > 0, "rows to wait")
        told = gateway.do("upgrade")
        self.assertRegex(told, r"the history cannot be written now: \d+ rows wait in process \d+")
        gateway.wait_for_text(r"this process ends when \d+ rows are written", gateway.err)
        other.execute("ROLLBACK")
        wait_until(lambda: self.usage(gateway)["total"]["requests"] == 4, "all of the old process")

    def test_a_clock_that_is_set_back_is_said_and_no_request_is_lost(self):
        if shutil.which("cc") is None:
            self.skipTest("no C compiler")
        source, library, shift = (pathlib.Path(self.folder) / name for name in ("shift.c", "shift.so", "shift"))
        source.write_text(SHIFTED_CLOCK)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
        shift.write_bytes(struct.pack("q", 0).ljust(4096, b"\0"))

        def set_clock(seconds):
            with open(shift, "r+b") as file:
                file.write(struct.pack("q", seconds))
        gateway = self.open(self.service(), environment={
            "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})

        def counted(requests):
            wait_until(lambda: samples(gateway, "classgate_history_requests_total").get((), 0) == requests,
                       f"{requests} to be counted")
        for tenant in "ab":
            gateway.request(headers={"x-tenant": tenant})
        wait_until(lambda: self.usage(gateway)["total"]["requests"] == 2, "two requests")
        set_clock(-172_800)  # to another day: rows of days that are not over hold what is still to come of them
        gateway.request(headers={"x-tenant": "a"})
        gateway.wait_for_text(r"the clock has been set back by 172\d\d\d s", gateway.err)
        counted(3)
        self.assertEqual(self.usage(gateway, since=600)["total"]["requests"], 1)  # the others are still to come
        gateway.request(headers={"x-tenant": "b"})
        counted(4)
        set_clock(0)
        gateway.request(headers={"x-tenant": "c"})
        counted(5)
        told = self.usage(gateway, since=604_800)
        self.assertEqual(told["total"]["requests"], 5)
        self.assertEqual(sorted(row["requests"] for row in told["rows"]), [1, 2, 2])
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)

    def forget(self, gateway, client):
        connection = http.client.HTTPConnection("localhost", timeout=20)
        self.addCleanup(connection.close)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(gateway.control)
        connection.request("POST", "/forget", client)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def test_sessions_are_begun_and_go_on(self):
        gateway = self.open(self.service())
        for tenant in "aabc":
            gateway.request(headers={"x-tenant": tenant})
        told = wait_until(lambda: (lambda s: s if s["sessions_begun"] == 3 else None)(
            get_json(gateway.ops_port, "/api/v1/sessions")), "three sessions")
        self.assertEqual((told["active_now"], told["active_60m"], told["distinct_day"], told["new"]), (3, 3, 3, 3))
        self.assertEqual(sorted(one["requests"] for one in told["open"]), [1, 1, 2])
        self.assertEqual(max(hour["peak"] for hour in told["peak_hour"]), 3)
        wait_until(lambda: samples(gateway, "classgate_active_users")[(("within", "60m"),)] == 3, "the metric")


if __name__ == "__main__":
    unittest.main()
