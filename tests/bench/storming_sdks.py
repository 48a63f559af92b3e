#!/usr/bin/python3
"""SDKs that come back when they are told (openai, @anthropic-ai/sdk, groq-sdk), many users of each with a key of their own
and twice what can be served in all, alone and beside one client that storms with one key: @huggingface/inference, which
asks again after each 503 at once, and p-retry and axios-retry told to do so. A table of medians and goals: of the first
seconds, in which twice as much comes as can be served, and of later, when as many wait for their time as make up for that.
    tests/bench/storming_sdks.py [ROUNDS [SECONDS]]   default: 3 interleaved rounds, 180 s measured of each run: 30 minutes.
                        (Of 60 s the mean Retry-After differs by 7 % from run to run, whoever asks: too much to see 10 %.)
    --storm N           connections of the one that storms; default: 18
    --queue N           places in the queue; default: 20, two for each worker
    --node-modules DIR  npm's packages from there; else they are installed into a temporary folder
    --json FILE         --record NOTE (adds the table to tests/bench/results.md)
Exit status: 0, 1 when a goal is not reached, 77 when the SDKs cannot be had: it says why."""
import argparse
import collections
import contextlib
import hashlib
import json
import pathlib
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]
from bench import Gateway, Program, prefer  # noqa: E402
from history import circumstances, keep  # noqa: E402
from model import Model  # noqa: E402
from npm import PACKAGES, npm_clients  # noqa: E402
from table import HEAD, Goal, Row, lines  # noqa: E402
from wire.world import percentile  # noqa: E402

WORKERS = 10
WORK = 0.1      # seconds that a request takes: 100 a second
USERS = 67      # of each SDK, who think for a second between two requests: 200 a second, were each answered at once
PAUSE = 1.9     # seconds, at most
STARTED = 3     # seconds, until all ask
AT_FIRST = 15   # seconds after that, in which 200 a second come: later on those who wait ask for nothing else
WARM_UP = 60    # seconds, in which they spread out: at first they come all at once, and half a minute later again
COOL_DOWN = 35  # seconds, in which those come back who were refused: no Retry-After is longer
PATIENCE = 100  # seconds more, for calls that are not over
SKIPPED = 77    # as automake has it
TICK = 0.01     # seconds by which a timer of Node may be early
OBEDIENT = ("openai", "anthropic", "groq")
RUDE = {"huggingface": "huggingface_storms", "p-retry as copied": "p_retry_storms", "axios-retry": "axios_storms"}
ALL, FIRST, STORM = "all", "all, at first", "storm"
OURS, ALONE = "beside a storm", "alone"

CONF = """[admission]
workers = {workers}
queue_size = {queue}
rate = 0
[fairness]
identity = ["header:X-Api-Key", "bearer", "address"]
[clients]
clients_file = "{file}"
secret = "off"
[[route]]
path = "/v1/classify"
priority = 5  # as the SDKs' paths have it
"""


class Crowd(Program):
    """Users of SDKs in a process of their own."""

    def __init__(self, program, port, users, **what):
        asked = {"origin": f"http://127.0.0.1:{port}", "users": [dict(zip(("library", "key"), user)) for user in users]}
        super().__init__(["node", program, json.dumps({**asked, **what})])
        self.given = what["seconds"] + what["patience"] + 30

    def calls(self):
        assert self.wait(self.given) == 0, self.err()
        return [json.loads(line) for line in self.out().splitlines()]


def figures_of(calls):
    """Of calls of users: what became of them."""
    refused = [call for call in calls if call["tries"][0]["status"] != 200]
    assert refused, "nobody was refused: more SECONDS or a smaller --queue"
    back = [call for call in refused if len(call["tries"]) > 1]
    told = [call["tries"][0]["wait"] for call in refused]
    served = [call for call in calls if call["status"] == 200]
    return {"calls": len(calls),
            "refused": 100 * len(refused) / len(calls),
            "first": 100 * sum(call["tries"][1]["status"] == 200 for call in back) / len(refused),
            "early": sum(two["asked"] - one["told"] < one["wait"] - TICK for call in back
                         for one, two in zip(call["tries"], call["tries"][1:])),
            "told": statistics.median(told),
            "told mean": statistics.mean(told),
            "p99": 1000 * percentile([call["tries"][-1]["told"] - call["tries"][-1]["asked"] for call in served], .99),
            "p99 in all": percentile([call["ended"] - call["began"] for call in served], .99),
            "lost": len(calls) - len(served)}


def begun_between(begin, end, calls):
    return [call for call in calls if begin <= call["began"] < end]


def reasons(calls, number):
    """Why the try of that number was refused."""
    return dict(collections.Counter(call["tries"][number]["reason"] for call in calls
                                    if len(call["tries"]) > number and call["tries"][number]["status"] != 200))


def conf_of(options, file="FILE"):
    return CONF.format(workers=WORKERS, queue=options.queue, file=file)


@contextlib.contextmanager
def place(options, keys):
    """A gateway before a service; `keys` are those of its known clients."""
    model, gateway = Model(WORK), None
    with tempfile.NamedTemporaryFile("w", suffix=".clients") as known:
        known.writelines(f"{key} key=sha256:{hashlib.sha256(key.encode()).hexdigest()}\n" for key in keys)
        known.flush()
        try:
            gateway = Gateway(model.address, conf=conf_of(options, known.name), threads=1)
            yield gateway
        finally:
            if gateway:
                gateway.end()
            model.end()


