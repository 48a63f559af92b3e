#!/usr/bin/env python3
"""Is the limit exact? Millions of requests from clients that abort at random, through classgate with
50 workers, while /queue/health is sampled: the service must never see a 51st request at once, and every
sample must balance. Exit 1 when not.
    tests/bench/exact_limit.py [REQUESTS] [SECONDS]       defaults: 10,000,000 requests in 3,600 s"""
import subprocess
import sys
import threading
import time

from bench import STORM, Gateway, Service, balance


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3600
    # It would take more at once, were it offered more; slow enough that all workers are wanted.
    service = Service("--concurrency", "1000", "--service-time", "4ms")
    gateway = Gateway(service.address, admission_rate=0)
    began = time.monotonic()
    run = subprocess.Popen([STORM, "--target", gateway.address, "--requests", str(requests),
                            "--connections", "300", "--abort", "0.05", "--seconds", str(seconds)],
                           stdout=subprocess.PIPE, text=True)
    samples, waited, broken = 0, 0, []
    pause = threading.Event()
    while run.poll() is None:
        health = gateway.health()
        samples += 1
        waited += health["queue_size"] > 0
        if balance(health) != 0:
            broken.append(health)
        if samples % 600 == 0:
            print(f"{health['total_requests']} requests, {time.monotonic() - began:.0f} s, most at once "
                  f"in the service {service.stats()['max_running']}", flush=True)
        pause.wait(0.1)
    said = run.stdout.read().strip()
    health = gateway.wait_for_health(lambda h: h["active_workers"] == 0, "an idle gateway")
    stats = service.stats()
    print(f"storm: {said}")
    print(f"service: {stats}")
    print(f"health: total {health['total_requests']}, processed {health['processed_requests']}, failed "
          f"{health['failed_requests']}, rejected {health['rejected_requests']}, abandoned "
          f"{health['abandoned_requests']}; {samples} samples, {len(broken)} did not balance, "
          f"someone waited in {waited}")
    good = stats["max_running"] == 50 and not broken and balance(health) == 0 and waited > 0
    print("the limit held" if good else "THE LIMIT DID NOT HOLD")
    gateway.end()
    service.end()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
