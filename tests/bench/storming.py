#!/usr/bin/python3
"""Users of a real library (urllib3's Retry) that come back when they are told, twice as many as can be served, alone and
beside one client that asks again at once, without end. One table of medians and goals.
    tests/bench/storming.py [ROUNDS [SECONDS]]      default: 2 interleaved rounds, 40 s measured of each run
    --storm N     connections of the one that storms; default: 16
    --queue N     places in the queue; default: 20, two for each worker
    --json FILE   --record NOTE (adds the table to tests/bench/results.md)
And which of the clients of tests/clients make the service compute again after a 504."""
import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
import random
import socket
import statistics
import sys
import threading
import time

import urllib3

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]
from bench import Gateway, Service, prefer  # noqa: E402
from cases import CASES  # noqa: E402
from history import circumstances, keep  # noqa: E402
from kit import PAUSE, TEXT, raw_request  # noqa: E402
from library import clients  # noqa: E402
from table import HEAD, Goal, Row, lines  # noqa: E402
from wire.world import percentile  # noqa: E402

WORKERS = 10
WORK = 0.1        # seconds that a request takes: 100 a second
USERS = 200       # who think for a second between two requests
WARM_UP = 45      # seconds, in which they spread out
STORM = "127.0.0.2"
OURS, ALONE = "beside a storm", "alone"

here = threading.local()


class Told(urllib3.Retry):
    """urllib3's own, which notes what it is told and when it comes back."""

    def increment(self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None):
        if response is not None:
            here.course.told.append(int(response.headers.get("Retry-After-Ms", 0)) / 1000)
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def sleep(self, response=None):
        super().sleep(response)
        here.course.asked = time.monotonic()


class Course:
    """One request of one user, until it is served."""

    def __init__(self):
        self.began = self.asked = time.monotonic()
        self.told = []     # seconds, of each refusal
        self.ended = None
        self.status = None


class User(threading.Thread):
    def __init__(self, number, port, end):
        super().__init__(daemon=True)
        self.chance = random.Random(number)
        self.end = end
        self.courses = []
        self.pool = urllib3.HTTPConnectionPool(
            "127.0.0.1", port, maxsize=1, timeout=60, source_address=(f"127.1.{number // 250}.{number % 250 + 1}", 0),
            retries=Told(total=1000, status_forcelist=(429, 503), allowed_methods=None, raise_on_status=False))

    def run(self):
        PAUSE.wait(self.chance.uniform(0, 1))
        while time.monotonic() < self.end:
            here.course = Course()
            answer = self.pool.request("POST", "/v1/classify", body=TEXT, headers={"Content-Type": "application/json"})
            here.course.ended, here.course.status = time.monotonic(), answer.status
            self.courses.append(here.course)
            PAUSE.wait(self.chance.uniform(0, 1.9))
        self.pool.close()


def storm(port, connections, end, asked):
    """A client that asks again as soon as it is refused."""
    def ask_again():
        request = raw_request()
        with socket.create_connection(("127.0.0.1", port), 20, (STORM, 0)) as connection:
            while time.monotonic() < end:
                connection.sendall(request)
                if not connection.recv(65536):
                    break
                with asked.get_lock():
                    asked.value += 1
    for one in (crowd := [threading.Thread(target=ask_again) for _ in range(connections)]):
        one.start()
    for one in crowd:
        one.join()


def play(options, storms):
    service = Service("--concurrency", str(WORKERS), "--service-time", f"{WORK * 1000:g}ms")
    gateway = Gateway(service.address, threads=1, admission_workers=WORKERS, admission_rate=0,
                      admission_queue_size=options.queue)
    try:
        begin = time.monotonic() + WARM_UP
        end = begin + options.seconds
        asked = multiprocessing.Value("l", 0)
        rude = multiprocessing.Process(target=storm, args=(gateway.port, options.storm, end, asked), daemon=True)
        if storms:
            rude.start()
        users = [User(number, gateway.port, end) for number in range(USERS)]
        for one in users:
            one.start()
        for one in users:
            one.join()
        if storms:
            rude.join()
        courses = [course for user in users for course in user.courses if begin <= course.began < end]
        assert {course.status for course in courses} == {200}
        came_back = [course for course in courses if course.told]
        served = [course for user in users for course in user.courses if begin <= course.ended < end]
        figures = {"first": 100 * sum(len(course.told) == 1 for course in came_back) / len(came_back),
                   "told": statistics.mean(course.told[0] for course in came_back),
                   "p99": 1000 * percentile([course.ended - course.asked for course in courses], .99),
                   "p99 in all": percentile([course.ended - course.began for course in courses], .99),
                   "served": len(served) / options.seconds,
                   "refused": 100 * len(came_back) / len(courses),
                   "storm": asked.value / (WARM_UP + options.seconds)}
        print(f"  {OURS if storms else ALONE}: {len(courses)} requests of users, {figures}", file=sys.stderr, flush=True)
        return figures
    finally:
        gateway.end()
        service.end()


def after_a_504():
    """The names of all clients, and of those that make the service compute again."""
    found, _ = clients()
    names = {}
    for case in ("504", "504 as 424"):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(CASES[case], found))
        names[case] = [f"{one.client} ({one.computed})" for one in seen if one.computed > 1]
    return names


def main():
    table = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    table.add_argument("rounds", nargs="?", type=int, default=2)
    table.add_argument("seconds", nargs="?", type=int, default=40)
    table.add_argument("--storm", type=int, default=16)
    table.add_argument("--queue", type=int, default=2 * WORKERS)
    table.add_argument("--json", type=pathlib.Path)
    table.add_argument("--record", metavar="NOTE")
    options = table.parse_args()
    prefer()
    about = circumstances()
    values = {}
    for number in range(options.rounds):
        for storms in (number % 2 == 0, number % 2 != 0):  # in an order that turns
            for name, figure in play(options, storms).items():
                values.setdefault(name, {OURS: [], ALONE: []})[OURS if storms else ALONE].append(figure)
    again = after_a_504()
    rows = [Row(measure, unit, values[name], goals, subject=OURS) for name, measure, unit, goals in (
        ("first", "who came back was served at the first retry", "%", [Goal(95, is_least=True)]),
        ("told", "Retry-After of the first refusal, mean", "s", [Goal(1.1, ALONE)]),
        ("p99", "the attempt that was served, p99", "ms", [Goal(1.2, ALONE)]),
        ("p99 in all", "from the first attempt to the answer, p99", "s", [Goal(1.2, ALONE)]),
        ("served", "users served", "a second", []),
        ("refused", "requests of users that were refused first", "%", []),
        ("storm", "asked by the one that storms", "a second", []))]
    rows += [Row(f"clients that make the service compute again after a {case}", "", {OURS: [len(names)]}, [Goal(0)],
                 note=", ".join(names), subject=OURS) for case, names in again.items()]
    text = [HEAD, *(line for row in rows for line in lines(row))]
    print(*text, sep="\n")
    if options.record:
        keep(options.record, about, text)
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in rows], indent=1))


if __name__ == "__main__":
    main()
