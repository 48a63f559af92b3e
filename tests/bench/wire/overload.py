"""Two, five and ten times what the service can do: 1 % health checks, 79 % single requests, 20 % batches, all of
whom give up when their answer would be of no use any more."""
from table import Goal
from wire import sides
from wire.compare import compare, rows_of
from wire.sides import Classgate, HAProxy, Nginx, conf
from wire.world import CAPACITY, CIRCUMSTANCES, NOMINAL, most_of_the_service, percent, percentile, run

SHARES = {"/health": .01, "/v1/classify": .79, "/v1/classify/batch": .20}
WAITED = 10  # ms: who is refused at once has heard by then

SIDES = (Classgate("workers and queue", conf()),
         Classgate("+ deadlines", conf(deadlines=True)),
         Classgate("+ reserve", conf(deadlines=True, reserve=True)),
         Classgate("classgate", conf(deadlines=True, reserve=True, adaptive=True)),
         HAProxy("haproxy", queue=100, batch_queue=25, wait="250ms"),
         HAProxy("haproxy 45 + 5", queue=100, batch_queue=50, wait="250ms", batch_workers=5),
         Nginx())

MEASURES = {
    "useful": ("useful answers", "% of capacity", [Goal(99, is_least=True)]),
    "health": ("health answered", "%", [Goal(100, is_least=True)]),
    "p99": ("classify, p99 of the served", "ms", [Goal(300)]),
    "batch": ("batches' part of the workers", "%", [Goal(10, is_least=True)]),
    "gone": ("work for clients that had left", "%", [Goal(0.5)]),
    "in vain": ("waited, then left", "% of offered", [Goal(1)]),
    "turned away": ("waited, then refused", "% of offered", []),
    **CIRCUMSTANCES,
}


def classes(times):
    return "".join(
        f'[[class]]\nname = "{path}"\npath = "{path}"\nrate = {times * NOMINAL * share:g}\nclients = 100\n'
        f'patience = "{sides.DEADLINES[path]}"\n' for path, share in SHARES.items())


def measured(outcome, capacity, scale):
    begin, end = scale.warm_up, scale.seconds
    offered = outcome.due(begin, end)
    health = outcome.due(begin, end, "/health")
    served = sum(r.ended == "served" for r in outcome.requests)
    possible = capacity * (end - begin)
    return {
        "useful": percent(outcome.served(begin, end), possible),
        "health": percent(sum(r.ended == "served" for r in health), len(health)),
        "p99": percentile(outcome.answers(begin, end, "/v1/classify"), .99),
        # All take as long, so that parts of the answers are parts of the workers' time.
        "batch": round(percent(outcome.served(begin, end, "/v1/classify/batch"), outcome.served(begin, end)), 1),
        "gone": percent(outcome.finished - served, outcome.finished),
        "in vain": percent(sum(r.ended == "left" for r in offered), len(offered)),
        "turned away": percent(sum(r.ended in ("rejected", "failed") and r.answer > WAITED for r in offered),
                               len(offered)),
        **outcome.circumstances()}


def overload(scale):
    for times in scale.loads:
        def play(side, seed):
            return measured(run(side, classes(times), scale.seconds, seed), capacity[seed], scale)

        capacity = {seed: most_of_the_service(2 * CAPACITY, seed) for seed in scale.seeds()}
        about = ", ".join(f"{rate:.0f}" for rate in capacity.values())
        values = compare(SIDES, scale, play)
        yield from rows_of(f"{times}x: ", MEASURES, values, f"capacity measured in each round: {about} a second")
