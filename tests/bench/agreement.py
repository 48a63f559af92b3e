#!/usr/bin/env python3
"""Is the simulator right? Runs nine loads twice: for real (classgate load -> classgate -> the classify service) and
simulated (classgate simulate), with the same conf and the same workload: the same requests at the same times, which take
as long each, with the same API keys where the conf has plans for them.
Agreement: what was served of each class or plan within 5 % (or 1 % of what came, where that is less than 5 % of it),
what was refused or failed for each reason within 2 points of what came, wait p95 by priority within 15 % (or 10 ms,
where it is next to nothing; not where fewer than 60 waited: of these it is one or two requests).
    tests/bench/agreement.py [--record NOTE] [SECONDS] [SCENARIO ...]      default: 20 seconds each, all
    --record NOTE adds the table to tests/bench/results.md
Exits 1 when one does not agree. A machine that is busy with other things shows as `sent late`."""
import collections
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile

from bench import Gateway, Service, prefer
from history import asked, circumstances, keep
from kit import CLASSGATE, clean_environment

SERVED_OFF = .05
FEW_SERVED, FEW_OFF = .05, .01  # a class of which less is served than that share of what came: off by so much of it
REFUSED_OFF = .02
WAIT_OFF, WAIT_FEW_MS = .15, 10
FEW = 60  # admitted: their 95th percentile is one or two requests

# The service computes 16 at once for 320 ms on average: 50 requests a second. What the machine adds to
# each of them is small beside that.
SERVICE = 'service = "exponential 320ms"\ncapacity = 16\n'
LIMITS = {"admission_workers": 16, "admission_queue_size": 60, "admission_rate": 0,
          "admission_request_timeout": "6s"}


@dataclasses.dataclass
class Scenario:
    classes: str
    upstream: str = SERVICE
    limits: dict = dataclasses.field(default_factory=lambda: LIMITS)
    service: tuple = ("--concurrency", "16")
    plans: str = ""  # of the conf; its classes are called as their plans


def two_classes(rate):
    return (f'[[class]]\nname = "people"\nclients = 20\nrate = {rate * .6}\npatience = "exponential 5s"\n'
            f'[[class]]\nname = "batch"\npath = "/v1/classify/batch"\nclients = 3\nrate = {rate * .4}\n')


def with_keys(name, clients, rate):
    keys = ", ".join(f'"{name}-{i}"' for i in range(clients))
    return f'[[class]]\nname = "{name}"\nclients = {clients}\nrate = {rate}\nkey = [{keys}]\n'


def plan(name, clients, terms):
    keys = ", ".join(f'"header:X-Api-Key:{name}-{i}"' for i in range(clients))
    return f'[[plan]]\nname = "{name}"\nclients = [{keys}]\n{terms}\n'


SCENARIOS = {
    "under (0.6x)": Scenario(two_classes(30)),
    "at (1x)": Scenario(two_classes(50)),
    "over (2x)": Scenario(two_classes(100)),
    "far over (10x)": Scenario(two_classes(500)),
    "collapsing": Scenario(two_classes(45),
                           SERVICE.replace("16", "24") + "slowdown_beyond = 12\nslowdown_power = 2\n",
                           {**LIMITS, "admission_workers": 24},
                           ("--concurrency", "24", "--slowdown-beyond", "12", "--slowdown-power", "2")),
    "one greedy client": Scenario('[[class]]\nname = "good"\nclients = 10\nrate = 25\n'
                                  '[[class]]\nname = "greedy"\nclients = 1\nrate = 50\n'),
    # 32 at once every 300 ms: 107 a second. A group is computed, and the next one waits.
    "batching (1.5x)": Scenario(two_classes(160), 'service = "300ms"\nbatch = 32\nbatch_wait = "5ms"\n',
                                {**LIMITS, "admission_workers": 64}, ("--batch", "32", "--batch-wait", "5ms")),
    "plans: rates": Scenario(with_keys("gold", 4, 25) + with_keys("free", 6, 60),
                             plans=plan("gold", 4, "weight = 4") + plan("free", 6, "rate = 4\nburst = 8")),
    "plans: weights (2x)": Scenario(with_keys("gold", 4, 40) + with_keys("silver", 4, 40) + with_keys("free", 8, 20),
                                    plans=plan("gold", 4, "weight = 4") + plan("silver", 4, "weight = 2\nworkers = 3")
                                    + plan("free", 8, "priority = 4\nqueue_size = 3")),
}


@dataclasses.dataclass
class Course:
    """What came of one run."""
    arrived: int
    served: dict                 # {class or plan: number}
    ended: collections.Counter   # {reason of a refusal or failure, or "left": number}
    waits: dict                  # {priority: (how many were let in, p95 in ms)}


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def ended(of_all):
    counted = collections.Counter(of_all["rejected"])
    counted.update(of_all["failed"])
    counted["left"] = of_all["abandoned"]
    return counted


