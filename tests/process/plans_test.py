#!/usr/bin/env python3
"""classgate simulate --plan: what it proposes can be believed, or it says why there is nothing to propose."""
import json
import pathlib
import subprocess
import unittest

from kit import CLASSGATE, FolderTest, clean_environment

LINE = ('time=2026-11-24T09:{minutes:02}:{seconds:02}.{ms:03}Z id=x client=192.0.2.{client} method=POST path="{path}" '
        'route="/" priority=3 verdict=admitted reason=- cost=1 deadline_ms=30000.000 upload_ms=0.000 wait_ms=0.000 '
        'upstream_ms=50.000 total_ms=50.000 status=200 bytes_in=100 bytes_out=0 upstream=- retries=0 tls=-\n')
SERVICE = """duration = "60s"
[upstream]
service = "exponential 100ms"
capacity = 10
"""
CALM = SERVICE + '[[class]]\nname = "people"\nrate = 70\n'
OVERLOAD = SERVICE + '[[class]]\nname = "people"\nrate = 300\n'
STARVED = SERVICE.replace("exponential 100ms", "100ms") + """[[class]]
name = "people"
rate = 110
[[class]]
name = "batches"
path = "/v1/classify/batch"
rate = 8
"""


def log_of(*seconds_and_rates, path="/v1/classify"):
    """So many requests a second, evenly, one phase after the other."""
    lines, second = [], 0
    for seconds, rate in seconds_and_rates:
        for _ in range(seconds):
            for i in range(rate):
                lines.append(LINE.format(minutes=second // 60, seconds=second % 60, ms=i * 1000 // rate, path=path,
                                         client=1 + i % 5))
            second += 1
    return "".join(lines)


class PlanTest(FolderTest):
    def simulate(self, *words, status=0):
        done = subprocess.run([CLASSGATE, "simulate", *words], capture_output=True, text=True, timeout=100,
                              env=clean_environment())
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return done

    def json(self, *words):
        return json.loads(self.simulate(*words, "--json").stdout)


