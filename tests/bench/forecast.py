#!/usr/bin/env python3
"""How good forecasts an hour ahead are, over the second half of each series in a folder:
    tests/bench/forecast.py FOLDER [path of classgate]
Prints a row for each CSV file with a step of an hour or less, and whether it meets the goals: beside the best of
six single experts MASE <= 0.97 x on most and pinball loss of p90 <= 0.95 x, MASE never > 1.03 x the better of as now
and as yesterday, 86 to 94 % at most p90."""
import json
import pathlib
import subprocess
import sys

SIMPLE = ("as_now", "as_yesterday", "as_last_week", "holt_winters", "harmonic", "shape")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root = pathlib.Path(__file__).resolve().parents[2]
    program = sys.argv[2] if len(sys.argv) > 2 else str(root / "build/release/gateway/classgate")
    print("| series | MASE | / best single | / as now or yesterday | at most p90 | pinball p90 / best single |")
    print("| --- | --- | --- | --- | --- | --- |")
    good = tried = 0
    is_within = True
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.csv")):
        done = subprocess.run([program, "forecast", "--series", str(path), "--horizon", "1h", "--backtest", "--json"],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            print(f"| {path.name} | {done.stderr.strip().splitlines()[-1]} | | | | |")
            continue
        test = json.loads(done.stdout)["backtest"]
        experts = test["experts"]

        def beside(measure, names):
            best = min(experts[name][measure] for name in names)
            return test[measure] / best if best else float(test[measure] > 0) + 1
        single, safe = beside("mase", SIMPLE), beside("mase", SIMPLE[:2])
        tried += 1
        good += single <= 0.97
        is_within &= safe <= 1.03 and 0.86 <= test["coverage_p90"] <= 0.94
        print(f"| {path.name} | {test['mase']:.3f} | {single:.3f} | {safe:.3f} | {100 * test['coverage_p90']:.1f} % "
              f"| {beside('pinball_p90', SIMPLE):.3f} |")
    print(f"\nMASE <= 0.97 x the best single expert on {good} of {tried}; "
          f"{'' if is_within else 'not '}all within 1.03 x as now or as yesterday and 86 to 94 % at most p90")


main()
