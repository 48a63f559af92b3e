#!/usr/bin/env python3
"""100 users, each with one request after the other, against the default conf with the rate limit out of
the way and a service that takes 20 ms: errors, average wait, and how busy the workers are.
    tests/bench/hundred_users.py [REQUESTS]               default: 50,000 requests"""
import subprocess
import sys
import threading

from bench import STORM, Gateway, Service, balance


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    service = Service("--concurrency", "50", "--service-time", "20ms")
    gateway = Gateway(service.address, admission_rate=0)
    run = subprocess.Popen([STORM, "--target", gateway.address, "--requests", str(requests),
                            "--connections", "100", "--abort", "0", "--seconds", "300"],
                           stdout=subprocess.PIPE, text=True)
    waiting, idle_though_waiting, unbalanced = 0, 0, 0
    pause = threading.Event()
    while run.poll() is None:
        health = gateway.health()
        unbalanced += balance(health) != 0
        if health["queue_size"] > 0:
            waiting += 1
            idle_though_waiting += health["active_workers"] < 50
        pause.wait(0.02)
    print(f"answers: {run.stdout.read().strip()}")
    health = gateway.health()
    print(f"average wait {health['average_wait_time_ms']} ms, percentiles {health['wait_time_ms']}, "
          f"process {health['process_time_ms']}")
    print(f"samples in which someone waited: {waiting}; of these with an idle worker: "
          f"{idle_though_waiting}; unbalanced: {unbalanced}")
    print(f"service: {service.stats()}")
    gateway.end()
    service.end()


if __name__ == "__main__":
    main()
