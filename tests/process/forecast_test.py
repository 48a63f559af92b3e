#!/usr/bin/env python3
"""classgate forecast, observed from outside."""
import datetime
import json
import math
import subprocess
import unittest

from kit import CLASSGATE, FolderTest, clean_environment


class Forecast(FolderTest):
    def forecast(self, *words):
        return subprocess.run([str(CLASSGATE), "forecast", *map(str, words)], capture_output=True, text=True,
                              env=clean_environment(), timeout=300)

    def rhythm(self, days, time=str, leave_out=()):
        rows = [f"{time(i * 600)},{100 + 80 * math.sin(i * 600 / 86400 * 2 * math.pi) + i * 7 % 13:.3f}"
                for i in range(days * 144) if i not in leave_out]
        return self.file("load.csv", "time,requests\n" + "\n".join(rows) + "\n")

    def test_a_backtest_says_how_good_it_was_beside_each_expert(self):
        done = self.forecast("--series", self.rhythm(10), "--horizon", "1h", "--backtest", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        test = json.loads(done.stdout)["backtest"]
        self.assertEqual(test["horizon_seconds"], 3600)
        self.assertEqual(test["compared"], 720)
        self.assertLess(test["mase"], 1.03 * min(test["experts"][name]["mase"] for name in ("as_now", "as_yesterday")))
        self.assertTrue(0.8 < test["coverage_p90"] <= 1, test)
        for measure in ("mase", "wape", "coverage_p90", "pinball_p90"):
            for said in [test, *test["experts"].values()]:
                self.assertGreaterEqual(said[measure], 0)

    def test_times_may_be_dates_and_gaps_are_told(self):
        def date(seconds):
            return (datetime.datetime(2026, 3, 2) + datetime.timedelta(seconds=seconds)).isoformat(sep=" ")
        done = self.forecast("--series", self.rhythm(4, date, range(200, 230)), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["step_seconds"], answer["values"], answer["missing"]), (600, 576, 30))
        self.assertEqual(answer["first"], "2026-03-02T00:00:00Z")
        self.assertIn("30 of 576 steps are missing", done.stderr)
        for said in answer["forecast"]:
            self.assertTrue(0 <= said["p50"] <= said["p90"] <= said["p99"], said)

    def test_a_page_is_whole_and_needs_no_network(self):
        page = self.folder / "page.html"
        done = self.forecast("--series", self.rhythm(4), "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("this forecast", done.stdout)
        text = page.read_text()
        self.assertNotIn("/*DATA*/null", text)
        self.assertNotIn("src=", text.replace("default-src", ""))

    def test_what_is_no_series_is_told_and_is_no_success(self):
        rows = "".join(f"{i * 60},1\n" for i in range(30))
        for name, text, reason in (
                ("empty", "", "no row"), ("header", "time,value\n", "no row"), ("below", "t,v\n0,1\n60,-2\n", "below 0"),
                ("word", "t,v\n0,1\n60,many\n", "no number"), ("time", "t,v\n0,1\nnoon,2\n", "no time"),
                ("short", "t,v\n0,1\n60,2\n", "too short: 2 of 2 steps of 1m are known, and 12"),
                ("years", "t,v\n0,1\n60,1\n120,1\n157680000,2\n", "too short: 1 of 60000 steps of 1m is known"),
                ("holes", "t,v\n" + "".join(f"{i * 60 + i // 20 * 86400},1\n" for i in range(400)), "are missing"),
                ("comma", "t;v\n0;12,5\n", "a number is written with a point"), ("uneven", "t,v\n0,1\n7,1\n99,1\n5000,1\n", "no step"),
                ("coarse", "t,v\n" + "".join(f"{i * 86400},1\n" for i in range(30)), "an hour at most"),
                ("one day", "t,v\n" + rows, "too short"), ("infinite", "t,v\n0,1\n60,inf\n", "no number")):
            with self.subTest(name):
                done = self.forecast("--series", self.file(name + ".csv", text), "--backtest")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(reason, done.stderr)
                self.assertEqual(done.stdout, "")
        for words, reason in ((("--series", self.folder), "directory"), (("--series", self.folder / "none"), "No such"),
                              ((), "either --series"), (("--series", self.rhythm(4), "--horizon", "5m"), "less than"),
                              (("--series", self.rhythm(4), "--horizon", "soon"), "no duration"),
                              (("--series", self.rhythm(4), "--time-zone", "Moon/Sea"), "--time-zone")):
            with self.subTest(words):
                done = self.forecast(*words)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(reason, done.stderr)

    def test_a_step_that_is_no_part_of_a_day_is_made_one_or_refused(self):
        rows = "".join(f"{i * 420},{100 + 80 * math.sin(i * 420 / 86400 * 2 * math.pi):.3f}\n" for i in range(2000))
        path = self.file("load.csv", "time,requests\n" + rows)
        done = self.forecast("--series", path, "--horizon", "1h", "--backtest", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["step_seconds"], answer["missing"]), (480, 0))
        self.assertIn("rows are 7m apart, which is no part of a day: means of 8m are made of them", done.stderr)
        self.assertLess(answer["backtest"]["experts"]["as_yesterday"]["wape"], 0.01)
        done = self.forecast("--series", path, "--step", "7m")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("--step: 7m is no part of a day, by which yesterday is found: 8m is one", done.stderr)

    def test_one_priority_or_plan_of_a_log_and_one_column_of_a_series(self):
        conf = self.file("two.toml", '[fairness]\nidentity = ["header:X-Api-Key"]\n[[plan]]\nname = "free"\n'
                         'clients = ["header:X-Api-Key:a"]\n[[route]]\npath = "/batch"\npriority = 4\ncost = 5\n')
        log = "".join(f'time=2026-03-02T10:{minute:02}:{second:02}.000Z id=x client=192.0.2.1 method=POST path="{path}" '
                      f'route="{path}" priority=3 verdict=admitted reason=- cost=1 deadline_ms=30000.000 upload_ms=0.000 '
                      f'wait_ms=0.000 upstream_ms=20.000 total_ms=20.000 status=200 bytes_in=52 bytes_out=87 upstream=- '
                      f'retries=0 tls=- plan={plan}\n'
                      for minute in range(20) for second, path, plan in ((1, "/v1/classify", "free"), (2, "/batch", "-"),
                                                                         (3, "/v1/classify", "-")))
        log = self.file("access.log", log)
        for of, each in (((), 7), (("--of", "priority_3"), 2), (("--of", "priority_4"), 5), (("--of", "plan_free"), 1),
                         (("--of", "plan_-"), 6)):
            with self.subTest(of):
                done = self.forecast("--log", log, "--conf", conf, "--horizon", "5m", "--json", *of)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertAlmostEqual(json.loads(done.stdout)["forecast"][0]["p50"], each, places=6)
        series = self.file("wide.csv", "time,a,b\n" + "".join(f"{i * 60},1,{7}\n" for i in range(30)))
        done = self.forecast("--series", series, "--of", "b", "--horizon", "5m", "--json")
        self.assertAlmostEqual(json.loads(done.stdout)["forecast"][0]["p50"], 7, places=6)
        for words, reason in ((("--series", series, "--of", "c"), "no column behind the time is called"),
                              (("--series", series, "--of", "time"), "no column behind the time is called"),
                              (("--series", self.file("bare.csv", "0,1\n60,2\n"), "--of", "b"), "no header"),
                              (("--series", series, "--of", "b", "--arrivals"), "--of"),
                              (("--series", series, "--of", ""), "--of: it is empty"),
                              (("--series", series, "--horizon", ""), "--horizon: it is empty"),
                              (("--log", log, "--conf", conf, "--of", "plan_gold"), "the conf has no plan"),
                              (("--log", log, "--conf", conf, "--of", "priority_6"), "neither priority_1")):
            with self.subTest(words):
                done = self.forecast(*words)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(reason, done.stderr)

    def test_of_a_very_long_series_the_last_steps_are_looked_at(self):
        rows = "".join(f"{i * 60},{i % 1440}\n" for i in range(62_000))
        done = self.forecast("--series", self.file("long.csv", "t,load\n" + rows), "--horizon", "1h", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["values"], answer["first"]), (60_000, "1970-01-02T09:20:00Z"))
        self.assertIn("of its 62000 steps the last 60000 are looked at, since 1970-01-02T09:20:00Z", done.stderr)
        self.assertTrue(answer["series"].endswith("long.csv, load"), answer["series"])

    def test_a_step_is_a_minute_to_an_hour_and_not_longer_than_the_series(self):
        series = ("--series", self.rhythm(4))
        for step, reason in (("0", "no duration"), ("0s", "no duration"), ("59s", "no duration"), ("61m", "no duration"),
                             ("1m", "are missing"), ("-5m", "no duration")):
            with self.subTest(step):
                done = self.forecast(*series, f"--step={step}")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(reason, done.stderr)
        short = self.file("short.csv", "t,v\n" + "".join(f"{i * 60},1\n" for i in range(30)))
        done = self.forecast("--series", short, "--step", "1h")
        self.assertIn("too short: 1 of 1 steps of 1h is known", done.stderr)

    def test_a_log_tells_demand_with_what_was_refused(self):
        begin = datetime.datetime(2026, 3, 2)
        lines = []
        for i in range(4000):
            time = (begin + datetime.timedelta(seconds=i * 1.5)).strftime("%d/%b/%Y:%H:%M:%S")
            lines.append(f'10.0.0.1 - - [{time} +0000] "POST /v1/classify HTTP/1.1" {(200, 503)[i % 2]} 12 "-" "x"')
        done = self.forecast("--log", self.file("access.log", "\n".join(lines) + "\n"), "--conf", "/dev/null", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("retries", done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["step_seconds"], 60)
        self.assertAlmostEqual(answer["forecast"][0]["p50"], 40, delta=2)

    def test_rows_can_be_arrivals(self):
        rows = "\n".join(f"{i * i % 7200 / 2},{i}" for i in range(4000))
        done = self.forecast("--series", self.file("arrivals.csv", "time,bytes\n" + rows), "--arrivals", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["step_seconds"], 60)

    def test_autoscaling_says_what_each_rule_misses_and_costs(self):
        words = ("--series", self.rhythm(6), "--per-server", 5)
        done = self.forecast(*words, "--autoscale", "all", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        rules = json.loads(done.stdout)["autoscale"]
        self.assertEqual(list(rules), ["KEDA", "KPA", "HPA", "forecast"])
        for said in rules.values():
            self.assertGreater(said["cost_worker_minutes"], said["load_worker_minutes"] - said["unmet_worker_minutes"])
        self.assertLess(rules["forecast"]["unmet_worker_minutes"], rules["KPA"]["unmet_worker_minutes"])
        text = self.forecast(*words, "--autoscale", "kpa", "--start-delay", "10m")
        self.assertIn("serves 10m after", text.stdout)
        self.assertIn("KPA", text.stdout)
        self.assertNotIn("HPA", text.stdout)

    def test_what_autoscaling_is_asked_for_and_cannot_do_is_told(self):
        series = ("--series", self.rhythm(3))
        for words, reason in ((("--autoscale", "all"), "needs --per-server"),
                              (("--autoscale", "magic", "--per-server", 5), "none of KEDA"),
                              (("--autoscale", "KPA", "--per-server", 0), "no number above 0"),
                              (("--autoscale", "KPA", "--per-server", "nan"), "no number above 0"),
                              (("--autoscale", "KPA", "--per-server", "1e-6"), "more than 100000 servers"),
                              (("--autoscale", "KPA", "--per-server", 5, "--start-delay", "2h"), "no duration"),
                              (("--autoscale", "KPA", "--per-server", 5, "--backtest"), "goes without"),
                              (("--autoscale", "KPA", "--per-server", 5, "--html", "x.html"), "no page"),
                              (("--per-server", 5), "what --autoscale is to reckon with")):
            with self.subTest(words):
                done = self.forecast(*series, *words)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(reason, done.stderr)
                self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
