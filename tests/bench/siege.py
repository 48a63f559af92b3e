#!/usr/bin/env python3
"""Many attacks at once (attacks.py), a service that is rude at times (rude_service.py) and an operator who never rests
(reloads, broken confs, certificates, logs, upgrades), at 2 threads, with good clients all the while. In the end, or at
once where it is so:
  - no process of the gateway has ended but for a successor, each with status 0, and none with a sanitizer's report
  - no invariant was broken, no exception contained; the books balance and nothing is held for anybody
  - descriptors are as many as after the warm-up, and RSS (but under AddressSanitizer) is not more than MARGIN MiB above
    what it was
Exit status 1 and the reason otherwise. Upgrades are in the first third only: the rest is one process, which is measured.
(One file, long as it is: the operator, the clients and the judge share the one gateway and its books.)
    CLASSGATE_BUILD=build/asan tests/bench/siege.py MINUTES [SEED]      default: 10, and a seed that is printed"""
import ctypes
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from attacks import ATTACKS, TRUSTED
from authority import Authority
from bench import Service, balance, get_json, status_of, wait_until
from kit import CLASSGATE, PAUSE, Program, clean_environment, free_port, raw_request, read_answer
from rude_service import RudeService

MARGIN = 24            # MiB that RSS may be above what it was after the warm-up
KEPT = 8 << 20         # client memory of nobody at most: what was used for exchanges is kept for the next ones
ROUND = 10             # seconds of the same attacks
AT_ONCE = 5            # of them
PR_SET_CHILD_SUBREAPER = 36
IS_SANITIZED = b"__asan_init" in pathlib.Path(CLASSGATE).read_bytes()
SANITIZER = re.compile(r"ERROR: AddressSanitizer|runtime error:|ERROR: LeakSanitizer|WARNING: ThreadSanitizer|terminate called")


class Failed(Exception):
    """What must not be has been seen; says what."""


