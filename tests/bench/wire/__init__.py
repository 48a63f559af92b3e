"""Issue 7's scenarios on the wire, by their names in --only. Each takes a world.Scale and yields table rows."""
from wire import capacity, overload, returning, sharing

SCENARIOS = {
    "overload": overload.overload,
    "collapse": capacity.collapse,
    "half": capacity.half,
    "storm": returning.storm,
    "obedient": returning.obedient,
    "greedy": sharing.greedy,
    "batches": sharing.batches,
}