class Plans(PlanTest):
    # It proposed a queue of 0 and a rate of 1, and refused 236 of 250.
    def test_a_plan_for_short_waits_serves_nearly_everybody(self):
        workload = self.file("w.toml", CALM)
        text = self.simulate("--workload", workload, "--plan", "wait p95 <= 100ms").stdout
        self.assertIn('# served >= 99%: ', text)
        self.assertIn('every plan has this floor', text)
        self.assertRegex(text, r"of 4,\d+ requests 0\.\d+ % would be refused \(.*\), 0\.00 % leave")
        found = self.json("--workload", workload, "--conf", self.file("plan.conf", text))
        self.assertGreaterEqual(found["all"]["served"], 0.99 * found["all"]["arrived"])

    def test_when_the_floor_cannot_be_kept_it_is_said_how_it_is_changed(self):
        # Slower the more is in it: 10 at once are its most.
        slow = OVERLOAD.replace("capacity = 10", "slowdown_beyond = 10\nslowdown_power = 2")
        workload = self.file("w.toml", slow)
        text = self.simulate("--workload", workload, "--plan", "wait p95 <= 100ms", status=2).stdout
        self.assertIn('--plan "served >= 80%" plans for refusing the rest', text)
        self.assertRegex(text, r"of 1\d,\d+ requests \d+\.\d+ % would be refused")
        plan = self.json("--workload", workload, "--plan", "wait p95 <= 100ms", "--plan", "served >= 20%")
        self.assertTrue(plan["met"])
        self.assertGreaterEqual(plan["outcomes"][0]["served_share"], 0.2)

    def test_a_class_that_starves_is_named_with_the_key_that_mends_it(self):
        workload = self.file("w.toml", STARVED)
        words = ("--workload", workload, "--plan", "served >= 80%")
        text = self.simulate(*words).stdout
        self.assertRegex(text, r"# starved: \d+ of \d+ requests of class batches would be served \(most of the others "
                               r"end with \w+\): \[reserve\] priority_4 = 0.1")
        mended = self.file("mended.conf", "[reserve]\npriority_4 = 0.1\n")
        self.assertNotIn("starved", self.simulate(*words, "--conf", mended).stdout)

    # Each was "met", with workers = 1, queue_size = 0, rate = 1, and exit status 0.
    def test_what_has_no_samples_is_never_met(self):
        workload = self.file("w.toml", CALM)
        log = self.file("a.log", log_of((10, 20)))
        blank = self.file("blank.log", "\n\n")
        operators = self.file("ops.log", log_of((1, 20)).replace("verdict=admitted", "verdict=operator"))
        for words, told in (
                (("--workload", workload, "--plan", "wait p95 <= 1s for class poeple"),
                 "no request of the traffic is of such a class, so that nothing tells whether it is met (did you mean "
                 "class people?)"),
                (("--workload", workload, "--plan", "wait p95 <= 1s for route people"),
                 "is of such a route, so that nothing tells whether it is met (did you mean class people?); there is "
                 "class people"),
                (("--log", log, "--plan", "refused <= 1% for route /v1/clasify"), "(did you mean route /v1/classify?)"),
                (("--log", log, "--plan", "refused <= 1% for priority 2"),
                 "has this priority, so that nothing tells whether it is met; there are those of priority 3"),
                (("--log", blank, "--upstream", "50ms", "--plan", "wait p95 <= 1s"), "there is no traffic in it"),
                (("--log", operators, "--upstream", "50ms", "--plan", "refused <= 1%"), "there is no request in it"),
                (("--log", log, "--plan", "refused <= 1x%"), '--plan "refused <= 1x%", column 12: has no share in %'),
                (("--log", log, "--plan", "refused <= nan%"), "column 12: has no share in %")):
            with self.subTest(words):
                done = self.simulate(*words, status=1)
                self.assertIn(told, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_a_plan_is_tried_on_the_half_that_it_was_not_made_with(self):
        even = self.file("even.log", log_of((60, 40)))
        text = self.simulate("--log", even, "--plan", "wait p95 <= 50ms").stdout
        self.assertRegex(text, r'# tried on the second half \(1,\d+ requests\), which it was not made with: '
                               r'"wait p95 <= 50ms": [\d.]+ ms; "served >= 99%": \d+\.\d+ %\n')
        self.assertNotIn("anew", text)
        self.assertTrue(self.json("--log", even, "--plan", "wait p95 <= 50ms")["held"])

    def test_a_plan_that_does_not_hold_there_is_made_anew_with_both(self):
        busier = self.file("busier.log", log_of((30, 20), (30, 60)))
        words = ("--log", busier, "--plan", "wait p95 <= 20ms")
        text = self.simulate(*words).stdout
        self.assertRegex(text, r"# tried on the second half .*, missed")
        self.assertIn("So it was made anew with both", text)
        self.assertFalse(self.json(*words)["held"])
        found = self.json("--log", busier, "--conf", self.file("plan.conf", text))
        self.assertLessEqual(found["all"]["wait_ms"]["p95"], 20)
        self.assertGreaterEqual(found["all"]["served"], 0.99 * found["all"]["arrived"])

    def test_a_plan_is_tried_on_another_log_where_one_is_named(self):
        day = self.file("day.log", log_of((30, 30)))
        other = self.file("other.log", log_of((30, 30), path="/v1/other"))
        words = ("--log", day, "--plan", "wait p95 <= 50ms")
        self.assertIn(f"# tried on {other} (900 requests), which it was not made with",
                      self.simulate(*words, "--try-on", other).stdout)
        self.assertIn("there is route", self.simulate("--log", day, "--plan", "refused <= 1% for route /v1/classify",
                                                      "--try-on", other, status=1).stderr)
        self.assertIn("/nowhere: No such file", self.simulate(*words, "--try-on", "/nowhere", status=1).stderr)
        self.assertIn("it belongs to --plan", self.simulate("--log", day, "--try-on", other, status=1).stderr)

    def test_of_a_workload_another_course_of_chance_is_held_back(self):
        self.assertIn("# tried on another course of chance (4,", self.simulate(
            "--workload", self.file("w.toml", CALM), "--plan", "wait p95 <= 100ms").stdout)

    def test_what_cannot_be_held_back_is_said(self):
        few = self.file("few.log", log_of((5, 20)))
        self.assertIn("not tried on traffic that it was not made with: 100 requests are too few",
                      self.simulate("--log", few, "--plan", "wait p95 <= 50ms").stdout)
        halves = self.file("halves.log", log_of((30, 20)) + log_of((30, 20), path="/v1/x").replace("09:00:", "09:01:"))
        self.assertIn('one half has no request of those of "refused <= 1% for route /v1/classify"',
                      self.simulate("--log", halves, "--plan", "refused <= 1% for route /v1/classify", "--conf",
                                    self.file("r.conf", '[[route]]\npath = "/v1/x"\npriority = 3\n')).stdout)


class Scaled(PlanTest):
    def test_three_times_a_log_is_three_times_the_requests_of_three_times_the_clients(self):
        log = self.file("a.log", log_of((20, 30)))
        once, thrice = self.json("--log", log), self.json("--log", log, "--scale", "3", "--rate", "0")
        self.assertEqual(thrice["began"], once["began"])
        self.assertEqual(once["all"]["arrived"], 600)
        self.assertEqual(thrice["all"]["arrived"], 1800)
        self.assertEqual((once["clients"], thrice["clients"]), (5, 15))
        self.assertIn("all 3 times", thrice["remarks"][0])
        less = self.json("--log", log, "--scale", "0.5")["all"]["arrived"]
        self.assertTrue(240 < less < 360, less)
        self.assertEqual(self.json("--log", log, "--scale", "1")["all"], once["all"])

    def test_a_class_or_route_is_scaled_alone(self):
        conf = ("--conf", self.file("r.conf", '[[route]]\npath = "/v1/x"\npriority = 3\n'), "--rate", "0")
        log = self.file("a.log", log_of((10, 30)) + log_of((10, 30), path="/v1/x").replace("09:00:0", "09:00:1"))
        def arrived(kind, *words):
            return {one[kind]: one["arrived"] for one in self.json(*words)[f"by_{kind}"]}
        self.assertEqual(arrived("route", "--log", log, *conf, "--scale", "/v1/x=4"), {"/v1/classify": 300, "/v1/x": 1200})
        self.assertEqual(arrived("route", "--log", log, *conf, "--scale", "2", "--scale", "/v1/x=0"), {"/v1/classify": 600})
        workload = self.file("w.toml", CALM + '[[class]]\nname = "users"\nusers = 10\nthink = "1s"\n')
        once = arrived("class", "--workload", workload, "--rate", "0")
        more = arrived("class", "--workload", workload, "--rate", "0", "--scale", "users=3")
        self.assertEqual(once["people"], more["people"])
        self.assertAlmostEqual(more["users"] / once["users"], 3, delta=0.4)

    def test_a_scale_that_means_nothing_is_told(self):
        log, workload = self.file("a.log", log_of((10, 30))), self.file("w.toml", CALM)
        for words, told in ((("--log", log, "--scale", "/v1/clasify=2"), "(did you mean /v1/classify?)"),
                            (("--workload", workload, "--scale", "poeple=2"), "(did you mean people?)"),
                            (("--workload", workload, "--scale", "people=x"), '--scale "people=x", column 8: is no number'),
                            (("--workload", workload, "--scale", "0"), "column 1: is no number"),
                            (("--workload", workload, "--scale", "-1"), "column 1: is no number"),
                            (("--workload", workload, "--scale", "nan"), "column 1: is no number"),
                            (("--workload", workload, "--scale", "1001"), "column 1: is no number"),
                            (("--workload", workload, "--scale", "2", "--scale", "3"), "given twice for all"),
                            (("--workload", self.file("fast.toml", CALM.replace("70", "5e5")), "--scale", "3"),
                             "would have more than 100000 users or 1000000 requests a second")):
            with self.subTest(words):
                self.assertIn(told, self.simulate(*words, status=1).stderr)


class WorkloadOut(PlanTest):
    def test_a_log_becomes_a_workload_that_is_read_back_as_the_same_traffic(self):
        log = self.file("a.log", log_of((30, 20), (30, 60)) + log_of((60, 5), path="/v1/x y"))
        conf = ("--conf", self.file("r.conf", '[admission]\nrate = 0\n[[route]]\npath = "/v1/*"\npriority = 2\n'))
        out = str(self.folder / "out.toml")
        asked = self.json("--log", log, *conf, "--keep-going", "--workload-out", out)
        made = self.json("--workload", out, *conf)
        self.assertAlmostEqual(made["all"]["arrived"], asked["all"]["arrived"], delta=0.1 * asked["all"]["arrived"])
        self.assertAlmostEqual(made["all"]["latency_ms"]["p50"], asked["all"]["latency_ms"]["p50"], delta=5)
        self.assertEqual(made["clients"], 10)  # each class has its own
        self.assertEqual([one["class"] for one in made["by_class"]], [one["route"] for one in asked["by_route"]])
        text = pathlib.Path(out).read_text()
        self.assertIn('body = "100B"', text)
        self.assertIn('method = "POST"', text)
        self.assertRegex(text, r'"0s 2\d(\.\d+)?"')

    def test_where_there_is_nothing_to_write_it_is_told(self):
        workload = self.file("w.toml", CALM)
        log = self.file("a.log", log_of((10, 30)))
        out = str(self.folder / "out.toml")
        for words, told in ((("--workload", workload, "--workload-out", out), "--workload-out makes a workload of a log"),
                            (("--log", log, "--workload-out", "/nowhere/x"), "/nowhere/x: No such file"),
                            (("--log", log, "--plan", "refused <= 1%", "--workload-out", out), "not with --diff")):
            with self.subTest(words):
                self.assertIn(told, self.simulate(*words, status=1).stderr)
        self.assertFalse(pathlib.Path(out).exists())


if __name__ == "__main__":
    unittest.main()