def waits_of(entries):
    """Of the admitted by priority, from the access log: what the gateway itself measured."""
    waits = collections.defaultdict(list)
    for entry in entries:
        # Those that left in flight, or were cut off, had been admitted too.
        if entry["verdict"] == "admitted" or entry["upstream_ms"] > 0:
            waits[entry["priority"]].append(entry["wait_ms"])
    return {priority: (len(of), percentile(of, .95)) for priority, of in waits.items()}


def run(scenario, seconds, folder):
    workload, conf, log = folder / "workload.toml", folder / "agreement.conf", folder / "access.log"
    key_header = 'key_header = "X-Api-Key"\n' if scenario.plans else ""
    workload.write_text(f'duration = "{seconds}s"\nseed = 11\n{key_header}'
                        f"[upstream]\n{scenario.upstream}{scenario.classes}")
    conf.write_text(scenario.plans and f'[fairness]\nidentity = ["header:X-Api-Key", "address"]\n[clients]\n'
                    f'secret = "{folder}/secret"\n{scenario.plans}')
    log.unlink(missing_ok=True)
    service = Service(*scenario.service)
    gateway = Gateway(service.address, conf=conf.read_text(), log_access=log, log_format="json",
                      client_trusted_proxies="127.0.0.1", **scenario.limits)
    try:
        real = json.loads(subprocess.run(
            [CLASSGATE, "load", "--workload", workload, "--to", f"http://{gateway.address}",
             "--service-time-header", "X-Service-Time", "--forwarded-for", "--json", "--time", f"{seconds + 1}s"],
            capture_output=True, text=True, check=True, env=clean_environment(), timeout=seconds + 60).stdout)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "an end")
    finally:
        gateway.end()
        service.end()
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    settings = {f"CLASSGATE_{key.upper()}": str(value) for key, value in scenario.limits.items()}
    simulated = json.loads(subprocess.run([CLASSGATE, "simulate", "--conf", conf, "--workload", workload, "--json"],
                                          capture_output=True, text=True, check=True,
                                          env=clean_environment(settings)).stdout)
    measured = Course(real["all"]["arrived"], {of["class"]: of["served"] for of in real["by_class"]},
                      ended(real["all"]), waits_of(entries))
    served = {of["class"]: of["served"] for of in simulated["by_class"]}
    waits = {of["priority"]: (of["wait_ms"]["count"], of["wait_ms"]["p95"]) for of in simulated["by_priority"]}
    computed = Course(simulated["all"]["arrived"], served, ended(simulated["all"]), waits)
    return measured, computed, real["sent_late_ms_most"]


def compare(real, simulated, seconds):
    """Rows (what, real, simulated, how far off, whether it agrees)."""
    for name, of_real in real.served.items():
        of_simulated = simulated.served.get(name, 0)
        off = abs(of_real - of_simulated) / max(of_real, of_simulated, 1)
        # A class of which next to nobody is served has no goodput to compare.
        is_few = max(of_real, of_simulated) <= FEW_SERVED * simulated.arrived
        agrees = off <= SERVED_OFF or (is_few and abs(of_real - of_simulated) <= FEW_OFF * simulated.arrived)
        yield (f"served a second, {name}", f"{of_real / seconds:.2f}", f"{of_simulated / seconds:.2f}", f"{off:.1%}",
               agrees)
    for reason in sorted(real.ended.keys() | simulated.ended.keys()):
        shares = [course.ended[reason] / max(course.arrived, 1) for course in (real, simulated)]
        if max(shares) == 0:
            continue
        off = abs(shares[0] - shares[1])
        yield (f"{reason}, of what came", *(f"{share:.1%}" for share in shares), f"{off * 100:.1f} points",
               off <= REFUSED_OFF)
    for priority, (count, of_simulated) in simulated.waits.items():
        if count < FEW:
            continue
        of_real = real.waits.get(priority, (0, 0.0))[1]
        off = abs(of_real - of_simulated) / max(of_real, of_simulated, 1e-9)
        yield (f"wait p95, priority {priority}", f"{of_real:.1f} ms", f"{of_simulated:.1f} ms", f"{off:.1%}",
               off <= WAIT_OFF or abs(of_real - of_simulated) <= WAIT_FEW_MS)


HEAD = "| scenario | measure | real | simulated | off | goal |\n| --- | --- | ---: | ---: | ---: | --- |"


def main():
    note, seconds, names = asked("simulated beside real", 20, SCENARIOS)
    prefer()
    about = circumstances()
    lines, missed = [HEAD], 0
    print(HEAD)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="classgate-agreement-") as folder:
            real, simulated, late = run(SCENARIOS[name], seconds, pathlib.Path(folder))
        rows = [(*row[:4], "reached" if row[4] else "NOT reached") for row in compare(real, simulated, seconds)]
        rows.append(("sent late, at most", f"{late:.1f} ms", "", "", ""))
        missed += sum(row[-1] == "NOT reached" for row in rows)
        for row in rows:
            lines.append("| " + " | ".join((name, *row)) + " |")
            print(lines[-1], flush=True)
    lines.append("\nall agree" if missed == 0 else f"\n{missed} do not agree")
    print(lines[-1])
    if note:
        keep(f"agreement.py {seconds}; {note}", about, ["", *lines])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
