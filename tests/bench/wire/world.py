"""One run on the wire: a service, something in front of it, and clients that come whatever becomes of them.
What each request met is known from the clients' side, so that all sides are measured alike."""
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time

from bench import Service, cpu_seconds, most_files
from kit import CLASSGATE, PAUSE, clean_environment, get_json, wait_until

FILES = 40_000  # descriptors, for those who wait at ten times what the service can do
WORK = "uniform 45ms 55ms"  # what a request takes
CAPACITY = 50  # of the service: requests that it computes at once
NOMINAL = 1000  # requests a second: what that makes

# answered: when, in seconds from the start; answer: after so many ms.
Request = collections.namedtuple("Request", "due kind client attempt ended reason answer retry_after answered")


@dataclasses.dataclass(frozen=True)
class Scale:
    rounds: int
    seconds: int                # of an ordinary run; the long ones take several times as long
    loads: tuple = (2, 5, 10)   # of `overload`
    only_ours: bool = False     # classgate alone, for the smoke test

    @property
    def warm_up(self):
        return min(3.0, self.seconds / 4)

    def seeds(self):
        """One for each round: the same course of chance for all sides."""
        return range(1, self.rounds + 1)

    def fewer(self):
        """For runs that take several times as long."""
        return dataclasses.replace(self, rounds=max(1, self.rounds // 3))


class Outcome:
    """What one run has come to."""

    def __init__(self, requests, finished, busy, late_ms, samples):
        self.requests = requests
        self.finished = finished  # by the service
        self.busy = busy          # {"gateway": share of a core, "service": , "clients": , "others": }
        self.late_ms = late_ms    # the latest that a request was sent
        self.samples = samples    # [(seconds, /queue/health)], if it was watched

    def due(self, begin, end, kind=None):
        return [r for r in self.requests if begin <= r.due < end and (kind is None or r.kind == kind)]

    def answers(self, begin, end, kind=None):
        """In ms, of those that were due then and were served."""
        return [r.answer for r in self.due(begin, end, kind) if r.ended == "served"]

    def served(self, begin, end, kind=None):
        """Those that were served then."""
        return sum(r.ended == "served" and begin <= r.answered < end and (kind is None or r.kind == kind)
                   for r in self.requests)

    def circumstances(self):
        cpu = {f"cpu {name}": 100 * share for name, share in self.busy.items()}
        return {**cpu, "late": self.late_ms}


CIRCUMSTANCES = {
    "cpu gateway": ("CPU of the gateway", "% of a core", []),
    "cpu service": ("CPU of the service", "% of a core", []),
    "cpu clients": ("CPU of the clients", "% of a core", []),
    "cpu others": ("CPU that others had, or that was stolen", "% of a core", []),
    "late": ("a request was sent late, at most", "ms", []),
}


def percentile(values, share):
    """None of none."""
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def percent(part, whole):
    return 100 * part / whole if whole else 0.0


def run(side, classes, seconds, seed=1, service=("--concurrency", str(CAPACITY)), work=WORK, then=(), watched=False,
        forwarded_for=False):
    """Runs `classes`, [[class]] tables of a workload, against a `side` in front of a service with these options.
    `then`: [(seconds, path)] that the service is asked for meanwhile."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="classgate-wire-")))
        upstream = Service(*service)
        stack.callback(upstream.end)
        peer = stack.enter_context(side.start(upstream))
        (folder / "workload.toml").write_text(
            f'duration = "{round(seconds * 1000)}ms"\nseed = {seed}\n[upstream]\nservice = "{work}"\n{classes}')
        before, machine_before = cpu_of(peer, upstream), machine_cpu()
        began = time.monotonic()
        watch = Watch(upstream, peer if watched else None, then)
        stack.callback(watch.end)
        lines, late_ms, clients_cpu = make_load(folder, peer.port, seconds, forwarded_for)
        took = time.monotonic() - began
        watch.end()
        cpu = {name: spent - before[name] for name, spent in cpu_of(peer, upstream).items()}
        cpu["clients"] = clients_cpu
        cpu["others"] = max(0, machine_cpu() - machine_before - sum(cpu.values()))
        busy = {name: spent / took for name, spent in cpu.items()}
        wait_until(lambda: upstream.stats()["running"] == 0, "an idle service", 60)
        side.check_books(peer)
        outcome = Outcome(read(lines), upstream.stats()["finished"], busy, late_ms, watch.samples)
    served = sum(r.ended == "served" for r in outcome.requests)
    if served > outcome.finished:
        raise AssertionError(f"{side.name}: {served} of {outcome.finished} that were computed were served")
    told = {name: f"{100 * share:.0f} %" for name, share in busy.items()}
    print(f"  {side.name}: {len(outcome.requests)} requests, {outcome.finished} computed, CPU {told}, "
          f"sent late at most {late_ms:.1f} ms", file=sys.stderr, flush=True)
    return outcome


def cpu_of(peer, upstream):
    return {"gateway": sum(map(cpu_seconds, peer.pids)), "service": cpu_seconds(upstream.process.pid)}


def machine_cpu():
    """Time that this machine's cores were busy, or were taken away by the one that it runs on."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def make_load(folder, port, seconds, forwarded_for):
    """Returns the file of requests, how late one was sent at most (ms), and the time on a core (s)."""
    lines, summary = folder / "requests.tsv", folder / "summary.json"
    # It has descriptors of its own beside those, and says so where there are too few.
    connections = min(FILES // 2, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200)
    command = [CLASSGATE, "load", "--workload", folder / "workload.toml", "--to", f"http://127.0.0.1:{port}",
               "--service-time-header", "X-Service-Time", "--requests", lines, f"--json={summary}",
               "--time", f"{round(seconds * 1000) + 1000}ms", "--connections", str(connections)]
    if forwarded_for:
        command.append("--forwarded-for")
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, env=clean_environment())
    end = time.monotonic() + seconds + 120
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > end:
            process.kill()
            process.wait()
            raise AssertionError("the load does not end")
        PAUSE.wait(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise AssertionError(f"the load ended with {process.returncode}")
    return lines, json.loads(summary.read_text())["sent_late_ms_most"], usage.ru_utime + usage.ru_stime


def read(lines):
    requests = []
    with open(lines) as rows:
        next(rows)
        for row in rows:
            due, kind, client, attempt, ended, reason, answer, retry_after = row.rstrip("\n").split("\t")
            due, answer = float(due), float(answer)
            requests.append(Request(due, kind, client, int(attempt), ended, reason, answer, float(retry_after),
                                    due + answer / 1000))
    return requests


class Watch:
    """Beside a load: asks the service for what it is told to when the time comes, and the gateway how it is."""

    def __init__(self, upstream, peer, then):
        self.upstream, self.peer = upstream, peer
        self.then = collections.deque(sorted(then))
        self.samples = []
        self.error = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.try_to_watch)
        if then or peer:
            self.thread.start()

    def try_to_watch(self):
        try:
            self.watch()
        except Exception as error:  # whoever waits for the end is told
            self.error = error

    def watch(self):
        began = time.monotonic()
        while not self.over.wait(0.25):
            at = time.monotonic() - began
            while self.then and self.then[0][0] <= at:
                get_json(self.upstream.port, self.then.popleft()[1])
            if self.peer:
                self.samples.append((at, self.peer.program.health()))

    def end(self):
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()
        if self.error:
            raise self.error


class Direct:
    """Nothing in front of the service."""
    name = "the service itself"
    pids = ()

    def start(self, upstream):
        self.port = upstream.port
        return contextlib.nullcontext(self)

    def check_books(self, peer):
        pass


def most_of_the_service(users, seed=1, **options):
    """Requests a second that it answers to so many users who ask again at once, with nothing in front."""
    seconds = 4
    classes = f'[[class]]\nname = "busy"\nusers = {users}\nthink = "0ms"\n'
    outcome = run(Direct(), classes, seconds, seed, **options)
    return outcome.served(1, seconds) / (seconds - 1)


def raise_file_limit():
    files = most_files(FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
