"""Clients that want too much among others that do not, and batches among single requests."""
import json
import pathlib
import tempfile

from table import Goal
from wire.compare import compare, rows_of
from wire.sides import Classgate, conf
from wire.world import CIRCUMSTANCES, percent, percentile, run

TARGET_WAIT = 100  # ms: classgate's default
FAIR = '[fairness]\nidentity = ["address"]\n'


def greedy(scale):
    """One client that asks a hundred times as often as each of a hundred others: 1.4x together."""
    polite = '[[class]]\nname = "polite"\nclients = 100\nrate = 700\npatience = "2s"\n'
    one = '[[class]]\nname = "one"\nrate = 700\npatience = "2s"\n'
    fair = conf(more=FAIR)
    sides = (Classgate("classgate", fair), Classgate("alone", fair), Classgate("first come first served", conf()))

    def play(side, seed):
        outcome = run(side, polite if side.name == "alone" else polite + one, scale.seconds, seed, forwarded_for=True)
        came = outcome.due(scale.warm_up, scale.seconds, "polite")
        of_one = outcome.due(scale.warm_up, scale.seconds, "one")
        return {"p99": percentile(outcome.answers(scale.warm_up, scale.seconds, "polite"), .99),
                "lost": percent(sum(r.ended != "served" for r in came), len(came)),
                "one lost": percent(sum(r.ended != "served" for r in of_one), len(of_one)),
                **outcome.circumstances()}

    yield from rows_of("greedy: ", {
        "lost": ("the polite lose", "%", [Goal(1)]),
        "p99": ("the polite wait for an answer, p99", "ms", [Goal(2, peer="alone")]),
        "one lost": ("the one loses", "%", []),
        **CIRCUMSTANCES,
    }, compare(sides, scale, play))


BATCH_ROUTE = '[[route]]\npath = "/v1/classify/batch"\npriority = 4\ncost = "items"\ncost_per_worker = 50\n'


def batches(scale):
    """A fifth of the requests are batches of fifty items, which take fifty times as long: twice what there is."""
    classes = ('[[class]]\nname = "single"\nclients = 100\nrate = 160\npatience = "2s"\n'
               '[[class]]\nname = "batch"\npath = "/v1/classify/batch"\nclients = 10\nrate = 40\nitems = 50\n'
               'service = "uniform 2250ms 2750ms"\npatience = "10s"\n')
    with tempfile.TemporaryDirectory(prefix="classgate-wire-") as folder:
        sides = (Classgate("classgate", conf(adaptive=True, more="[reserve]\npriority_3 = 0.2\n" + FAIR,
                                             routes=BATCH_ROUTE), f"{folder}/all.log"),
                 Classgate("priorities alone", conf(), f"{folder}/plain.log"))

        def play(side, seed):
            outcome = run(side, classes, scale.seconds, seed, forwarded_for=True)
            single = outcome.due(scale.warm_up, scale.seconds, "single")
            return {"wait": percentile(waits_of_singles(side.log), .95),
                    "lost": percent(sum(r.ended != "served" for r in single), len(single)),
                    "batches": outcome.served(scale.warm_up, scale.seconds, "batch") /
                    (scale.seconds - scale.warm_up),
                    **outcome.circumstances()}

        yield from rows_of("batches: ", {
            "wait": ("single requests wait for a worker, p95", "ms", [Goal(TARGET_WAIT)]),
            "lost": ("single requests lost", "%", []),
            "batches": ("batches served", "a second", []),
            **CIRCUMSTANCES,
        }, compare(sides, scale, play), "the workers can do 16.8 batches a second beside the single requests")


def waits_of_singles(log):
    """From the access log, which then begins anew: what the gateway itself measured."""
    path = pathlib.Path(log)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    return [entry["wait_ms"] for entry in entries if entry["priority"] == 3 and entry["status"] == 200]