class Fortress:
    """The gateway under siege, whichever process it is at the moment, and its conf."""

    def __init__(self, chance):
        self.chance = chance
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="classgate-siege-"))
        self.authority = Authority()
        self.certificates = [self.authority.issue(f"siege{n}", names=("DNS:localhost",), kind=kind)
                             for n, kind in enumerate(("ec", "rsa", "ec"))]
        self.client = self.authority.issue("good")
        self.service = Service("--concurrency", "20", "--service-time", "5ms")
        self.rude = RudeService()
        self.ports = {name: free_port() for name in ("plain", "flip", "tls", "ops")}
        self.conf = self.folder / "classgate.conf"
        self.control = self.folder / "control"
        self.use_certificate(0)
        self.conf.write_text(self.quiet_conf())
        options = {"ASAN_OPTIONS": "quarantine_size_mb=8:detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
        self.program = Program([CLASSGATE, "--conf", self.conf], options, nofile=8192)
        self.program.wait_for_text("operators at", self.program.err)
        self.pid = self.program.process.pid
        self.old = []  # processes that have handed over, or will not take over
        self.upgrades = 0
        self.open = []  # descriptors at the last rest

    def use_certificate(self, number):
        for source, name in zip(self.certificates[number], ("cert.pem", "cert.key")):
            shutil.copy(source, self.folder / (name + ".new"))
            os.replace(self.folder / (name + ".new"), self.folder / name)

    # ---- Confs ------------------------------------------------------------------------------------

    def quiet_conf(self):
        return self.conf_text({"flip": "https://", "servers": [self.service.address, self.rude.address], "workers": 20,
                               "queue": 500, "rate": 0, "identity": ["header:X-Api-Key", "address"], "proxy": False,
                               "trusted": [], "log": str(self.folder / "access.log"), "client_certificate": "off",
                               "body_buffer": "64KiB", "discipline": "fifo", "abort": "finish", "more": ""})

    def any_conf(self):
        pick = self.chance.choice
        trusted = pick(([], [TRUSTED], ["127.0.0.8/30"]))
        return self.conf_text({
            "flip": pick(("https://", "")), "servers": pick(([self.service.address, self.rude.address], [self.service.address],
                                                            [self.rude.address, self.service.address])),
            "workers": pick((5, 20, 50, '"auto"')), "queue": pick((20, 500)), "rate": pick((0, 0, 300)),
            "identity": pick((["header:X-Api-Key", "address"], ["address"], [])), "proxy": bool(trusted) and pick((True, False)),
            "trusted": trusted, "client_certificate": pick(("off", "optional", "required")),
            "log": pick((str(self.folder / "access.log"), "off", "stdout", "/dev/full")),
            "body_buffer": pick(("64KiB", "1KiB", "1B")), "discipline": pick(("fifo", "adaptive")),
            "abort": pick(("finish", "cancel")),
            "more": pick(("", "[deadlines]\nfrom_client = true\n", "[upstream.check]\npath = \"/health\"\ninterval = \"1s\"\n",
                          "[observe]\nrate = true\n", "[reserve]\npriority_3 = 0.3\n"))})

    def conf_text(self, say):
        return f"""listen = ["127.0.0.1:{self.ports["plain"]}", "{say["flip"]}127.0.0.1:{self.ports["flip"]}",
          "https://127.0.0.1:{self.ports["tls"]}"]
threads = 2
core_dumps = true
drain_timeout = "10s"
[tls]
certificate = "{self.folder}/cert.pem"
key = "{self.folder}/cert.key"
client_certificate = "{say["client_certificate"]}"
client_ca = "{self.authority.ca}"
[upstream]
servers = {json.dumps(say["servers"])}
idle_timeout = "2s"
websocket = true
eject_time = "1s"
unasked_pause = "2s"
on_client_abort = "{say["abort"]}"
[admission]
workers = {say["workers"]}
queue_size = {say["queue"]}
rate = {say["rate"]}
discipline = "{say["discipline"]}"
request_timeout = "5s"
[fairness]
identity = {json.dumps(say["identity"])}
clients_max = 2000
[client]
max_connections = 3000
memory = "64MiB"
header_timeout = "1s"
body_timeout = "1s"
idle_timeout = "3s"
send_timeout = "3s"
body_buffer = "{say["body_buffer"]}"
connections_per_address = 2000
trusted_proxies = {json.dumps(say["trusted"])}
proxy_protocol = {json.dumps(say["proxy"])}
[log]
access = "{say["log"]}"
[ops]
listen = ["127.0.0.1:{self.ports["ops"]}"]
control = "{self.control}"
[[route]]
path = "/items"
priority = 4
cost = "items:texts"
{say["more"]}"""

    # ---- What the operator does -------------------------------------------------------------------

    def reload(self):
        self.conf.write_text(self.any_conf())
        os.kill(self.pid, signal.SIGHUP)

    def reload_often(self):
        for _ in range(10):
            self.reload()
            PAUSE.wait(0.03)

    def reload_broken(self):
        self.conf.write_text(self.chance.choice((
            "workers = ", self.any_conf().replace("workers = ", "workers = -"), self.any_conf() + '\n[x]\ny = "\x1b[31m"\n',
            self.any_conf().replace("cert.pem", "caf\u00e9.pem"), "")))
        os.kill(self.pid, signal.SIGHUP)

    def renew_certificate(self):
        self.use_certificate(self.chance.randrange(len(self.certificates)))
        os.kill(self.pid, signal.SIGHUP)

    def rotate_logs(self):
        try:
            os.replace(self.folder / "access.log", self.folder / "access.log.1")
        except FileNotFoundError:
            pass
        os.kill(self.pid, signal.SIGUSR1)

    def command(self, *words):
        return subprocess.run([CLASSGATE, "--socket", self.control, *words], capture_output=True, timeout=60,
                              env=clean_environment())

    def ask(self):
        self.command(*self.chance.choice((
            ("status",), ("queue",), ("status", "--clients"), ("explain", "POST", "/v1/classify"),
            ("explain", "GET", "/\x1b[31m", "-H", "X-Api-Key: \u00e9"))))
        get_json(self.ports["ops"], "/queue/health", any_status=True)

    def set_something(self):
        self.command("set", *self.chance.choice((
            ("admission.workers", "3"), ("log.access", b"/nowhere/caf\xe9"), ("log.access", "/dev/full"),
            ("admission.queue_size", "1"), ("client.memory", "8MiB"), ("upstream.servers", "127.0.0.1:1"),
            ("fairness.clients_max", "10"), ("client.max_connections", "20"))))

    def upgrade(self):
        """Also from a broken conf: then this process must serve on."""
        good = self.chance.random() < 0.7
        self.conf.write_text(self.any_conf() if good else "workers = ")
        before = self.pid
        done = self.command("upgrade")
        taken = re.search(rb"process (\d+) took over", done.stdout)
        if not taken:
            return
        self.upgrades += 1
        self.pid = int(taken.group(1))
        self.old.append(before)

    # ---- What must be so --------------------------------------------------------------------------

    def report_of_sanitizer(self):
        found = SANITIZER.search(self.program.err())
        return self.program.err()[found.start():][:4000] if found else None

    def check_alive(self):
        report = self.report_of_sanitizer()
        if report:
            raise Failed(report)
        for pid in list(self.old):
            status = self.ended(pid)
            if status is not None:
                self.old.remove(pid)
                if status != 0:
                    raise Failed(f"process {pid}, which had handed over, ended with {status}:\n{self.last_words()}")
        status = self.ended(self.pid)
        if status is not None:
            raise Failed(f"process {self.pid} ended with {status}:\n{self.last_words()}")

    def ended(self, pid):
        """Its status, negative for a signal's; None while it runs. Successors are ours, since we reap orphans."""
        if pid == self.program.process.pid:
            return self.program.process.poll()
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None if pathlib.Path(f"/proc/{pid}").exists() else "unknown"  # its parent has not ended yet
        return os.waitstatus_to_exitcode(status) if found else None

    def last_words(self):
        return "\n".join(self.program.err().splitlines()[-60:])

    def metric(self, name):
        done = subprocess.run(["curl", "-s", f"http://127.0.0.1:{self.ports['ops']}/metrics"], capture_output=True, text=True,
                              timeout=30, check=True)
        values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", done.stdout, re.M)
        return sum(map(float, values))

    def health(self):
        return get_json(self.ports["ops"], "/queue/health", any_status=True)

    def rest(self):
        """Nobody attacks: what is held and open once all have gone, under the conf of the beginning."""
        self.rude.rude.value = 0
        self.conf.write_text(self.quiet_conf())

        def is_reloaded():
            return self.command("reload").returncode == 0
        wait_until(is_reloaded, "a reload of the conf of the beginning", 60)

        def is_empty():
            self.check_alive()
            health = self.health()
            return not any((health["connections"], health["active_workers"], health["queue_size"], health["queue_bytes"],
                            health["workers_without_client"], health["client_memory_bytes"] > KEPT)) and health
        try:
            health = wait_until(is_empty, "an empty gateway", 60)
        except AssertionError:
            raise Failed(f"something is held for nobody: {json.dumps(self.health())}") from None
        if balance(health):
            raise Failed(f"the books do not balance, by {balance(health)}: {json.dumps(health)}")
        for counter in ("classgate_invariants_broken_total", "classgate_exceptions_contained_total"):
            if self.metric(counter):
                raise Failed(f"{counter} is {self.metric(counter)}:\n{self.last_words()}")
        if self.metric("classgate_buffer_bytes"):
            raise Failed("bodies are held for nobody")
        # Kept connections to the service go after upstream.idle_timeout.
        PAUSE.wait(5)
        self.open = self.what_stays_open()
        return len(self.open), status_of(self.pid, "VmRSS") / 2**20

    def what_stays_open(self):
        """Two seconds long: a look whether the rude service is there is no leak."""
        looks = [set(self.what_is_open())]
        while len(looks) < 20:
            PAUSE.wait(0.1)
            looks.append(set(self.what_is_open()))
        return sorted(what for _, what in set.intersection(*looks))

    def what_is_open(self):
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                yield fd, os.readlink(f"/proc/{self.pid}/fd/{fd}")
            except FileNotFoundError:
                pass

    def end(self):
        """In order; LeakSanitizer speaks then."""
        os.kill(self.pid, signal.SIGTERM)
        status = wait_until(lambda: (lambda s: None if s is None else (s,))(self.ended(self.pid)), "the end", 60)[0]
        report = self.report_of_sanitizer()
        if status != 0 or report:
            raise Failed(f"the last process ended with {status}: {report or self.last_words()}")

    def remove(self):
        for pid in {self.pid, *self.old}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.program.end()
        self.service.end()
        self.rude.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Good(threading.Thread):
    """A well-behaved client with an address of its own: a request each 50 ms, over TCP or TLS."""

    def __init__(self, fortress, number, is_tls):
        super().__init__(daemon=True)
        self.fortress, self.is_tls = fortress, is_tls
        self.source = f"127.0.1.{number}"
        self.context = ssl.create_default_context(cafile=fortress.authority.ca)
        self.context.load_cert_chain(*fortress.client)
        self.over = threading.Event()
        self.connection = None
        self.counts = {}  # of (was the service rude, what came)

    def connect(self):
        port = self.fortress.ports["tls" if self.is_tls else "plain"]
        raw = socket.create_connection(("127.0.0.1", port), 10, (self.source, 0))
        self.connection = self.context.wrap_socket(raw, server_hostname="localhost") if self.is_tls else raw

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def run(self):
        while not self.over.is_set():
            was_rude = bool(self.fortress.rude.rude.value)
            try:
                if not self.connection:
                    self.connect()
                self.connection.sendall(raw_request())
                answer = read_answer(self.connection)
                what = str(answer.status) if answer else "closed"
                if answer is None or answer.closes:
                    self.close()
            except (OSError, AssertionError, AttributeError) as error:
                what = type(error).__name__
                self.close()
            self.counts[was_rude, what] = self.counts.get((was_rude, what), 0) + 1
            PAUSE.wait(0.05)
        self.close()


def attack(kind, ports, end, seed):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kind(ports, end, random.Random(seed))


def one_round(fortress, chance, deeds, end):
    """ROUND seconds of some attacks, the operator's deeds meanwhile."""
    kinds = chance.sample(ATTACKS, AT_ONCE)
    print(f"{time.strftime('%H:%M:%S')} {', '.join(kind.__name__ for kind in kinds)}", flush=True)
    fortress.rude.rude.value = chance.random() < 0.3
    crowd = [multiprocessing.Process(target=attack, args=(kind, fortress.ports, end, chance.random()), daemon=True)
             for kind in kinds]
    for one in crowd:
        one.start()
    try:
        while time.monotonic() < end:
            chance.choice(deeds)()
            PAUSE.wait(chance.uniform(0, 1))
            fortress.check_alive()
    finally:
        for one in crowd:
            one.join(20)
            if one.is_alive():
                one.kill()


def besiege(fortress, minutes, chance):
    calm = [fortress.reload, fortress.reload_often, fortress.reload_broken, fortress.renew_certificate, fortress.rotate_logs,
            fortress.ask, fortress.set_something]
    begin = time.monotonic()
    last = begin + 60 * minutes
    good = [Good(fortress, number + 1, number % 2 == 1) for number in range(4)]
    for one in good:
        one.start()
    rests, next_rest = [], 0.0

    def rest():
        for one in good:
            one.over.set()
            one.join()
        rests.append(fortress.rest())
        print(f"{time.strftime('%H:%M:%S')} at rest: {rests[-1][0]} descriptors, RSS {rests[-1][1]:.1f} MiB, "
              f"process {fortress.pid}, {fortress.health()['total_requests']} requests", flush=True)
    try:
        while time.monotonic() < last:
            is_early = time.monotonic() < begin + 20 * minutes
            one_round(fortress, chance, calm + [fortress.upgrade] * is_early, min(last, time.monotonic() + ROUND))
            if not is_early and time.monotonic() > next_rest:
                rest()
                next_rest = time.monotonic() + 10 * minutes  # six of them
                for number, one in enumerate(good):
                    counts = one.counts
                    good[number] = Good(fortress, number + 1, one.is_tls)
                    good[number].counts = counts
                    good[number].start()
    finally:
        for one in good:
            one.over.set()
    rest()
    return rests, good


def tell(rests, good, fortress):
    for was_rude in (False, True):
        counts = {}
        for one in good:
            for (when, what), count in one.counts.items():
                if when == was_rude:
                    counts[what] = counts.get(what, 0) + count
        total = sum(counts.values())
        share = f"{100 * counts.get('200', 0) / total:.2f} %" if total else "none"
        print(f"good clients while the service was {'rude' if was_rude else 'as it should be'}: {share} of {total}; {counts}")
    print(f"upgrades: {fortress.upgrades}; at rest (descriptors, RSS MiB): {[(fds, round(rss, 1)) for fds, rss in rests]}")


def judge(rests, fortress):
    # The first rest comes soon after the last upgrade: what a process grows to has not been asked of it yet.
    warm, last = rests[1 if len(rests) > 2 else 0], rests[-1]
    if last[0] > warm[0]:
        raise Failed(f"{last[0]} descriptors in the end, {warm[0]} after the warm-up: {', '.join(fortress.open)}")
    # AddressSanitizer keeps what was freed, and LeakSanitizer tells in the end what was not.
    if last[1] > warm[1] + MARGIN and not IS_SANITIZED:
        raise Failed(f"RSS {last[1]:.1f} MiB in the end, {warm[1]:.1f} after the warm-up; {MARGIN} more are allowed")


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"{minutes} minutes, seed {seed}, {CLASSGATE}", flush=True)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    chance = random.Random(seed)
    fortress = Fortress(chance)
    try:
        rests, good = besiege(fortress, minutes, chance)
        tell(rests, good, fortress)
        judge(rests, fortress)
        fortress.end()
    except Failed as reason:
        print(f"FAILED: {reason}", flush=True)
        return 1
    finally:
        fortress.remove()
    print("no end, the books balance, descriptors and memory flat")
    return 0


if __name__ == "__main__":
    sys.exit(main())
