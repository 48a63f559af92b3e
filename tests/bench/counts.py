"""What one request costs in events that do not depend on the machine: system calls, instructions.
A peer runs twice under the tool, for few and for more requests; the difference of the two runs
belongs to the difference of the requests, so that start, warm-up and end fall out."""
import dataclasses
import pathlib
import re
import subprocess
import tempfile

import peers
from bench import load


def per_request(kind, job, requests, tool, **options):
    (few, first), (many, second) = (counted(kind, job, tool, count, **options)
                                    for count in (requests // 2, requests // 2 + requests))
    return {what: (second.get(what, 0) - first.get(what, 0)) / (many - few)
            for what in {*first, *second}}


def counted(kind, job, tool, requests, **options):
    """(requests answered, {event: count}) of one life of a peer."""
    with tempfile.TemporaryDirectory(prefix="classgate-bench-") as folder:
        out = pathlib.Path(folder) / "counts"
        wrapper, read = tool(out)
        with peers.KINDS[kind](dataclasses.replace(job, wrapper=wrapper)) as peer:
            said = load(peer.port, requests=requests, seconds=300, **options)
            peer.stop()
        return said["answered"], read(out)


def strace(out):
    """Every system call of every thread, by name."""
    return ("strace", "-f", "-c", "-o", out), system_calls


def system_calls(out):
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ )?(\w+)$", out.read_text(), re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


def callgrind(out):
    """Instructions outside the kernel."""
    return ("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"), instructions


def instructions(out):
    totals = re.findall(r"^(?:totals|summary): (\d+)$", out.read_text(), re.MULTILINE)
    return {"instructions": int(totals[-1])}


def profile(kind, job, requests, **options):
    """The functions of a peer in which most instructions outside the kernel are, start included."""
    def read(out):
        done = subprocess.run(["callgrind_annotate", "--auto=no", out], capture_output=True, text=True, check=True)
        listed = re.findall(r"^ *([\d,]+) \( *([\d.]+)%\) +(?:\S*/)?(.*?)(?: \[.*\])?$", done.stdout, re.MULTILINE)
        return [(int(count.replace(",", "")), share, where) for count, share, where in listed]

    answered, functions = counted(kind, job, lambda out: (callgrind(out)[0], read), requests, **options)
    return [f"{count / answered:10,.0f} {share:>6} %  {where}" for count, share, where in functions[:21]]


def lock_waits_per_million(kind, job, requests, **options):
    """Threads that went to sleep for a mutex, in one life: too rare for the difference of two. Condition
    variables wait with FUTEX_WAIT_BITSET, and are not meant. Only futex calls stop for strace."""
    def tool(out):
        return (("strace", "-f", "--seccomp-bpf", "-e", "trace=futex", "-o", out),
                lambda path: len(re.findall(r"FUTEX_WAIT(_PRIVATE)?,", path.read_text())))

    answered, waits = counted(kind, job, tool, requests, **options)
    return waits * 1e6 / answered
