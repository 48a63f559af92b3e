#!/usr/bin/env python3
"""The regression suite of admission: traces and workloads under the confs of library/cases.json, with
the figures that admission gave for them (library/expected.json). A change of any figure shows as a table
before -> after; whether it is an improvement is for a person to judge, who then accepts it:
    tests/planning/library_test.py            compares
    tests/planning/library_test.py --accept   writes the new figures"""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
LIBRARY = HERE / "library"
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))
EXPECTED = LIBRARY / "expected.json"


def run(case):
    source = ROOT / case["input"]
    kind = "--workload" if source.suffix == ".toml" else "--log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLASSGATE_") and k != "PORT"}
    environment.update({"CLASSGATE_" + key.upper().replace(".", "_"): str(value)
                        for key, value in case.get("set", {}).items()})
    found = json.loads(subprocess.run(
        [BUILD / "gateway/classgate", "--conf", "/dev/null", "simulate", kind, source, "--json",
         *case.get("words", [])],
        capture_output=True, text=True, check=True, env=environment, timeout=60).stdout)
    figures = {"arrived": found["all"]["arrived"], "queue most": found["queue"]["most"],
               "workers busy": found["workers"]["busy_share"]}
    for reason, count in {**found["all"]["rejected"], **found["all"]["failed"]}.items():
        figures[reason] = count
    figures["left"] = found["all"]["abandoned"]
    for group in found.get("by_class", found.get("by_route", [])):
        name = group.get("class", group.get("route"))
        figures[f"{name}: served"] = group["served"]
        figures[f"{name}: wait p95 ms"] = group["wait_ms"]["p95"]
    return figures


def differences(before, after):
    """Lines of the table before -> after; none when nothing has changed."""
    lines = []
    for case in sorted(before.keys() | after.keys()):
        old, new = before.get(case, {}), after.get(case, {})
        for figure in [*old, *(f for f in new if f not in old)]:
            a, b = old.get(figure, 0), new.get(figure, 0)
            if a != b:
                change = f"{(b - a) / a:+.1%}" if a else "new"
                lines.append(f"{case:<28}{figure:<28}{a:>12} -> {b:<12}{change:>8}")
    return lines


def main():
    cases = json.loads((LIBRARY / "cases.json").read_text())
    after = {case["name"]: run(case) for case in cases}
    before = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    # The test can fail: one figure changed is one line.
    if before:
        name = next(iter(before))
        changed = {**before, name: {**before[name], "arrived": before[name]["arrived"] + 1}}
        assert len(differences(before, changed)) == 1
    lines = differences(before, after)
    print("\n".join(lines) or f"{len(cases)} cases, nothing has changed")
    if "--accept" in sys.argv:
        EXPECTED.write_text(json.dumps(after, indent=1) + "\n")
        return 0
    if lines:
        print("\nIf this is what was meant: tests/planning/library_test.py --accept, and say why in the commit.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
