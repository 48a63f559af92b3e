"""T7: TLS 1.3 with clients, one ECDSA P-256 certificate: kept connections, and handshakes."""
import peers
from authority import Authority
from bench import Upstream, load
from table import Goal, Row, interleaved


def t7(scale):
    authority = Authority()
    certificate = authority.issue("bench", names=("DNS:bench",))
    kept = {"connections": 64, "warmup": 200, "requests": scale.requests}
    fresh = {"connections": 16, "warmup": scale.handshakes // 5, "requests": scale.handshakes,
             "new_connections": True}
    with Upstream() as upstream:
        job = peers.Job(upstream.address, threads=scale.threads, certificate=certificate)
        with peers.running(scale.others("floor"), job) as sides:
            return [row(scale, sides, "TLS, CPU per request, 64 connections", 0.85, scale.rounds, kept),
                    row(scale, sides, "TLS, CPU per connection with a full handshake and one request", 1.0,
                        scale.fewer(3), fresh),
                    row(scale, sides, "TLS, CPU per connection with a resumed handshake and one request", 1.0,
                        scale.fewer(3), {**fresh, "resume": True})]


def row(scale, sides, title, goal, rounds, options):
    def cost(peer):
        said = load(peer.port, peer.pids, expect=200, tls=True, **options)
        if options.get("resume"):  # all but the first ones, which had no ticket yet
            assert said["resumed"] >= said["answered"] - options["connections"], said
        else:
            assert said["resumed"] == 0, said
        return said["counted"]["cpu_us"]

    return Row(f"T7 {title}", "µs", interleaved(sides, rounds, cost),
               [Goal(goal, "haproxy"), Goal(goal, "nginx")])
