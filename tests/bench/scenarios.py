#!/usr/bin/env python3
"""Overload on the wire: scenarios with a real service, real clients that give up, and HAProxy and
nginx beside it; interleaved runs, one table of medians and goals, all values as JSON.
    tests/bench/scenarios.py                       everything
    tests/bench/scenarios.py --only overload,half  some: overload, collapse, half, storm, obedient, greedy, batches
    tests/bench/scenarios.py --rounds 1 --seconds 5
    tests/bench/scenarios.py --record NOTE         adds the table to tests/bench/results.md
overload    2, 5 and 10 times what the service can do, classgate's conf section by section
collapse    workers = "auto" before a service that does less when it is given more
half        workers = "auto" before a service that loses half of itself, and gets it back
storm       3x from clients that try again at once, three times; with and without a budget for retries
obedient    users for 2x, who come again when Retry-After says
greedy      one client that asks as often as a hundred others
batches     a fifth of the requests are batches of fifty items
A run is `--seconds` long after which nobody comes any more; collapse takes three times as long, half nine
times, storm seven, obedient eight, in a third of the rounds. Service, gateway and clients share this
machine: the rows about CPU tell what was left of it, and what of a result may be its doing."""
import argparse
import dataclasses
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from bench import BUILD, prefer  # noqa: E402
from history import circumstances, keep, told  # noqa: E402
from table import HEAD, lines  # noqa: E402
from wire import SCENARIOS  # noqa: E402
from wire.world import Scale, raise_file_limit  # noqa: E402

SMOKE = Scale(rounds=1, seconds=1, loads=(2,), only_ours=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"some of {','.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs of each side (3)")
    parser.add_argument("--seconds", type=int, default=15, help="of each run (15)")
    parser.add_argument("--smoke", action="store_true",
                        help="runs of a second: that it runs, and that all counts agree; goals mean nothing")
    parser.add_argument("--json", type=pathlib.Path, default=BUILD / "scenarios.json")
    parser.add_argument("--record", metavar="NOTE")
    given = parser.parse_args()
    if unknown := set(given.only or ()) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return given


def main():
    given = parse()
    scale = SMOKE if given.smoke else Scale(given.rounds, given.seconds)
    raise_file_limit()
    if not given.smoke:
        prefer()
    text = []

    def record(*new):
        text.extend(new)
        print(*new, sep="\n", flush=True)

    about = circumstances("haproxy", "nginx")
    began = time.monotonic()
    rows = []
    record(f"\n{HEAD}")
    for name in given.only or SCENARIOS:
        for row in SCENARIOS[name](scale):
            rows.append(row)
            record(*lines(row))
    about["seconds"] = round(time.monotonic() - began)
    print(f"\n{told(about)}\n{given.json}")
    given.json.write_text(json.dumps({**about, "scale": dataclasses.asdict(scale),
                                      "rows": [row.as_json() for row in rows]}, indent=1))
    if given.record:
        keep(given.record, about, text)
    if given.smoke and (silent := [row.measure for row in rows if "classgate" not in row.values]):
        sys.exit(f"nobody was served, says: {'; '.join(silent)}")


if __name__ == "__main__":
    main()
