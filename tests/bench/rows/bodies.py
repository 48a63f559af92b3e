"""T6: large bodies, up and down: CPU for each gigabyte, and memory that does not grow with them."""
import peers
from bench import Upstream, forget_peak, load, peak_bytes, resident_bytes
from table import Goal, Row, interleaved

SIZE = 10_000_000


def t6(scale):
    return [*direction(scale, "up", Upstream(), {"body_bytes": SIZE}),
            *direction(scale, "down", Upstream(answer_bytes=SIZE), {"method": "GET"})]


def direction(scale, name, service, request):
    with service as upstream:
        job = peers.Job(upstream.address, threads=scale.threads, buffers_body=False)
        with peers.running(scale.others("floor"), job) as sides:
            resting = {peer.name: resident_bytes(peer.pids) for peer in sides}
            for peer in sides:
                forget_peak(peer.pids)
            costs = interleaved(sides, scale.fewer(3), lambda peer: load(
                peer.port, peer.pids, expect=200, connections=4, warmup=4, requests=scale.bodies,
                **request)["counted"]["cpu_us"] / SIZE * 1e6)  # µs a body: ms a GB
            growth = {peer.name: [(peak_bytes(peer.pids) - resting[peer.name]) / 2**20] for peer in sides}
    return [Row(f"T6 CPU per GB, bodies of 10 MB {name}", "ms", costs, [Goal(1.0, "haproxy")]),
            Row(f"T6 most memory above that at rest, 4 bodies of 10 MB {name} at once", "MiB", growth,
                [Goal(4)])]
