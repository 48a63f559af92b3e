"""What a table was measured on, and the file that keeps the tables worth keeping."""
import argparse
import datetime
import os
import pathlib
import platform
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def first_line(*command):
    if not shutil.which(command[0], path="/usr/sbin:/usr/bin:/bin"):
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def circumstances(*servers):
    """`servers`: of haproxy, nginx, h2o."""
    model = [line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    versions = {"haproxy": ("/usr/sbin/haproxy", "-v"), "nginx": ("/usr/sbin/nginx", "-v"),
                "h2o": ("/usr/bin/h2o", "-v")}
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "commit": first_line("git", "-C", str(HERE), "describe", "--always", "--dirty"),
            "kernel": platform.release(), "cpu": model[0] if model else platform.machine(),
            "cores": os.cpu_count(), "load": os.getloadavg()[0],
            **{name: first_line(*versions[name]) for name in servers}}


def asked(description, seconds, names):
    """Of a command line `[--record NOTE] [SECONDS] [NAME ...]`: the note or None, the seconds, and those of the names
    that begin so (all, if none is given)."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--record", metavar="NOTE")
    options.add_argument("words", nargs="*", metavar="SECONDS, NAME")
    given = options.parse_args()
    words = given.words
    seconds = int(words.pop(0)) if words and words[0].isdigit() else seconds
    return given.record, seconds, [n for n in names if not words or any(n.startswith(word) for word in words)]


def told(about):
    return "; ".join(f"{key} {value}" for key, value in about.items())


def keep(note, about, text):
    """Adds a table to results.md."""
    with open(HERE / "results.md", "a") as history:
        print(f"\n## {about['date'][:10]} {about['commit']}: {note}\n\n{told(about)}", *text, sep="\n", file=history)
