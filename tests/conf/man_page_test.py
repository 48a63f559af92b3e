#!/usr/bin/env python3
"""classgate.conf(5) and conf/classgate.conf name every key, as the program itself knows it (--keys)."""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))


def keys_of_the_program():
    text = subprocess.run([BUILD / "gateway/classgate", "--keys"], capture_output=True, text=True, check=True).stdout
    return {name: (default, about, when) for name, default, about, when in
            (line.split("\t") for line in text.splitlines())}


def unescape(text):
    return text.replace("\\(aq", "'").replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def entries_of_the_page(page):
    """Each ".TP / .B key" of the section KEYS with the lines under it."""
    keys = page.split(".SH KEYS\n", 1)[1].split(".SS [[route]]", 1)[0]
    return {unescape(name): unescape(text) for name, text in
            re.findall(r"^\.TP\n\.B (\S+)\n((?:(?!\.(?:TP|SS)\b).*\n)*)", keys, re.M)}


def mistakes(keys, page, conf):
    entries = entries_of_the_page(page)
    found = [f"the page has no entry for {key}" for key in keys if key not in entries]
    found += [f"the page has an entry for {key}, which is no key" for key in entries if key not in keys]
    for key, (default, about, when) in keys.items():
        text = entries.get(key, "")
        for part in (about + ".", f"Default: {default}.",
                     "Reload: yes." if when == "reload" else "Reload: no, restart."):
            if key in entries and part not in text:
                found.append(f"{key}: the page does not say {part!r}")
        if when == "restart" and f'"{key}"' not in conf.split("\n\n", 1)[0]:
            found.append(f"{key}: the head of conf/classgate.conf does not say that it needs a restart")
        table, _, name = key.rpartition(".")
        section = conf.split(f"\n[{table}]\n", 1)[-1].split("\n[", 1)[0] if table else conf.split("\n[", 1)[0]
        if not re.search(rf"^#?{name} = ", section, re.M):
            found.append(f"{key} is not in conf/classgate.conf")
    return found


def main():
    page = (ROOT / "packaging/classgate.conf.5").read_text()
    conf = (ROOT / "conf/classgate.conf").read_text()
    keys = keys_of_the_program()
    # The test can fail: each of these must be found.
    for broken in (({**keys, "admission.wings": ("2", "x", "reload")}, page, conf),
                   (keys, page.replace(".B admission.workers", ".B admission.wrokers"), conf),
                   (keys, page.replace("Default: 1000.", "Default: 1001."), conf),
                   (keys, page.replace("Reload: no", "Reload: yes"), conf),
                   (keys, page, conf.replace('"clients.secret"', "it")),
                   (keys, page, conf.replace("\nburst =", "\nbrust ="))):
        assert mistakes(*broken), "a planted mistake was not found"
    found = mistakes(keys, page, conf)
    print("\n".join(found) if found else f"{len(keys)} keys, each in the manual and in the conf file")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
