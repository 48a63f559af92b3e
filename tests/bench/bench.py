"""What the benchmarks share."""
import json
import pathlib
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
