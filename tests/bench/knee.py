#!/usr/bin/env python3
"""classgate load --find-knee against services whose capacity is known: 4, 8, 50 and 200 at once, with
fixed, exponential and heavy-tailed (Pareto 1.5) service times. Found within 5 %, or said that it cannot be
told? Is nothing left in the service?
    tests/bench/knee.py [SECONDS]      default: 30 seconds each"""
import json
import subprocess
import sys
import time

from bench import Service, prefer
from kit import CLASSGATE, clean_environment


def main():
    prefer()
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    print(f"{'planted':>8}  {'spread':<12}{'found':>8}{'off':>8}{'a second':>10}  told by")
    worst = 0
    for planted, service_time in ((4, "500ms"), (8, "200ms"), (8, "60ms"), (50, "150ms"), (200, "400ms")):
        for spread in ("fixed", "exponential", "heavy"):
            service = Service("--concurrency", str(planted), "--service-time", service_time,
                              "--spread", spread)
            try:
                began = time.monotonic()
                knee = json.loads(subprocess.run(
                    [CLASSGATE, "load", "--find-knee", "--to", f"http://{service.address}", "--time",
                     f"{seconds}s", "--json"], capture_output=True, text=True,
                    env=clean_environment(), timeout=seconds * 4 + 60).stdout)
                took = time.monotonic() - began
            finally:
                service.end()
            widest = max(step["at_once"] for step in knee["steps"])
            if not knee["known"]:
                print(f"{planted:>8}  {spread:<12}{'-':>8}{'':>8}{'':>10}  {took:.0f} s, {widest} at most: "
                      f"{knee['why_unknown']}", flush=True)
                continue
            off = knee["capacity"] / planted - 1
            worst = max(worst, abs(off))
            print(f"{planted:>8}  {spread:<12}{knee['capacity']:>8.1f}{off:>+8.1%}"
                  f"{knee['per_second_most']:>10.1f}  {took:.0f} s, {widest} at most: {knee['method']}",
                  flush=True)
    print(f"worst: {worst:.1%}")
    return 0 if worst <= .05 else 1


if __name__ == "__main__":
    sys.exit(main())
