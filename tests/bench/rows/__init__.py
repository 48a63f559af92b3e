"""The rows of the table, by their names in --only. Each takes a Scale and returns table.Row objects."""
from rows import keepalive, refusals

ROWS = {
    "T1": keepalive.t1,
    "T1b": keepalive.t1b,
    "T2": keepalive.t2,
    "T3": refusals.t3,
}
