"""Clients that come again: at once, three times, whatever they are told; and when they are told to."""
import collections

from table import Goal
from wire.compare import compare, rows_of
from wire.sides import Classgate, conf
from wire.world import CIRCUMSTANCES, NOMINAL, percent, percentile, run

FAIR = '[fairness]\nidentity = ["address"]\n'


def storm(scale):
    """Calm (0.8x), then 3x from clients that try again at once, three times, then calm again."""
    scale = scale.fewer()
    begin, end = scale.seconds, 5 * scale.seconds
    length = 7 * scale.seconds
    classes = (f'[[class]]\nname = "apps"\nclients = 1000\npatience = "1s"\nretries = 3\nretry_delay = "0ms"\n'
               f'honours_retry_after = false\n'
               f'rates = ["0s {.8 * NOMINAL}", "{begin}s {3 * NOMINAL}", "{end}s {.8 * NOMINAL}"]\n')
    sides = (Classgate("classgate", conf(deadlines=True, adaptive=True, more=FAIR)),
             Classgate("no retry budget", conf(deadlines=True, adaptive=True, more=FAIR + "retry_budget = 1\n")),
             Classgate("workers and queue", conf()))

    def play(side, seed):
        outcome = run(side, classes, length, seed, forwarded_for=True)
        usual = percentile(outcome.answers(scale.warm_up, begin), .99)
        attempts = outcome.due(begin, end)
        settled = end + min(10, scale.seconds)
        late = outcome.due(settled, length)
        return {"usual": usual,
                "normal after": seconds_until_usual(outcome, end, length, usual),
                "after": percentile(outcome.answers(settled, length), .99),
                "lost after": percent(sum(r.ended != "served" for r in late), len(late)),
                "useful": percent(outcome.served(begin, end), NOMINAL * (end - begin)),
                "first": percent(sum(r.ended == "served" for r in attempts if r.attempt == 0),
                                 sum(r.attempt == 0 for r in attempts)),
                "retries": percent(sum(r.attempt > 0 for r in attempts), len(attempts)),
                **outcome.circumstances()}

    yield from rows_of("storm: ", {
        "normal after": ("p99 as before", "s after its end", [Goal(10)]),
        "usual": ("p99 before", "ms", []),
        "after": ("p99 from 10 s after its end", "ms", []),
        "lost after": ("requests lost from 10 s after its end", "%", []),
        "useful": ("answers while it lasts", "% of 1,000 a second", []),
        "first": ("first attempts served while it lasts", "%", []),
        "retries": ("retries while it lasts", "% of the requests", []),
        **CIRCUMSTANCES,
    }, compare(sides, scale, play))


def seconds_until_usual(outcome, begin, end, usual):
    """Until the p99 of two seconds is at most half as much again as usual, and nine tenths are served."""
    at = begin
    while at + 2 <= end:
        came, answers = outcome.due(at, at + 2), outcome.answers(at, at + 2)
        if answers and len(answers) >= .9 * len(came) and percentile(answers, .99) <= 1.5 * usual:
            return at - begin
        at += .5
    return end - begin


def obedient(scale):
    """Twice as many users as can be served, who think for a second between two answers; whoever is refused comes
    again exactly when Retry-After says. What counts is the second half, when they have spread out."""
    scale = scale.fewer()
    half, length = 4 * scale.seconds, 8 * scale.seconds
    classes = (f'[[class]]\nname = "obedient"\nusers = {2 * NOMINAL}\nthink = "uniform 0ms 1900ms"\n'
               f'patience = "1s"\nretries = 100\nretry_delay = "0ms"\n')
    sides = (Classgate("classgate", conf(deadlines=True, adaptive=True)),
             Classgate("rate limit", conf().replace("rate = 0", f"rate = {.9 * NOMINAL:g}\nburst = 90")))

    def play(side, seed):
        outcome = run(side, classes, length, seed)
        came = outcome.due(half, length)
        first = [r for r in came if r.attempt == 1]
        returns = collections.Counter(int(r.due) for r in came if r.attempt > 0)
        return {"admitted": percent(sum(r.ended == "served" for r in first), len(first)),
                "peak": max(returns.values(), default=0) * (length - half) / max(sum(returns.values()), 1),
                "useful": percent(outcome.served(half, length), NOMINAL * (length - half)),
                "returning": sum(returns.values()) / (length - half),
                "all admitted": percent(sum(r.ended == "served" for r in came), len(came)),
                **outcome.circumstances()}

    yield from rows_of("obedient: ", {
        "admitted": ("first retries served", "%", [Goal(90, is_least=True)]),
        "peak": ("most returning in one second", "of the mean", [Goal(2)]),
        "returning": ("returning", "a second", []),
        "all admitted": ("requests served", "%", []),
        "useful": ("answers", "% of 1,000 a second", []),
        **CIRCUMSTANCES,
    }, compare(sides, scale, play), f"from {half} s to {length} s")
