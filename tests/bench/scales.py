"""How much of everything: the full table, the quick one, and the smoke test of ctest."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Scale:
    rounds: int         # interleaved runs of each peer
    requests: int       # counted in each run
    traced: int         # requests under strace and callgrind
    lives: int          # of each peer under callgrind
    flood_seconds: int  # 0: no flood
    idle: int           # connections for the memory row
    bodies: int         # large ones in each run
    handshakes: int     # in each run
    connections: tuple  # open at once, for `scale`
    waiting: tuple      # in the queue, for `scale`
    threads: int = 1
    has_callgrind: bool = True
    peers: tuple = ("classgate", "haproxy", "nginx", "floor")

    def fewer(self, divisor):
        """Rounds of what takes long."""
        return max(1, self.rounds // divisor)

    def others(self, *without):
        return [name for name in self.peers if name not in without]


FULL = Scale(rounds=31, requests=10_000, traced=10_000, lives=3, flood_seconds=3, idle=10_000, bodies=40,
             handshakes=1_000, connections=(10, 100, 1_000, 10_000), waiting=(0, 1_000, 10_000, 100_000))
QUICK = Scale(rounds=5, requests=4_000, traced=1_500, lives=1, flood_seconds=1, idle=2_000, bodies=20,
              handshakes=250, connections=(10, 1_000), waiting=(0, 1_000))
SMOKE = Scale(rounds=1, requests=500, traced=2_000, lives=1, flood_seconds=0, idle=200, bodies=2, handshakes=20,
              connections=(10, 100), waiting=(0, 100), peers=("classgate", "floor"),
              has_callgrind=False)
