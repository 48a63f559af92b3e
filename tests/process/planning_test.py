#!/usr/bin/env python3
"""classgate simulate and load, observed from outside.
Longer than most: both are asked about the logs, workloads and services that stand first."""
import csv
import gzip
import json
import lzma
import re
import resource
import shutil
import subprocess
import threading
import time
import unittest

from kit import (CLASSGATE, ROOT, FolderTest, Program, Script, ScriptedService, clean_environment, free_port, get_json,
                 wait_until)

EXAMPLES = ROOT / "packaging/examples/workloads"
STALL = """duration = "6s"
[[class]]
rate = 50
arrivals = "regular"
clients = 3
"""
ONE = """duration = "5s"
[[class]]
name = "one"
rates = ["0s 10", "150ms 0"]
arrivals = "regular"
retries = 1
retry_delay = "0s"
"""
BATCHES = """duration = "1s"
[[class]]
path = "/v1/classify/batch"
rates = ["0s 10", "550ms 0"]
arrivals = "regular"
items = 50
"""
LINE = ('time=2026-11-24T09:{minutes:02}:{seconds:02}.{ms:03}Z id=x client=192.0.2.1 method=GET path="/a" route="/" '
        'priority=3 verdict=admitted reason=- cost=1 deadline_ms=1000.000 upload_ms=0.000 wait_ms=0.000 '
        'upstream_ms=0.500 total_ms=0.500 status=200 bytes_in=0 bytes_out=0 upstream=- retries=0 tls=-\n')
PLANS = """[admission]
rate = 0
[fairness]
identity = ["header:X-Api-Key"]
burst = 3
rate = 0.001
[clients]
secret = "off"
[[plan]]
name = "gold"
rate = 1000
burst = 1000
clients = ["header:X-Api-Key:g"]
[[plan]]
name = "free"
rate = 0.001
burst = 5
clients = ["header:X-Api-Key:f"]
"""
SMALL = """duration = "60s"
[upstream]
service = "exponential 100ms"
capacity = 10
[[class]]
name = "people"
rate = 70
"""


def requests_of(path):
    """What --requests has written."""
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


class RefusesOnce(ScriptedService):
    """A service that refuses whoever comes first, for a second; knows what each said in X-Retry-Count."""

    def __init__(self):
        self.retry_counts = retry_counts = []

        class Handler(Script):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                retry_counts.append(self.headers["X-Retry-Count"])
                if len(retry_counts) == 1:
                    return self.say(503, {"X-Classgate-Reason": "shed", "Retry-After": "1"})
                return self.say(200)

        super().__init__(Handler)


class Says(ScriptedService):
    """A service with one answer to everything: `status`, or bytes that are no HTTP."""

    def __init__(self, answer):
        class Handler(Script):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                if isinstance(answer, bytes):
                    self.close_connection = True
                    return self.wfile.write(answer)
                return self.say(answer)

        super().__init__(Handler)


class Keeps(ScriptedService):
    """A service that remembers what it was asked: method, path, bytes."""

    def __init__(self):
        self.asked = asked = []

        class Handler(Script):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append((self.command, self.path, len(body)))
                self.say(200)
            do_GET = do_PUT = do_POST

        super().__init__(Handler)


class PlanningTest(FolderTest):
    def classgate(self, *words, status=0):
        done = subprocess.run([CLASSGATE, *words], capture_output=True, text=True, timeout=100,
                              env=clean_environment())
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def json_of(self, stdin, *words):
        """What it says, with the bytes of a file in its standard input, through a pipe."""
        feeder = None if stdin is None else subprocess.Popen(["cat", stdin], stdout=subprocess.PIPE)
        done = subprocess.run([CLASSGATE, *words, "--json"], stdin=feeder and feeder.stdout, capture_output=True,
                              timeout=100, env=clean_environment())
        if feeder is not None:
            feeder.stdout.close()
            feeder.wait()
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def json(self, *words):
        return json.loads(self.classgate(*words, "--json").stdout)


