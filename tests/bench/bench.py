"""What the benchmarks share."""
import atexit
import json
import os
import pathlib
import re
import resource
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import BUILD, PAUSE, STORM, Gateway, Program, Service, balance, free_port, get_json, wait_until  # noqa: E402,F401


def storm(port, requests, connections, abort=0.0, seconds=60, seed=1):
    done = subprocess.run([STORM, "--target", f"127.0.0.1:{port}", "--requests", str(requests),
                           "--connections", str(connections), "--abort", str(abort),
                           "--seconds", str(seconds), "--seed", str(seed)],
                          capture_output=True, text=True, timeout=seconds + 60, check=True)
    return json.loads(done.stdout)


def prefer():
    """On a machine that others use too: this process and its children first, where that is allowed. Linux shares
    cores out among sessions before it looks at the processes in them (autogroup): the session too, until the end."""
    session = pathlib.Path("/proc/self/autogroup")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        # There it is empty for who has no such session (a container, autogroup switched off).
        before = session.read_text().split() if session.exists() else []
        if before:
            session.write_text("-15")
            atexit.register(session.write_text, before[-1])
    except OSError:
        print("(at the priority of everybody else)", file=sys.stderr)


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
    done = subprocess.run(load_command(port, pids, **options), capture_output=True, text=True,
                          timeout=options.get("seconds", 60) + 30,
                          preexec_fn=files_for(options.get("connections", 64)))
    if done.returncode != 0:
        raise AssertionError(f"the load did not go well: {done.stdout}{done.stderr}")
    said = json.loads(done.stdout)
    counted = said["counted"]
    if expect and counted["by_status"] != {str(expect): counted["requests"]} or said["broken"]:
        raise AssertionError(f"not every answer was {expect}: {said}")
    return said


def files_for(connections):
    """For a load generator about to be started: its limit of file descriptors."""
    nofile = most_files(connections + 1000)
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))


def most_files(wanted):
    """As many file descriptors as wanted, or as this user may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted <= hard:
        return wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))
    except (OSError, ValueError):
        return hard
    return wanted


def resident_bytes(pids):
    return sum(status_of(pid, "VmRSS") for pid in pids)


def peak_bytes(pids):
    """The most that was resident since forget_peak()."""
    return sum(status_of(pid, "VmHWM") for pid in pids)


def forget_peak(pids):
    for pid in pids:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def status_of(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", text).group(1)) * 1024
