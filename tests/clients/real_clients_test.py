#!/usr/bin/env python3
"""What real client libraries make of refusals, a drain, streams and uploads: facts about each of a small fixed set.
tests/clients/run shows all of them as a table."""
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from cases import CASES, LONG  # noqa: E402
from library import clients  # noqa: E402

WANTED = ("requests", "urllib3 Retry 429 503", "aiohttp", "tenacity that reads", "curl --retry 2",
          "wget --retry-on-http-error", "go-retryablehttp that passes on", "LWP", "node fetch")
AT_ONCE = 6
RUN = pathlib.Path(__file__).resolve().parent / "run"
STORMING_SDKS = RUN.parents[1] / "bench/storming_sdks.py"
WORDS = {"429": "The request rate is exceeded; try again in ", "503": "The queue is full; try again in ",
         "504": "The service did not answer in time", "504 as 424": "The service did not answer in time",
         "504 remembered": "The service did not answer",
         "upload": "The request rate is exceeded; try again in "}


class RealClients(unittest.TestCase):
    """Every client meets every case once; each test looks at some of what was seen."""

    @classmethod
    def setUpClass(cls):
        found, missing = clients(WANTED.__contains__)
        print(*(f"{name}: not tried, {why}" for name, why in missing.items()), sep="\n", file=sys.stderr)
        if not found:
            raise unittest.SkipTest("no client is installed (packaging/install-build-dependencies)")
        # What insists after a 504 is known to, and takes long.
        pairs = [(one, case) for case in CASES for one in found if case != "504" or not one.insists]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            cls.seen = list(pool.map(lambda pair: (pair[0], CASES[pair[1]](pair[0])), pairs))

    def for_each(self, cases, claim):
        for client, seen in self.seen:
            if seen.case in cases:
                with self.subTest(client=client.name, case=seen.case):
                    claim(client, seen)

    def assert_told(self, client, seen, status):
        """What it ends with is our answer, in our words."""
        last = seen.said[-1]
        self.assertEqual(last.status, status, last)
        if not client.is_silent:
            self.assertIn(WORDS[seen.case], last.body)

    def test_who_obeys_is_served_when_it_comes_back_and_not_before_it_was_told(self):
        def claim(client, seen):
            if client.obeys:
                self.assertEqual([one.status for one in seen.tries], [int(seen.case), 200])
                self.assertTrue(seen.obeyed, seen.tries)
                self.assertEqual((seen.said[-1].status, seen.computed), (200, 1))
        self.for_each(("429", "503"), claim)

    def test_who_does_not_come_back_is_told_why_and_when(self):
        def claim(client, seen):
            self.assertRegex(seen.tries[0].head, r"\r\nRetry-After: [1-9]")
            if not seen.came_back:
                self.assert_told(client, seen, int(seen.case))
                self.assertEqual(seen.computed, 0)
        self.for_each(("429", "503"), claim)

    def test_the_service_computes_once_for_who_does_not_insist_after_a_504(self):
        def claim(client, seen):
            self.assertIn("\r\nX-Should-Retry: false", seen.tries[0].head)
            self.assertEqual((len(seen.tries), seen.computed), (1, 1))
            self.assert_told(client, seen, 504)
        self.for_each(("504",), claim)

    def test_the_service_computes_once_for_anybody_when_a_504_is_said_as_424(self):
        def claim(client, seen):
            self.assertTrue(seen.tries[0].head.startswith("HTTP/1.1 424 Failed Dependency\r\n"))
            self.assertEqual((len(seen.tries), seen.computed), (1, 1))
            self.assert_told(client, seen, 424)
        self.for_each(("504 as 424",), claim)

    def test_the_service_computes_once_for_who_insists_too_when_a_504_is_remembered(self):
        def claim(client, seen):
            self.assertEqual(seen.computed, 1)
            self.assertTrue(all("\r\nX-Classgate-Reason: repeated" in one.head for one in seen.tries[1:]), seen.tries)
            if not client.insists:
                self.assert_told(client, seen, 504)
        self.for_each(("504 remembered",), claim)

    def test_a_drain_costs_nobody_anything(self):
        def claim(_, seen):
            self.assertEqual([one.status for one in seen.said], [200, 200])
            self.assertEqual((len(seen.tries), seen.computed), (2, 2))
            self.assertIn("\r\nConnection: close", seen.tries[0].head)
        self.for_each(("drain",), claim)

    def test_who_leaves_a_stream_ends_it(self):
        def claim(_, seen):
            self.assertGreaterEqual(seen.said[-1].events, 3)
            self.assertEqual((seen.noticed, seen.computed), (True, 1))
        self.for_each(("stream",), claim)

    def test_a_stream_lasts_longer_than_request_timeout(self):
        def claim(client, seen):
            self.assertEqual((seen.said[-1].events, seen.computed), (LONG, 1))
        self.for_each(("long stream",), claim)

    def test_who_is_refused_in_the_middle_of_its_upload_hears_why(self):
        def claim(client, seen):
            self.assert_told(client, seen, 429)
            self.assertEqual(seen.computed, 0)
        self.for_each(("upload",), claim)


class NoPackages(unittest.TestCase):
    """What is run with npm's clients, where they cannot be had."""

    def run_without(self, program, *words):
        """With a folder that has but a package which is too new for any node."""
        with tempfile.TemporaryDirectory(prefix="classgate-test-") as folder:
            modules = pathlib.Path(folder, "node_modules")
            (modules / "ky").mkdir(parents=True)
            (modules / "ky/package.json").write_text('{"version": "99.0.0", "engines": {"node": ">=999"}}')
            done = subprocess.run([sys.executable, program, "--node-modules", modules, *words],
                                  capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 77, done)
        return done.stdout

    @unittest.skipUnless(shutil.which("node"), "nodejs is not installed")
    def test_who_cannot_be_tried_is_skipped_with_a_word_and_does_not_pass(self):
        out = self.run_without(RUN, "--only", "ky,groq", "--case", "429")
        self.assertIn("| ky | each | SKIPPED: ky 99.0.0 needs node 999; this is v", out)
        self.assertIn("| groq | each | SKIPPED: groq-sdk is not in ", out)
        self.assertIn("clients tried: 0, skipped: 2", out)

    @unittest.skipUnless(shutil.which("node"), "nodejs is not installed")
    def test_the_bench_that_needs_them_says_so_and_does_not_pass(self):
        out = self.run_without(STORMING_SDKS)
        self.assertIn("groq: SKIPPED: groq-sdk is not in ", out)
        self.assertNotIn("reached", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
