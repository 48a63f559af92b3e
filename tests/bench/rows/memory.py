"""T4: memory of the process for each idle kept connection, each of which has had one answer."""
import json
import subprocess

import peers
from bench import Upstream, files_for, load, load_command, resident_bytes
from table import Goal, Row


def t4(scale):
    values, at_rest = {}, {}
    with Upstream() as upstream:
        # nginx closes idle ones when fewer than a sixteenth of its connections are left.
        job = peers.Job(upstream.address, connections=scale.idle + scale.idle // 10 + 500)
        for name in scale.peers:
            if not peers.installed(name):
                continue
            with peers.KINDS[name](job) as peer:
                at_rest[name] = [resident_bytes(peer.pids) / 2**20]
                load(peer.port, expect=200, requests=1000, connections=64)  # what it keeps for any
                before = resident_bytes(peer.pids)
                values[name] = [(memory_with(peer, scale.idle) - before) / scale.idle]
    return [Row(f"T4 memory for each of {scale.idle:,} idle connections", "bytes", values, [Goal(512)],
                "nginx has set its connections' memory aside at start"),
            Row("T4 resident memory at rest", "MiB", at_rest, [Goal(12)])]


def memory_with(peer, connections):
    command = load_command(peer.port, connections=connections, outstanding=10, warmup=0,
                           requests=connections, hold=True, seconds=120)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          preexec_fn=files_for(connections)) as holder:
        said = json.loads(holder.stdout.readline())
        assert said["broken"] == 0 and said["opened"] == connections, said
        memory = resident_bytes(peer.pids)
        holder.stdin.close()
    return memory
