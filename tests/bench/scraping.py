#!/usr/bin/env python3
"""What /metrics scraped ten times a second costs the data path: CPU of the loops' threads for each request, with
and without, in interleaved runs.   scraping.py [RUNS [REQUESTS]]"""
import pathlib
import statistics
import sys
import threading

from bench import Gateway, Service, storm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import PAUSE, scrape  # noqa: E402


def loops_cpu_seconds(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()
               if (task / "comm").read_text().strip() == "loop") / 1e9


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    service = Service()
    gateway = Gateway(service.address, admission_rate=0, threads=1)
    costs = {True: [], False: []}
    try:
        storm(gateway.port, requests, 64)
        for run in range(2 * runs):
            scraped = run % 2 == 0
            over = threading.Event()

            def scraper():
                while not over.is_set():
                    scrape(gateway)
                    PAUSE.wait(0.1)
            thread = threading.Thread(target=scraper)
            if scraped:
                thread.start()
            before = loops_cpu_seconds(gateway.process.pid)
            storm(gateway.port, requests, 64, seed=run + 1)
            costs[scraped].append(1e6 * (loops_cpu_seconds(gateway.process.pid) - before) / requests)
            over.set()
            if scraped:
                thread.join()
    finally:
        gateway.end()
        service.end()
    for scraped in (False, True):
        print(f"{'scraped 10/s' if scraped else 'not scraped '}: median {statistics.median(costs[scraped]):.2f} us/request")
    print(f"ratio scraped / not scraped: {statistics.median(costs[True]) / statistics.median(costs[False]):.3f}")


if __name__ == "__main__":
    main()