class Simulate(PlanningTest):
    def test_the_same_input_gives_the_same_bytes_and_nothing_but_the_answer(self):
        words = ("simulate", "--workload", str(EXAMPLES / "retry-storm.toml"), "--json")
        first, second = self.classgate(*words), self.classgate(*words)
        self.assertEqual(first.stdout, second.stdout)
        self.assertEqual(first.stderr, "")  # no progress bar in a pipe
        self.assertNotEqual(first.stdout, self.classgate(*words, "--seed", "2").stdout)

    def test_the_log_that_a_gateway_wrote_is_the_traffic(self):
        for log_format in ("text", "json"):
            log = self.folder / f"access.{log_format}"
            service = self.service("--service-time", "20ms")
            gateway = self.gateway(service.address, log_access=log, log_format=log_format)
            self.classgate("load", "--workload", self.file("w.toml", STALL), "--time", "2s",
                           "--to", f"http://{gateway.address}")
            gateway.signal(15)
            gateway.wait()
            found = self.json("simulate", "--log", str(log))
            self.assertEqual((found["all"]["arrived"], found["all"]["served"]), (99, 99))
            self.assertGreater(found["all"]["latency_ms"]["p50"], 19)
            self.assertEqual(found["by_route"][0]["route"], "/v1/classify")

    def test_each_plan_refuses_in_the_simulation_what_it_refused(self):
        # Everybody's terms counted for all: of those on gold, too, nearly all were refused.
        log = self.folder / "access.log"
        gateway = self.gateway(self.service().address, conf=PLANS, log_access=log)
        refused = 0
        for key in ("g", "f", "other"):
            for _ in range(20):
                refused += gateway.request(headers={"X-Api-Key": key}).status == 429
        self.assertEqual(refused, 15 + 17)
        gateway.signal(15)
        gateway.wait()
        conf = self.file("plans.conf", PLANS)
        found = self.json("simulate", "--conf", conf, "--log", str(log))
        self.assertEqual(found["all"]["rejected"], {"client_rate": refused})
        self.assertEqual(sorted(client["served"] for client in found["by_client"]), [3, 5, 20])
        # Without the plans in it nothing is answered.
        log.write_text(re.sub(r" plan=\S+", "", log.read_text()))
        done = self.classgate("simulate", "--conf", conf, "--log", str(log), status=1)
        self.assertIn("60 of 60 requests do not tell the plan of their client", done.stderr)

    def test_a_flood_is_told_from_what_was_usual_in_the_days_before(self):
        # Two days in which both ask every ten minutes; then one asks for 400 in four seconds, and the other goes on.
        line = ('time=2026-11-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z id=x client=192.0.2.{client} '
                'method=GET path="/a" route="/" priority=3 verdict=admitted reason=- cost=1 deadline_ms=60000.000 '
                'upload_ms=0.000 wait_ms=0.000 upstream_ms=1000.000 total_ms=1000.000 status=200 bytes_in=0 bytes_out=0 '
                'upstream=- retries=0 tls=-\n')
        quiet = [line.format(day=day, hour=hour, minute=minute, second=client, ms=0, client=client)
                 for day in (2, 3) for hour in range(24) for minute in range(0, 60, 10) for client in (1, 2)]
        flood = [line.format(day=4, hour=0, minute=0, second=i // 100, ms=10 * (i % 100), client=1) for i in range(400)]
        other = [line.format(day=4, hour=0, minute=0, second=4 + i, ms=0, client=2) for i in range(10)]
        log = self.file("days.log", "".join(quiet + flood + other))
        head = "[admission]\nworkers = 2\nrate = 0\nqueue_timeout = \"1m\"\nrequest_timeout = \"10m\"\n[fairness]\n"
        without = self.json("simulate", "--conf", self.file("without.conf", head), "--log", log)
        self.assertEqual(without["all"]["rejected"].get("client_pattern", 0), 0)
        found = self.json("simulate", "--conf", self.file("pattern.conf", head + 'rate = "pattern"\n'), "--log", log)
        self.assertGreater(found["all"]["rejected"]["client_pattern"], 200)
        served = {client["client"]: (client["arrived"], client["served"]) for client in found["by_client"]}
        self.assertIn((298, 298), served.values())  # who is within its pattern loses nothing
        observed = self.json("simulate", "--conf", self.file(
            "observed.conf", head + 'rate = "pattern"\n[observe]\npattern = true\n'), "--log", log)
        self.assertEqual(observed["all"]["served"], without["all"]["served"])

    def test_a_log_is_read_once_from_a_pipe_and_packed_as_it_is(self):
        # Each way used to lose lines without a word, or all of them: the log was opened twice.
        text = "".join(LINE.format(seconds=i // 1000 % 60, minutes=i // 60_000, ms=i % 1000) for i in range(210_000))
        plain = self.file("access.log", text)
        packed = self.folder / "access.log.1"
        packed.write_bytes(gzip.compress(text.encode()[:9_000_000]) + gzip.compress(text.encode()[9_000_000:]))
        expected = self.json("simulate", "--log", plain)
        self.assertEqual(expected["all"]["arrived"], 210_000)
        for words, stdin in (((packed,), None), (("-",), packed), (("/dev/stdin",), packed), (("-",), plain)):
            with self.subTest(words):
                found = self.json_of(stdin, "simulate", "--log", *map(str, words))
                self.assertEqual(found["all"], expected["all"])

    def test_a_log_that_zstd_packed_is_read(self):
        if shutil.which("zstd") is None:
            self.skipTest("zstd is not installed")
        plain = self.file("access.log", "".join(LINE.format(seconds=i, minutes=0, ms=0) for i in range(50)))
        packed = plain + ".zst"
        subprocess.run(["zstd", "-q", plain, "-o", packed], check=True, timeout=60)
        self.assertEqual(self.json("simulate", "--log", packed)["all"], self.json("simulate", "--log", plain)["all"])

    def test_what_cannot_be_unpacked_to_its_end_ends_it(self):
        text = "".join(LINE.format(seconds=i % 60, minutes=i // 60, ms=0) for i in range(3000))
        whole = gzip.compress(text.encode())
        cut = self.folder / "cut.gz"
        cut.write_bytes(whole[:-20])
        done = self.classgate("simulate", "--log", str(cut), status=1)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"cut.gz:\d+: is cut: it ends in the middle of what gzip packed \(--keep-going")
        self.classgate("simulate", "--log", str(cut), "--keep-going")
        packed = self.folder / "access.xz"
        packed.write_bytes(lzma.compress(text.encode()))
        self.assertIn(f"xz -dc {packed} | classgate ... --log -",
                      self.classgate("simulate", "--log", str(packed), status=1).stderr)

    def test_a_log_that_does_not_tell_of_many_requests_is_not_believed(self):
        line = ('time=2026-11-24T09:30:{:02}.000Z id=x client=192.0.2.1 method=GET path="/a" route="/" priority=3 '
                'verdict=admitted reason=- cost=1 deadline_ms=1000.000 upload_ms=0.000 wait_ms=0.000 '
                'upstream_ms=5.000 total_ms=5.000 status=200 bytes_in=0 bytes_out=0 upstream=- retries=0 tls=-\n')
        log = self.file("access.log", "".join(line.format(i) for i in range(50)) +
                        'time=2026-11-24T09:30:50.000Z rolled_up=1000 since=2026-11-24T09:30:49.000Z client=* path="-" '
                        'route="-" priority=0 verdict=rejected reason=client_rate status=429\n')
        conf = self.file("old.conf", "[admission]\nworkers = 4\n")
        for words in ((), ("--plan", "refused <= 1%"), ("--sweep", "workers=1,2"), ("--diff", conf, conf)):
            with self.subTest(words):
                done = self.classgate("simulate", "--log", log, *words, status=1)
                self.assertEqual(done.stdout, "")
                self.assertIn("1000 of 1050 requests stand in lines that do not tell their path", done.stderr)
                done = self.classgate("simulate", "--log", log, "--keep-going", *words)
                self.assertIn("1000 more refusals stood in lines that do not tell their path",
                              done.stderr if words else done.stdout)

    def test_a_log_that_is_out_of_order_has_no_answer(self):
        def lines(minutes):
            return "".join(LINE.format(minutes=minutes, seconds=i, ms=0) for i in range(60))
        newest_first = self.file("newest-first.log", lines(45) + lines(0))
        twice = self.file("twice.log", 2 * lines(0))
        for words in ((), ("--plan", "wait p95 <= 100ms"), ("--sweep", "workers=1,2")):
            done = self.classgate("simulate", "--log", newest_first, *words, status=1)
            self.assertIn("line 61 (2026-11-24T09:00:00Z) lies 45 min 59 s before line 60", done.stderr)
            self.assertNotIn("workers", done.stdout)
            self.assertIn("line 61 is line 1 again",
                          self.classgate("simulate", "--log", twice, *words, status=1).stderr)

    def test_a_sweep_runs_every_combination(self):
        found = self.json("simulate", "--workload", self.file("w.toml", SMALL), "--rate", "0",
                          "--sweep", "workers=4..12:4", "--sweep", "queue-size=10,20")
        self.assertEqual([tuple(p["set"].values()) for p in found["sweep"]],
                         [("4", "10"), ("4", "20"), ("8", "10"), ("8", "20"), ("12", "10"), ("12", "20")])
        self.assertLess(found["sweep"][0]["all"]["served"], found["sweep"][-1]["all"]["served"])

    def test_growth_tells_from_when_on_the_traffic_is_too_much(self):
        # 40 a second with 4 workers of 50 ms each, which are 80 a second.
        workload = self.file("w.toml", 'duration = "60s"\n[upstream]\nservice = "50ms"\n'
                                       '[[class]]\nname = "a"\nrate = 40\narrivals = "regular"\n')
        words = ("simulate", "--workload", workload, "--workers", "4", "--queue-size", "4", "--rate", "0")
        found = self.json(*words, "--growth", "50%/week,3")
        self.assertEqual([p["set"]["traffic.times"] for p in found["sweep"]], ["1", "1.5", "2.25", "3.375"])
        self.assertEqual(found["growth"]["first_too_much"], 2)
        self.assertIn("from week 2 on", self.classgate(*words, "--growth", "50%/week,3").stdout)
        both = self.json(*words, "--growth", "50%/week,1", "--sweep", "workers=4,8")
        self.assertEqual(len(both["sweep"]), 4)
        self.assertNotIn("growth", both)
        self.assertIn("is no growth such as 10%/week", self.classgate(*words, "--growth", "10%", status=1).stderr)
        self.assertIn("--growth: its value is empty", self.classgate(*words, "--growth", "", status=1).stderr)

    def test_the_keys_of_a_workload_are_on_the_plans_that_have_them(self):
        keys = [f"gold-{i}" for i in range(2)]
        workload = self.file("w.toml", 'duration = "60s"\nkey_header = "X-Api-Key"\n[upstream]\nservice = "10ms"\n'
                                       f'[[class]]\nname = "gold"\nclients = 2\nrate = 20\nkey = {json.dumps(keys)}\n'
                                       '[[class]]\nname = "free"\nclients = 2\nrate = 20\nkey = ["f-0", "f-1"]\n')
        conf = self.file("plans.conf", '[admission]\nrate = 0\n[fairness]\nidentity = ["header:X-Api-Key"]\n[[plan]]\n'
                                       'name = "free"\nrate = 2\nclients = ["header:X-Api-Key:f-0", "header:X-Api-Key:f-1"]\n'
                                       '[[plan]]\nname = "gold"\n'
                                       'clients = ["header:X-Api-Key:gold-0", "header:X-Api-Key:gold-1"]\n')
        found = self.json("simulate", "--workload", workload, "--conf", conf)
        served = {of["class"]: of["served"] / of["arrived"] for of in found["by_class"]}
        self.assertEqual(served["gold"], 1)
        self.assertLess(served["free"], .3)  # 2 of 10 a second each

    def test_a_plan_is_the_smallest_conf_that_meets_its_targets_and_is_a_conf(self):
        workload = self.file("w.toml", SMALL)
        words = ("simulate", "--workload", workload, "--plan", "wait p95 <= 100ms for priority 3",
                 "--plan", "refused <= 1%")
        plan = self.json(*words)
        self.assertTrue(plan["met"])
        conf = self.file("plan.conf", self.classgate(*words).stdout)
        self.classgate("--check", "--conf", conf)
        met = self.json("simulate", "--workload", workload, "--conf", conf)
        self.assertLessEqual(met["all"]["wait_ms"]["p95"], 100)
        fewer = self.json("simulate", "--workload", workload, "--conf", conf, "--workers",
                          str(plan["workers"] - 1), "--queue-size", "200000", "--rate", "0")
        self.assertGreater(fewer["all"]["wait_ms"]["p95"], 100)

    def test_a_plan_says_when_no_setting_can(self):
        text = self.classgate("simulate", "--workload", self.file("w.toml", SMALL), "--plan",
                              "answer p50 <= 5ms", status=2).stdout
        self.assertIn("No setting meets the targets", text)
        self.assertNotIn("workers_per_server", text)

    def test_a_plan_keeps_to_the_workers_of_each_server(self):
        conf = self.file("own.conf", "[admission]\nworkers_per_server = 3\n")
        target = ("--conf", conf, "--plan", "wait p95 <= 100ms")
        # Seven are at work on average: with three for each server it takes more servers, each of which could do ten.
        plan = self.json("simulate", "--workload", self.file("w.toml", SMALL), *target)
        self.assertTrue(plan["met"])
        self.assertGreaterEqual(plan["servers"], 3)
        # Where nobody knows what a server can do, no number of workers helps, and the reason is said.
        text = self.classgate("simulate", "--workload", self.file("one.toml", SMALL.replace("capacity = 10\n", "")), *target,
                              status=2).stdout
        self.assertIn("In each trial admission.workers_per_server = 3 was in force", text)

    def test_what_of_the_workers_was_used_is_of_those_that_the_servers_take(self):
        conf = self.file("own.conf", "[admission]\nworkers = 50\nrate = 0\n[upstream]\nrequests_per_server = 2\n")
        told = ("simulate", "--workload", self.file("w.toml", SMALL), "--conf", conf)
        # More is asked for than two can do: they are busy all the time, and not 4 % of it.
        found = self.json(*told)["workers"]
        self.assertEqual((found["in_force"], found["most"]), (2, 2))
        self.assertGreater(found["busy_share"], 0.9)
        self.assertRegex(self.classgate(*told).stdout,
                         r"workers: \d+\.\d % of the time of 2 used, 2 at once at most \(the servers take 2 of the 50\)\n")
        rows = self.json(*told, "--sweep", "workers=1,50")["sweep"]
        self.assertEqual([row["workers"]["in_force"] for row in rows], [1, 2])

    def test_a_diff_tells_what_became_of_each_request(self):
        old, new = self.file("old.conf", "[admission]\nworkers = 4\nrate = 0\nqueue_size = 20\n"), \
            self.file("new.conf", "[admission]\nworkers = 10\nrate = 0\nqueue_size = 20\n")
        found = self.json("simulate", "--workload", self.file("w.toml", SMALL), "--diff", old, new)
        changed = {(c["old"], c["new"]): c["requests"] for c in found["changes"]}
        self.assertGreater(changed[("queue_full", "served")], 1000)
        self.assertEqual(found["same"] + sum(changed.values()), found["requests"])

    def test_a_page_is_one_file_without_a_network(self):
        page = self.folder / "page.html"
        self.classgate("simulate", "--workload", self.file("w.toml", SMALL), "--html", str(page))
        text = page.read_text()
        self.assertIn('"by_priority"', text)
        for outside in ("http://", "https://", "src=", "@import", "url("):
            self.assertNotIn(outside, text.replace("http://www.w3.org/2000/svg", ""))

    def test_a_line_for_each_request_says_what_became_of_it(self):
        lines = self.folder / "requests.tsv"
        found = self.json("simulate", "--workload", str(EXAMPLES / "retry-storm.toml"), "--requests", str(lines))
        rows = requests_of(lines)
        self.assertEqual(len(rows), found["all"]["arrived"])
        self.assertEqual(sum(row["ended"] == "served" for row in rows), found["all"]["served"])
        self.assertEqual(sum(row["ended"] == "left" for row in rows), found["all"]["abandoned"])
        self.assertEqual(sum(row["attempt"] != "0" for row in rows), found["all"]["retries"])
        self.assertEqual(sum(row["reason"] == "queue_full" for row in rows),
                         found["all"]["rejected"].get("queue_full", 0))
        self.classgate("simulate", "--workload", self.file("w.toml", SMALL), "--requests", "/nowhere/x", status=1)

    def test_what_cannot_be_answered_is_told(self):
        workload = self.file("w.toml", SMALL)
        for words, told in (((), "name what is asked"),
                            (("--workload", workload, "--sweep", "wokers=1..2"), "did you mean"),
                            (("--workload", workload, "--plan", "wait p95 100ms"), "has no <="),
                            (("--log", "/nowhere"), "/nowhere: No such file"),
                            (("--workload", workload, "--upstream", "recorded"), "belongs to --log")):
            self.assertIn(told, self.classgate("simulate", *words, status=1).stderr)


class Load(PlanningTest):
    def test_a_service_that_stalls_for_two_seconds_is_seen_by_all_who_came_meanwhile(self):
        service = self.service("--service-time", "5ms")
        stall = threading.Timer(2, lambda: get_json(service.port, "/stall"))
        stall.start()
        found = self.json("load", "--workload", self.file("w.toml", STALL), "--to",
                          f"http://{service.address}")
        stall.join()
        self.assertEqual(found["all"]["arrived"], 299)  # nobody was left out
        self.assertEqual(found["all"]["served"], 299)
        # A third of the requests came in these two seconds, evenly: 50 of them waited over a second.
        # A tester that waits for answers before it asks again would have seen three slow ones.
        self.assertGreater(found["all"]["latency_ms"]["p95"], 1000)
        self.assertGreater(found["all"]["latency_ms"]["mean"], 200)

    def test_who_is_refused_comes_again_when_told_to_and_says_so(self):
        service = RefusesOnce()
        self.addCleanup(service.close)
        lines = self.folder / "requests.tsv"
        self.classgate("load", "--workload", self.file("w.toml", ONE), "--to", f"http://{service.address}",
                       "--requests", str(lines))
        self.assertEqual(service.retry_counts, [None, "1"])
        refused, again = requests_of(lines)
        self.assertEqual([(row["class"], row["attempt"], row["ended"], row["reason"], row["retry_after_s"])
                          for row in (refused, again)],
                         [("one", "0", "rejected", "shed", "1"), ("one", "1", "served", "", "0")])
        self.assertGreaterEqual(float(again["due_s"]), float(refused["due_s"]) + 1)

    def test_a_batch_has_as_many_items_as_the_workload_says(self):
        service = self.service()
        log = self.folder / "access.log"
        gateway = self.gateway(service.address, log_access=log, log_format="json",
                               conf='[[route]]\npath = "/v1/classify/batch"\npriority = 4\ncost = "items"\n')
        self.classgate("load", "--workload", self.file("w.toml", BATCHES), "--to", f"http://{gateway.address}")
        gateway.signal(15)
        gateway.wait()
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual([(entry["status"], entry["cost"]) for entry in entries], [(200, 50)] * 5)

    def test_nobody_listening_is_said_with_the_reason_and_no_success(self):
        workload = self.file("w.toml", ONE)
        done = self.classgate("load", "--workload", workload, "--to", f"http://127.0.0.1:{free_port()}", status=1)
        self.assertRegex(done.stderr, r"nothing answered: \d+ connections refused")
        self.assertRegex(done.stdout, r"answers: 2xx 0, 3xx 0, 4xx 0, 5xx 0; Connection refused: \d")
        done = self.classgate("load", "--workload", workload, "--to", f"unix:{self.folder}/none", status=1)
        self.assertRegex(done.stderr, r"nothing answered: \d+ times \"No such file or directory\"")

    def test_when_nobody_ever_answers_it_ends_before_its_time(self):
        workload = self.file("w.toml", STALL.replace("6s", "600s"))
        began = time.monotonic()
        done = self.classgate("load", "--workload", workload, "--to", f"http://127.0.0.1:{free_port()}", status=1)
        self.assertLess(time.monotonic() - began, 40)
        self.assertRegex(done.stderr, r"nothing answered: [\d,]+ connections refused")

    # Everything was POST /v1/classify with 40 bytes.
    def test_a_log_is_asked_as_it_was(self):
        log = self.folder / "access.log"
        log.write_text("".join(
            LINE.format(minutes=0, seconds=0, ms=i * 10).replace('path="/a"', f'path="{path}"')
            .replace("bytes_in=0", f"bytes_in={size}")
            for i, (path, size) in enumerate((("/v2/models/x/infer", 5000), ("/embed", 7), ("/a b", 0))))
                       .replace("method=GET", "method=POST", 1).replace("method=GET", "method=PUT", 1))
        service = Keeps()
        self.addCleanup(service.close)
        self.classgate("load", "--log", str(log), "--to", f"http://{service.address}")
        self.assertEqual(service.asked, [("POST", "/v2/models/x/infer", 5000), ("PUT", "/embed", 7),
                                         ("GET", "/a%20b", 0)])

    def test_a_class_with_a_body_is_no_get(self):
        service = Keeps()
        self.addCleanup(service.close)
        workload = self.file("w.toml", ONE.replace('name = "one"', 'name = "one"\npath = "/v2/infer"\nbody = "2KiB"'))
        self.classgate("load", "--workload", workload, "--to", f"http://{service.address}")
        self.assertEqual(set(service.asked), {("POST", "/v2/infer", 2048)})

    def test_errors_of_the_service_are_shown_and_not_served(self):
        workload = self.file("w.toml", ONE.replace('name = "one"', 'name = "one"\npath = "/nothing/here"'))
        service = self.service()
        words = ("load", "--workload", workload, "--to", f"http://{service.address}")
        self.assertRegex(self.classgate(*words).stdout, r"answers: 2xx 0, 3xx 0, 4xx [1-9]\d*, 5xx 0\n")
        found = self.json(*words)
        self.assertEqual(found["all"]["served"], 0)
        self.assertEqual(found["answers"]["4xx"], found["all"]["arrived"])

    def test_descriptors_are_raised_to_the_connections_or_it_stops(self):
        service = self.service()
        words = (CLASSGATE, "load", "--workload", self.file("w.toml", ONE), "--to", f"http://{service.address}",
                 "--connections", "500")
        def under(soft, hard):
            return subprocess.run(words, capture_output=True, text=True, timeout=100, env=clean_environment(),
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
        self.assertEqual(under(32, 1000).returncode, 0)
        done = under(32, 200)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("500 connections need 564 descriptors, and there are 200 at most (ulimit -Hn): raise that, or "
                      "give --connections 136 or fewer", done.stderr)

    def test_an_interrupt_ends_the_traffic_and_not_the_report(self):
        service = self.service()
        load = self.start(Program([CLASSGATE, "load", "--workload",
                                   self.file("w.toml", STALL.replace("6s", "60s")), "--to",
                                   f"http://{service.address}"]))
        wait_until(lambda: service.stats()["finished"] > 5, "some of it is made")
        load.signal(2)
        self.assertEqual(load.wait(), 130)
        self.assertTrue(load.out().startswith("cut by an interrupt: this is what was measured until then"))
        self.assertRegex(load.out(), r"answers: 2xx [1-9]")

    def test_only_this_machine_is_loaded_unless_told_otherwise(self):
        told = self.classgate("load", "--to", "192.0.2.1:80", "--find-knee", status=1).stderr
        self.assertIn("is not this machine", told)

    # A path that answered 404 was said to do 3,724 a second, with a conf for it and exit status 0.
    def test_errors_are_no_throughput_and_make_no_conf(self):
        for answer, why, shown in (
                (404, r"all [\d,]+ answers were 404: it does not know this path", r"4xx [1-9]"),
                (401, r"all [\d,]+ answers were 401: it asks who is asking", r"4xx [1-9]"),
                (422, r"all [\d,]+ answers were 422: it does not take this request", r"4xx [1-9]"),
                (429, r"all [\d,]+ answers were 429: it, or what is in front of it, limits", r"4xx [1-9]"),
                (503, r"all [\d,]+ answers were 503: it, or what is in front of it, is not ready", r"5xx [1-9]"),
                (302, r"all [\d,]+ answers were 302: it sends elsewhere", r"3xx [1-9]"),
                (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", r"nothing answered: [\d,]+ answers that are no HTTP", "no HTTP: [1-9]"),
                (b"", r"nothing answered: [\d,]+ connections closed unanswered", r"connection closed: [1-9]")):
            with self.subTest(answer), Says(answer) as service:
                done = self.classgate("load", "--find-knee", "--to", f"http://{service.address}", "--time", "6s",
                                      status=1)
                self.assertRegex(done.stderr, why)
                self.assertRegex(done.stdout, shown)
                self.assertNotIn("workers", done.stdout)

    def test_nobody_listening_has_no_knee(self):
        done = self.classgate("load", "--find-knee", "--to", f"http://127.0.0.1:{free_port()}", "--json", status=1)
        self.assertRegex(done.stderr, r"nothing answered: [\d,]+ connections refused")
        knee = json.loads(done.stdout)
        self.assertFalse(knee["known"])
        self.assertNotIn("capacity", knee)

    # With few answers in each step it went on to 1,024 at once, and proposed workers = 1023, rate = 9.
    def test_a_slow_service_is_not_asked_with_more_and_more(self):
        service = self.service("--concurrency", "8", "--service-time", "200ms")
        done = subprocess.run([CLASSGATE, "load", "--find-knee", "--to", f"http://{service.address}", "--time", "6s",
                               "--json"], capture_output=True, text=True, timeout=100, env=clean_environment())
        knee = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if knee["known"] else 1, done.stderr)
        self.assertLessEqual(max(step["at_once"] for step in knee["steps"]), 32)
        if knee["known"]:
            self.assertAlmostEqual(knee["capacity"], 8, delta=1)
        self.assertEqual(service.stats()["finished_for_nobody"], 0)

    def test_an_interrupted_search_tells_what_it_knows_and_no_conf(self):
        service = self.service("--concurrency", "2", "--service-time", "50ms")
        search = self.start(Program([CLASSGATE, "load", "--find-knee", "--to", f"http://{service.address}"]))
        wait_until(lambda: service.stats()["finished"] > 60, "a step or more is done")
        search.signal(2)
        self.assertEqual(search.wait(), 130)
        self.assertRegex(search.out(), r"(?m)^ +1 +\d+\.\d +\d[\d.]*  2xx [1-9]")
        self.assertIn("it was ended before it could tell", search.err())
        self.assertNotIn("workers", search.out())

    def test_the_knee_of_a_service_is_found_with_a_conf_for_it(self):
        service = self.service("--concurrency", "6", "--service-time", "30ms")
        text = self.classgate("load", "--find-knee", "--to", f"http://{service.address}", "--time",
                              "6s").stdout
        self.classgate("--check", "--conf", self.file("knee.conf", text[text.index("# A conf"):]))


class FailedSweep(FolderTest):
    def test_runs_that_fail_end_the_sweep(self):
        log = self.folder / "access.log"
        log.write_text("".join(f'127.0.0.1 - - [01/Nov/2026:10:00:{second:02} +0000] "GET /x HTTP/1.1" 200 12\n'
                               for second in range(60)))
        for _ in range(6):
            done = subprocess.run([CLASSGATE, "--conf", "/dev/null", "simulate", "--log", log, "--sweep",
                                   "admission.workers=1..9:4"], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
