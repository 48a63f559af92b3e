#!/usr/bin/env python3
"""Is the simulator right? Runs six workloads twice: for real (classgate load -> classgate -> the
classify service) and simulated (classgate simulate), with the same conf, the same requests at the same
times, and the same service time for each. Prints goodput by class and wait p95 by priority beside each
other. Agreement: goodput within 5 %, p95 within 15 % (or 10 ms, where it is next to nothing).
    tests/bench/agreement.py [SECONDS] [SCENARIO ...]      default: 20 seconds each, all six
Exits 1 when one does not agree. A machine that is busy with other things shows as `sent late`."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from bench import Gateway, Service, prefer
from kit import CLASSGATE, clean_environment

# The service computes 16 at once for 320 ms on average: 50 requests a second. What the machine adds to
# each of them is small beside that.
SERVICE = 'service = "exponential 320ms"\ncapacity = 16\n'
CONF = {"admission_workers": 16, "admission_queue_size": 60, "admission_rate": 0,
        "admission_request_timeout": "6s"}


FEW = 60  # admitted: their 95th percentile is one or two requests


def two_classes(rate):
    return (f'[[class]]\nname = "people"\nclients = 20\nrate = {rate * .6}\npatience = "exponential 5s"\n'
            f'[[class]]\nname = "batch"\npath = "/v1/classify/batch"\nclients = 3\nrate = {rate * .4}\n')


SCENARIOS = {
    "under (0.6x)": (SERVICE, two_classes(30), CONF, ()),
    "at (1x)": (SERVICE, two_classes(50), CONF, ()),
    "over (2x)": (SERVICE, two_classes(100), CONF, ()),
    "far over (10x)": (SERVICE, two_classes(500), CONF, ()),
    "collapsing": (SERVICE.replace("16", "24") + "slowdown_beyond = 12\nslowdown_power = 2\n", two_classes(45),
                   {**CONF, "admission_workers": 24},
                   ("--slowdown-beyond", "12", "--slowdown-power", "2")),
    "one greedy client": (SERVICE,
                          '[[class]]\nname = "good"\nclients = 10\nrate = 25\n'
                          '[[class]]\nname = "greedy"\nclients = 1\nrate = 50\n', CONF, ()),
}


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def waits_of(log):
    """Waits of the admitted by priority, from the access log: what the gateway itself measured."""
    waits = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        # Those that left in flight, or were cut off, had been admitted too.
        if entry["verdict"] == "admitted" or entry["upstream_ms"] > 0:
            waits.setdefault(entry["priority"], []).append(entry["wait_ms"])
    return waits


def run(name, seconds, folder):
    upstream, classes, conf, options = SCENARIOS[name]
    workload = folder / "workload.toml"
    workload.write_text(f'duration = "{seconds}s"\nseed = 11\n[upstream]\n{upstream}{classes}')
    log = folder / "access.log"
    log.unlink(missing_ok=True)
    capacity = int(re.search(r"capacity = (\d+)", upstream).group(1))
    service = Service("--concurrency", str(capacity), *options)
    gateway = Gateway(service.address, log_access=log, log_format="json",
                      client_trusted_proxies="127.0.0.1", **conf)
    try:
        real = json.loads(subprocess.run(
            [CLASSGATE, "load", "--workload", workload, "--to", f"http://{gateway.address}",
             "--service-time-header", "X-Service-Time", "--forwarded-for", "--json",
             "--time", f"{seconds + 1}s"],
            capture_output=True, text=True, check=True, env=clean_environment(),
            timeout=seconds + 60).stdout)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "an end")
    finally:
        gateway.end()
        service.end()
    settings = {f"CLASSGATE_{key.upper()}": str(value) for key, value in conf.items()}
    simulated = json.loads(subprocess.run(
        [CLASSGATE, "simulate", "--workload", workload, "--json"], capture_output=True, text=True,
        check=True, env=clean_environment(settings)).stdout)
    return real, waits_of(log), simulated


def compare(name, real, waits, simulated):
    """Rows (what, real, simulated, difference, whether it agrees)."""
    rows = []
    for of_real, of_simulated in zip(real["by_class"], simulated["by_class"]):
        a, b = of_real["served"], of_simulated["served"]
        # A class of which next to nobody is served has no goodput to compare.
        off = abs(a - b) / max(a, b, 1)
        total = max(of_simulated["arrived"], 1)
        rows.append((f"served, {of_real['class']}", a, b, off, off <= .05 or abs(a - b) / total <= .01))
    for of_simulated in simulated["by_priority"]:
        if of_simulated["wait_ms"]["count"] < FEW:
            continue
        a = percentile(waits.get(of_simulated["priority"], []), .95)
        b = of_simulated["wait_ms"]["p95"]
        off = abs(a - b) / max(a, b, 1e-9)
        rows.append((f"wait p95 ms, priority {of_simulated['priority']}", round(a, 1), round(b, 1), off,
                     off <= .15 or abs(a - b) <= 10))
    return rows


def main():
    words = sys.argv[1:]
    prefer()
    seconds = int(words.pop(0)) if words and words[0].isdigit() else 20
    names = [n for n in SCENARIOS if not words or any(n.startswith(w) for w in words)]
    print(f"{'':<20}{'':<26}{'real':>10}{'simulated':>11}{'off':>9}")
    all_agree = True
    with tempfile.TemporaryDirectory(prefix="classgate-agreement-") as folder:
        for name in names:
            real, waits, simulated = run(name, seconds, pathlib.Path(folder))
            for what, a, b, off, agrees in compare(name, real, waits, simulated):
                all_agree = all_agree and agrees
                print(f"{name:<20}{what:<26}{a:>10}{b:>11}{off:>8.1%}  {'' if agrees else 'OFF'}", flush=True)
            print(f"{name:<20}{'sent late ms, at most':<26}{real['sent_late_ms_most']:>10.1f}")
    print("all agree" if all_agree else "not all agree")
    return 0 if all_agree else 1


if __name__ == "__main__":
    sys.exit(main())
