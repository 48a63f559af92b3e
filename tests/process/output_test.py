#!/usr/bin/env python3
"""An answer that cannot be written whole is told, and is no success."""
import os
import pathlib
import subprocess
import tempfile
import unittest

from kit import CLASSGATE, ROOT, ProcessTest, clean_environment

WORKLOAD = sorted((ROOT / "packaging/examples/workloads").glob("*.toml"))[0]


def closed_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def run(words, stdout):
    done = subprocess.run([str(CLASSGATE), *map(str, words)], stdout=stdout, stderr=subprocess.PIPE,
                          text=True, env=clean_environment(), timeout=300)
    return done.returncode, done.stderr


class Output(ProcessTest):
    def commands(self):
        simulate = ["simulate", "--workload", WORKLOAD]
        gateway = self.gateway(self.service().address)
        to_it = ["--socket", gateway.control]
        return [["-T", "-c", "/dev/null"], ["--keys"], ["--help"], ["--version"], simulate, [*simulate, "--json"],
                [*simulate, "--sweep", "workers=1,2"], [*simulate, "--plan", "refused <= 100%"],
                [*to_it, "status"], [*to_it, "status", "--json"], [*to_it, "queue"],
                [*to_it, "explain", "GET", "/x"], [*to_it, "set", "log.level", "debug"],
                [*to_it, "status", "--watch"], [*to_it, "status", "--watch", "--json"]]

    def test_a_full_disk_and_a_closed_pipe_are_told_and_are_no_success(self):
        for words in self.commands():
            with self.subTest(words=[str(word) for word in words]):
                with open("/dev/full", "wb") as full:
                    code, err = run(words, full)
                self.assertNotEqual(code, 0)
                self.assertIn("No space left on device", err)
                with closed_pipe() as pipe:
                    code, err = run(words, pipe)
                self.assertGreater(code, 0, "ended by a signal")
                self.assertIn("Broken pipe", err)

    def test_files_that_cannot_be_written_are_told_by_name(self):
        for flag in ("--requests", "--html", "--json"):
            code, err = run(["simulate", "--workload", WORKLOAD, f"{flag}=/dev/full"], subprocess.DEVNULL)
            self.assertEqual(code, 1, flag)
            self.assertIn("/dev/full: No space left on device", err)
        with tempfile.TemporaryDirectory() as folder:
            lines = pathlib.Path(folder) / "lines"
            code, err = run(["simulate", "--workload", WORKLOAD, "--requests", lines], subprocess.DEVNULL)
            self.assertEqual((code, err), (0, ""))
            self.assertGreater(lines.read_text().count("\n"), 100)

    def test_large_numbers_of_a_sweep_are_whole(self):
        # 1e+06 was refused.
        done = subprocess.run([CLASSGATE, "simulate", "--workload", WORKLOAD, "--sweep",
                               "queue_size=800000..1000000:100000"], capture_output=True, text=True,
                              env=clean_environment(), timeout=300)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for number in ("800000", "900000", "1000000"):
            self.assertRegex(done.stdout, rf"(?m)^ *{number} ")


if __name__ == "__main__":
    unittest.main()
