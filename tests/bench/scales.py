"""How much of everything: the full table, the quick one, and the smoke test of ctest."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Scale:
    rounds: int        # interleaved runs of each peer
    requests: int      # counted in each run
    traced: int        # requests under strace and callgrind
    idle: int          # connections for the memory row
    waiting: tuple     # queue lengths
    connections: tuple
    threads: int = 1
    peers: tuple = ("classgate", "haproxy", "nginx", "floor")


FULL = Scale(rounds=31, requests=10_000, traced=10_000, idle=10_000,
             waiting=(0, 1_000, 10_000, 100_000), connections=(10, 100, 1_000, 10_000))
QUICK = Scale(rounds=7, requests=4_000, traced=4_000, idle=2_000,
              waiting=(0, 1_000, 10_000), connections=(10, 100, 1_000))
SMOKE = Scale(rounds=1, requests=1_000, traced=2_000, idle=200,
              waiting=(0, 100), connections=(10, 100), peers=("classgate", "floor"))
