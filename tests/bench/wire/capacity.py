"""workers = "auto": a service that collapses when it is given too much, and one that loses half of itself."""
import statistics

from table import Goal
from wire.compare import compare, rows_of
from wire.sides import Classgate, HAProxy, conf
from wire.world import CAPACITY, CIRCUMSTANCES, most_of_the_service, percent, run

AUTO = 'workers = "auto"'
IN_TIME = 30  # seconds in which the best is to be found
STABLE = 5    # seconds whose mean counts

COLLAPSING = ("--concurrency", "1000", "--slowdown-beyond", "16", "--slowdown-power", "2")
PATIENT = '[[class]]\nname = "all"\nclients = 100\npatience = "10s"\nrate = '


def seconds_to_reach(outcome, begin, end, best):
    """From `begin` until answers come at 95 % of the best, as the mean of five seconds; the whole time if never."""
    at = begin
    while at + STABLE <= end:
        if outcome.served(at, at + STABLE) >= .95 * best * STABLE:
            return at - begin
        at += 1
    return end - begin


def workers(outcome, begin, end):
    in_force = [health["limits"]["workers"] for at, health in outcome.samples if begin <= at < end]
    return statistics.median(in_force) if in_force else 0


def collapse(scale):
    """Beyond 16 requests at once each takes (n / 16)^2 times as long, so that less is done than with 16."""
    scale = scale.fewer()
    length = 3 * scale.seconds
    late = 2 * scale.seconds  # what counts is afterwards
    sides = (Classgate("classgate", conf(admission=AUTO)),
             Classgate("workers = 50", conf()),
             HAProxy("haproxy", queue=200, batch_queue=200, wait="5s"))

    def play(side, seed):
        outcome = run(side, PATIENT + "600\n", length, seed, COLLAPSING, watched=isinstance(side, Classgate))
        found = {"reached": seconds_to_reach(outcome, 0, length, best[seed]),
                 "share": percent(outcome.served(late, length), best[seed] * (length - late))}
        if isinstance(side, Classgate):
            found["workers"] = workers(outcome, late, length)
        return found | outcome.circumstances()

    best = {seed: most_of_the_service(16, seed, service=COLLAPSING) for seed in scale.seeds()}
    yield from rows_of("collapse: ", {
        "reached": ("until 95 % of the best", "s", [Goal(IN_TIME)]),
        "share": ("answers afterwards", "% of the best", [Goal(95, is_least=True)]),
        "workers": ("workers in force", "", []),
        **CIRCUMSTANCES,
    }, compare(sides, scale, play), "the best: " + ", ".join(f"{rate:.0f}" for rate in best.values()) +
        f" a second, 16 at once; afterwards: from {late} s to {length} s")


def half(scale):
    """50 requests at once, 25 for a while, 50 again."""
    scale = scale.fewer()
    part = 3 * scale.seconds
    begins = {"50": 0, "25": part, "50 again": 2 * part}
    sides = (Classgate("classgate", conf(admission=AUTO)), Classgate("workers = 50", conf()))

    def play(side, seed):
        outcome = run(side, PATIENT + "1500\n", 3 * part, seed,
                      then=((part, "/concurrency/25"), (2 * part, "/concurrency/50")), watched=True)
        found = {}
        for name, begin in begins.items():
            end, late = begin + part, begin + 2 * scale.seconds
            best = best_of[seed] / (2 if name == "25" else 1)
            found[f"reached {name}"] = seconds_to_reach(outcome, begin, end, best)
            found[f"share {name}"] = percent(outcome.served(late, end), best * (end - late))
            found[f"workers {name}"] = workers(outcome, late, end)
        return found | outcome.circumstances()

    best_of = {seed: most_of_the_service(2 * CAPACITY, seed) for seed in scale.seeds()}
    measures = {}
    for name in begins:
        measures[f"reached {name}"] = (f"{name} at once: until 95 %", "s", [Goal(IN_TIME)])
        measures[f"share {name}"] = (f"{name} at once: answers afterwards", "% of the best",
                                     [Goal(95, is_least=True)])
        measures[f"workers {name}"] = (f"{name} at once: workers in force", "", [])
    measures |= CIRCUMSTANCES
    yield from rows_of("half: ", measures, compare(sides, scale, play),
                       f"each part {part} s; afterwards: the last {scale.seconds} s of it")
