"""The rows of the table, by their names in --only. Each takes a Scale and returns table.Row objects.
The goals in them are those for one thread."""
from rows import bodies, growth, keepalive, latency, memory, refusals, threads, tls

ROWS = {
    "T1": keepalive.t1,
    "T1b": keepalive.t1b,
    "T2": keepalive.t2,
    "T3": refusals.t3,
    "T4": memory.t4,
    "T5": latency.t5,
    "T6": bodies.t6,
    "T7": tls.t7,
    "T8": threads.t8,
    "scale": growth.growth,
}
