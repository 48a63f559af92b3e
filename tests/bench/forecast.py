#!/usr/bin/env python3
"""How good forecasts an hour ahead are, over the second half of each series in a folder:
    tests/bench/forecast.py FOLDER [path of classgate]
Prints a row for each CSV file with a step of an hour or less, and whether it meets the goals: beside the best of
six single experts MASE <= 0.97 x on most and pinball loss of p90 <= 0.95 x, MASE never > 1.03 x the better of as now
and as yesterday, 86 to 94 % at most p90. Then what servers scaled by the forecast miss and cost beside KPA's rule and
HPA's, with a start delay of 60 s and servers of which the largest value takes 10, 20 or 50; goal: <= 0.3 x unmet at
<= +10 % cost beside both. A file whose rows are not of equal distance, and a value no load, is one of arrivals."""
import json
import pathlib
import subprocess
import sys

SIMPLE = ("as_now", "as_yesterday", "as_last_week", "holt_winters", "harmonic", "shape")


def ask(program, *words):
    return subprocess.run([program, "forecast", *map(str, words), "--json"], capture_output=True, text=True, timeout=300)


def largest_value(path, is_arrivals):
    if is_arrivals:
        minutes = {}
        for line in path.read_text().splitlines()[1:]:
            minutes[line[:16]] = minutes.get(line[:16], 0) + 1
        return max(minutes.values())
    return max(float(line.split(",")[1]) for line in path.read_text().splitlines()[1:])


def autoscale(program, paths):
    print("\n| series | servers at most | unmet of load: KPA, HPA, forecast | unmet / KPA, HPA | cost / KPA, HPA | goal |")
    print("| --- | --- | --- | --- | --- | --- |")
    good = tried = 0
    for path in paths:
        is_arrivals = "no step is found" in ask(program, "--series", path).stderr
        for servers in (10, 20, 50):
            done = ask(program, "--series", path, "--autoscale", "all", "--start-delay", "60s", "--per-server",
                       largest_value(path, is_arrivals) / servers, *(["--arrivals"] if is_arrivals else []))
            if done.returncode != 0:
                print(f"| {path.name} | {done.stderr.strip().splitlines()[-1]} | | | | |")
                break
            rules = json.loads(done.stdout)["autoscale"]
            ours = rules["forecast"]

            def beside(measure):
                return [ours[measure] / rules[name][measure] if rules[name][measure] else float(ours[measure] > 0)
                        for name in ("KPA", "HPA")]

            def of_load(name):
                return f"{100 * rules[name]['unmet_worker_minutes'] / rules[name]['load_worker_minutes']:.3f} %"
            unmet, cost = beside("unmet_worker_minutes"), beside("cost_worker_minutes")
            is_met = max(unmet) <= 0.3 and max(cost) <= 1.1
            tried, good = tried + 1, good + is_met
            print(f"| {path.name} | {servers} | {', '.join(map(of_load, ('KPA', 'HPA', 'forecast')))} "
                  f"| {unmet[0]:.2f}, {unmet[1]:.2f} | {cost[0]:.3f}, {cost[1]:.3f} | {'yes' if is_met else 'no'} |")
    print(f"\n<= 0.3 x unmet at <= +10 % cost beside both: {good} of {tried}")


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
        done = ask(program, "--series", path, "--horizon", "1h", "--backtest")
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
    autoscale(program, sorted(pathlib.Path(sys.argv[1]).glob("*.csv")))


main()
