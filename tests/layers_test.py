#!/usr/bin/env python3
"""Reads the include lines and fails when a module includes upwards or sideways (tests/layers.txt)."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def read_rules(text):
    layers, guarded = {}, {}
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        if "=" in line:
            prefix, places = line.split("=")
            guarded[prefix.strip()] = places.split()
        else:
            folder, allowed = line.split(":")
            layers[folder.strip()] = allowed.split()
    return layers, guarded


def layer_of(path, layers):
    folder = path.rsplit("/", 1)[0] if "/" in path else ""
    while folder and folder not in layers:
        folder = folder.rsplit("/", 1)[0] if "/" in folder else ""
    return folder


def check_file(name, text, layers, guarded):
    """All breaches in one file, as lines of text."""
    breaches = []
    own = layer_of(name, layers)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, included = match.groups()
        if quote == '"':
            target = layer_of(included, layers)
            if target not in layers[own]:
                breaches.append(f"{name}:{number}: {own}/ must not include {included}")
        for prefix, places in guarded.items():
            if included.startswith(prefix) and not any(
                    name == p or name.startswith(p + "/") for p in places):
                breaches.append(f"{name}:{number}: <{included}> belongs to {', '.join(places)} only")
    return breaches


def main():
    layers, guarded = read_rules((ROOT / "tests/layers.txt").read_text())
    # The test can fail: breaches planted in text must be found.
    for name, line in (("admission/x.cpp", '#include "proxy/net/loop.h"'),
                       ("conf/x.h", '#include "gateway/server.h"'),
                       ("gateway/x.cpp", "#include <event2/event.h>"),
                       ("gateway/x.cpp", '#include "gateway/ops/metrics.h"'),
                       ("gateway/server.cpp", '#include "gateway/planning/load.h"'),
                       ("admission/measure/x.h", '#include "admission/gate.h"')):
        assert check_file(name, line, layers, guarded), f"a planted breach was not found: {line}"
    files = [p for top in sorted({f.split("/")[0] for f in layers})
             for p in sorted((ROOT / top).rglob("*")) if p.suffix in (".h", ".cpp")]
    assert len(files) > 20, "no sources found: is this the right folder?"
    breaches = []
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        breaches += check_file(name, path.read_text(), layers, guarded)
    print("\n".join(breaches) if breaches else f"{len(files)} files keep to tests/layers.txt")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