def calls_of(gateway, program, crowds, seconds):
    """What became of those users, a list for each crowd, in this time."""
    running = []
    try:
        for users, pause, patience in crowds:
            running.append(Crowd(program, gateway.port, users, pause=pause, seconds=seconds, patience=patience))
        return [crowd.calls() for crowd in running]
    finally:
        for crowd in running:
            crowd.end()


def play(options, program, storms):
    """{SDK: {name: figure}} of one run."""
    seconds = WARM_UP + options.seconds + COOL_DOWN
    crowds = [([(library, f"{library}-{number}") for number in range(USERS)], PAUSE, PATIENCE) for library in OBEDIENT]
    rude = [(list(RUDE.values())[number % len(RUDE)], STORM) for number in range(options.storm)]
    with place(options, [STORM, *(key for users, *_ in crowds for _, key in users)]) as gateway:
        start = time.time()
        came = calls_of(gateway, program, crowds + [(rude, 0, 0)] * storms, seconds)
        asked = gateway.health()["total_requests"]
    begin = start + WARM_UP
    end = begin + options.seconds
    calls = [call for crowd in came[:len(crowds)] for call in crowd]
    measured = begun_between(begin, end, calls)
    figures = {library: figures_of([call for call in measured if call["library"] == library]) for library in OBEDIENT}
    figures[FIRST] = figures_of(begun_between(start + STARTED, start + STARTED + AT_FIRST, calls))
    figures[ALL] = figures_of(measured) | {
        "served": sum(begin <= call["ended"] < end for call in calls if call["status"] == 200) / options.seconds,
        "storm": (asked - sum(len(call["tries"]) for call in calls)) / seconds,
        "storm served": sum(call["status"] == 200 for crowd in came[len(crowds):] for call in crowd) / seconds}
    print(f"  {OURS if storms else ALONE}: refused first {reasons(measured, 0)}, at the first retry {reasons(measured, 1)}; "
          f"{figures[ALL]}; {FIRST}: {figures[FIRST]}", file=sys.stderr, flush=True)
    return figures


def rows_of(values):
    """{(SDK, name): {OURS: [...], ALONE: [...]}} as a table. Of one SDK some 80 calls are refused in a run, each of which is
    told another time up to half a minute: goals are for all SDKs together."""
    told = [("calls", "calls", "", []),
            ("refused", "refused first", "%", []),
            ("first", "of these, served at the first retry", "%", [Goal(95, is_least=True)]),
            ("early", "retries before the time that was told", "", []),
            ("told", "Retry-After of the first refusal, median", "s", []),
            ("told mean", "Retry-After of the first refusal, mean", "s", [Goal(1.1, ALONE)]),
            ("p99", "the attempt that was served, p99", "ms", [Goal(1.2, ALONE)]),
            ("p99 in all", "from the first attempt to the answer, p99", "s", [Goal(1.2, ALONE)]),
            ("lost", "calls that ended with a refusal", "", [])]
    rows = [Row(f"{library}: {measure}", unit, values[library, name], goals if library in (ALL, FIRST) else [], subject=OURS)
            for library in (*OBEDIENT, ALL, FIRST) for name, measure, unit, goals in told]
    return rows + [Row("users served", "a second", values[ALL, "served"], subject=OURS),
                   Row("asked by the one that storms", "a second", values[ALL, "storm"], subject=OURS),
                   Row("of that, served", "a second", values[ALL, "storm served"], subject=OURS)]


def parse():
    table = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    table.add_argument("rounds", nargs="?", type=int, default=3)
    table.add_argument("seconds", nargs="?", type=int, default=180)
    table.add_argument("--storm", type=int, default=18)
    table.add_argument("--queue", type=int, default=2 * WORKERS)
    table.add_argument("--node-modules", type=pathlib.Path)
    table.add_argument("--json", type=pathlib.Path)
    table.add_argument("--record", metavar="NOTE")
    return table.parse_args()


def main():
    options = parse()
    found, skipped = npm_clients([*OBEDIENT, *RUDE], options.node_modules)
    if skipped:
        print(*(f"{name}: SKIPPED: {why}" for name, why in skipped.items()), sep="\n")
        return SKIPPED
    print(*(f"{PACKAGES[one.name][1]} {one.version}" for one in found), sep=", ")
    print(conf_of(options))
    program = pathlib.Path(found[0].words[1]).with_name("crowd.mjs")
    prefer()
    about = circumstances()
    values = collections.defaultdict(lambda: {OURS: [], ALONE: []})
    for number in range(options.rounds):
        for storms in (number % 2 == 0, number % 2 != 0):  # in an order that turns
            for library, figures in play(options, program, storms).items():
                for name, figure in figures.items():
                    values[library, name][OURS if storms else ALONE].append(figure)
    rows = rows_of(values)
    text = [HEAD, *(line for row in rows for line in lines(row))]
    print(*text, sep="\n")
    if options.record:
        keep(options.record, about, text)
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in rows], indent=1))
    return 0 if all(reached for row in rows for *_, reached in row.judged()) else 1


if __name__ == "__main__":
    sys.exit(main())
