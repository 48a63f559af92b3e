"""What the benchmarks share."""
import json
import os
import pathlib
import resource
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import BUILD, STORM, Gateway, Program, Service, balance, get_json, wait_until  # noqa: E402,F401


def storm(port, requests, connections, abort=0.0, seconds=60, seed=1):
    done = subprocess.run([STORM, "--target", f"127.0.0.1:{port}", "--requests", str(requests),
                           "--connections", str(connections), "--abort", str(abort),
                           "--seconds", str(seconds), "--seed", str(seed)],
                          capture_output=True, text=True, timeout=seconds + 60, check=True)
    return json.loads(done.stdout)


def cpu_seconds(pid):
    """Time on a core of all threads of a process, in the kernel and out of it (nanosecond clock)."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


class Upstream(Program):
    """The fast service that the compared gateways stand in front of."""

    def __init__(self, service_us=0, answer_bytes=100):
        super().__init__([BUILD / "tests/bench/bench_upstream", "--service-us", service_us,
                          "--answer-bytes", answer_bytes], nofile=most_files(20_000))
        port = int(self.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", self.out).group(1))
        self.address = f"127.0.0.1:{port}"
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def load_command(port, pids=(), **options):
    """The load generator's; tests/bench/load.cpp says what its options mean."""
    words = [BUILD / "tests/bench/bench_load", "--target", f"127.0.0.1:{port}"]
    if pids:
        words += ["--watch", ",".join(map(str, pids))]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
    return [str(word) for word in words]


def load(port, pids=(), expect=None, **options):
    """One run of the load generator; `expect` is the status that every counted answer must have."""
    nofile = most_files(options.get("connections", 64) + 1000)
    done = subprocess.run(load_command(port, pids, **options), capture_output=True, text=True,
                          timeout=options.get("seconds", 60) + 30,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile)))
    if done.returncode != 0:
        raise AssertionError(f"the load did not go well: {done.stdout}{done.stderr}")
    said = json.loads(done.stdout)
    counted = said["counted"]
    if expect and counted["by_status"] != {str(expect): counted["requests"]} or said["broken"]:
        raise AssertionError(f"not every answer was {expect}: {said}")
    return said


def most_files(wanted):
    """As many file descriptors as wanted, or as this user may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if os.geteuid() == 0 or hard == resource.RLIM_INFINITY else min(wanted, hard)
