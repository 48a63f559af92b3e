#!/usr/bin/env python3
"""Debian's load and attack programs (slowhttptest, ab, wrk), bounded to seconds: what matters is who is served."""
import pathlib
import re
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
from abuse import WORKERS, GoodClient, free_workers, settled  # noqa: E402
from kit import TEXT, ProcessTest, Program  # noqa: E402


class Hostile(ProcessTest):
    def setUp(self):
        self.upstream = self.service("--concurrency", str(WORKERS), "--service-time", "2ms")
        self.gate = self.gateway(self.upstream.address, admission_rate=0)
        self.url = f"http://{self.gate.address}"

    def beside_a_good_client(self, *commands):
        """Runs the programs at once; says what each printed. The client must be served all the while, and all workers be
        free afterwards."""
        client = GoodClient(self.gate)
        over = threading.Event()
        thread = threading.Thread(target=lambda: client.run_until(time.monotonic() + 60, over))
        thread.start()
        programs = [self.start(Program(command)) for command in commands]
        try:
            for program in programs:
                self.assertEqual(program.wait(60), 0, program.out() + program.err())
        finally:
            over.set()
            thread.join()
        self.assertEqual(client.failures, [])
        self.assertGreater(len(client.times), 10)
        client.connection.close()
        self.assert_balanced(settled(self.gate))
        slow = self.service("--concurrency", str(WORKERS), "--service-time", "300ms")
        status, _, errors = self.gate.command("set", "upstream.servers", slow.address)
        self.assertEqual(status, 0, errors)
        self.assertEqual(free_workers(self.gate, slow), WORKERS)
        return [program.out() for program in programs]

    def test_slow_heads_bodies_and_readers_at_once(self):
        modes = [["-H"],
                 ["-B", "-s", "60000"],
                 ["-B", "-s", "1000000", "-x", "4096"],  # larger than what is held before a worker is asked for
                 ["-X", "-k", "3", "-w", "1", "-y", "16", "-z", "1"],
                 ["-R", "-a", "1", "-b", "900"]]
        common = ["slowhttptest", "-c", "200", "-r", "200", "-l", "3", "-i", "1", "-p", "3", "-u", f"{self.url}/v1/classify"]
        for said in self.beside_a_good_client(*[common + mode for mode in modes]):
            # Its own probe; in between there are colours.
            self.assertRegex(said, r"service available:.*YES")

    def ab(self, *options):
        with tempfile.NamedTemporaryFile("w") as body:
            body.write(TEXT)
            body.flush()
            said, = self.beside_a_good_client(["ab", "-q", "-n", "4000", "-c", "100", "-p", body.name,
                                               "-T", "application/json", *options, f"{self.url}/v1/classify"])
        self.assertRegex(said, r"Complete requests: +4000\n")
        self.assertRegex(said, r"Failed requests: +0\n")
        self.assertNotIn("Non-2xx", said)
        return said

    def test_ab_gets_every_answer_on_new_connections(self):
        self.ab()

    def test_ab_gets_every_answer_on_kept_ones(self):
        self.assertRegex(self.ab("-k"), r"Keep-Alive requests: +4000\n")

    def test_wrk_posts_and_gets_nothing_but_answers(self):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(f"wrk.method = 'POST'\nwrk.body = '{TEXT}'\nwrk.headers['Content-Type'] = 'application/json'\n")
            script.flush()
            said, = self.beside_a_good_client(["wrk", "-t1", "-c200", "-d2s", "-s", script.name, f"{self.url}/v1/classify"])
        self.assertNotIn("Socket errors", said)
        self.assertNotIn("Non-2xx", said)
        self.assertGreater(int(re.search(r"(\d+) requests in", said).group(1)), 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
