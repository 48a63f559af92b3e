#!/usr/bin/env python3
"""What a running gateway counts of demand, keeps over a restart, forecasts and tells."""
import json
import pathlib
import subprocess
import time
import unittest

from changeable import Changeable
from kit import CLASSGATE, FolderTest, clean_environment, get_json, scrape, wait_until

HEADER = "time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds\n"
MINUTE = 60


def rows_of(path):
    lines = pathlib.Path(path).read_text().splitlines()
    assert lines[0] + "\n" == HEADER, lines[0]
    return [[float(column) for column in line.split(",")] for line in lines[1:]]


class LiveForecast(FolderTest):
    def setUp(self):
        super().setUp()
        self.demand = self.folder / "demand"

    def write_demand(self, minutes, a_minute=600.0, path=None):
        """As if so many minutes until now had been counted."""
        now = int(time.time()) // MINUTE * MINUTE
        rows = "".join(f"{now - ago * MINUTE},{a_minute:.7g},0,0,{a_minute:.7g},0,0,60\n" for ago in range(minutes, 0, -1))
        (path or self.demand).write_text(HEADER + rows)

    def open(self, upstream, **settings):
        settings = {"forecast_file": self.demand, **settings}
        gateway = self.gateway(upstream, **settings)
        gateway.wait_for_health(lambda h: h["status"] == "ok", "an upstream")
        return gateway

    @staticmethod
    def forecast(gateway):
        return get_json(gateway.ops_port, "/api/v1/forecast")

    def known(self, gateway, claim=lambda said: said["known"], seconds=20):
        return wait_until(lambda: (lambda said: said if claim(said) else None)(self.forecast(gateway)), "a forecast", seconds)

    def ends(self, gateway):
        gateway.signal(15)
        self.assertEqual(gateway.wait(), 0, gateway.err())
        return rows_of(self.demand)

    def test_what_is_refused_is_demand_and_what_is_tried_again_is_not(self):
        service = self.service("--service-time", "1ms")
        conf = '[[route]]\npath = "/v1/classify/batch"\npriority = 4\ncost = 5\n'
        gateway = self.open(service.address, conf=conf, admission_rate="0.001", admission_burst=9)
        statuses = [gateway.request().status for _ in range(20)]
        self.assertEqual(statuses.count(200), 9)
        gateway.request(path="/v1/classify/batch")
        for headers in ({"x-stainless-retry-count": "1"}, {"amz-sdk-request": "attempt=2; max=3"}):
            gateway.request(headers=headers)
        for _ in range(3):  # the same name again is a retry
            gateway.request(headers={"Idempotency-Key": "one"})
        self.assertEqual(gateway.request("GET", "/queue/health").status, 200)  # the gateway's own
        counted = [sum(column) for column in zip(*self.ends(gateway))][1:7]
        self.assertEqual(counted, [26, 0, 0, 21, 5, 0])

    def test_each_plan_has_its_own_demand_over_restarts_and_is_told_of_in_api_and_metrics(self):
        service = self.service("--service-time", "1ms")
        now = int(time.time()) // MINUTE * MINUTE
        self.demand.write_text(HEADER.replace("seconds\n", "seconds,plan_free,plan_gone\n") +
                               "".join(f"{now - ago * MINUTE},600,0,0,600,0,0,60,540,60\n" for ago in range(30, 0, -1)))
        conf = ('[fairness]\nidentity = ["header:X-Api-Key"]\n'
                '[[plan]]\nname = "free"\nrate = 0.001\nburst = 2\nclients = ["header:X-Api-Key:a"]\n'
                '[[plan]]\nname = "a, b"\nclients = ["header:X-Api-Key:b"]\n')
        gateway = self.open(service.address, conf=conf)
        said = self.known(gateway)
        self.assertEqual([(one["plan"], round(one["demand"], 3)) for one in said["now"]["by_plan"]], [("free", 9), ("gone", 1)])
        hour = next(one for one in said["forecast"] if one["horizon"] == "1h")
        self.assertAlmostEqual(hour["by_plan"][0]["p50"], 9, delta=0.5)
        _, text = scrape(gateway)
        self.assertIn('classgate_demand_by_plan{plan="free"} 9\n', text)
        self.assertRegex(text, r'classgate_demand_forecast_by_plan\{plan="free",horizon="1h",quantile="0\.5"\} [0-9.]+\n')
        # Refused ones count, retries do not.
        self.assertEqual([gateway.request(headers={"X-Api-Key": "a"}).status for _ in range(5)], [200] * 2 + [429] * 3)
        gateway.request(headers={"X-Api-Key": "b"})
        gateway.request(headers={"X-Api-Key": "b", "x-stainless-retry-count": "1"})
        gateway.request()
        gateway.signal(15)
        self.assertEqual(gateway.wait(), 0, gateway.err())
        lines = [line.split(",") for line in self.demand.read_text().splitlines()]
        sums = {name: sum(float(line[at]) for line in lines[1:]) for at, name in enumerate(lines[0])}
        new = {"free": 540 * 30 + 5, "gone": 60 * 30, "a%2C%20b": 1, "-": 1}
        self.assertEqual({name: value for name, value in sums.items() if name.startswith("plan_")},
                         {"plan_" + plan: asked for plan, asked in new.items()})
        done = subprocess.run([str(CLASSGATE), "forecast", "--series", self.demand, "--of", "plan_free", "--json"],
                              capture_output=True, text=True, env=clean_environment(), timeout=60, check=True)
        self.assertAlmostEqual(json.loads(done.stdout)["forecast"][0]["p50"], 540, delta=1)  # the part of a minute tells nothing

    def test_a_restart_goes_on_in_the_same_minute_and_an_upgrade_counts_nothing_twice(self):
        service = self.service("--service-time", "1ms")
        # Half a minute is left, so that no turn lies between as a rule.
        wait_until(lambda: time.time() % MINUTE < 30, "the first half of a minute", 60)
        begun = time.time() // MINUTE
        self.write_demand(8)
        gateway = self.start(Changeable(service.address, forecast_file=self.demand, admission_rate=0))
        taken = r"demand of 8 minutes is taken from \S+"
        gateway.wait_for_log(taken)
        self.known(gateway)
        self.assertEqual([gateway.request().status for _ in range(5)], [200] * 5)
        gateway.do("upgrade")
        gateway.wait_for_log("the process before has ended")
        self.assertEqual([gateway.request().status for _ in range(7)], [200] * 7)
        # What the old one has counted of this minute the new one takes some seconds later.
        gateway.wait_for_log(taken + ", and 5 of the minute that goes on")
        gateway.do("drain")
        wait_until(lambda: sum(row[1] for row in rows_of(self.demand)) != 8 * 600 + 5, "what the new one has written")
        if time.time() // MINUTE == begun:
            self.assertEqual(sum(row[1] for row in rows_of(self.demand)), 8 * 600 + 12)

    def test_a_file_that_is_broken_is_set_aside_and_said(self):
        service = self.service("--service-time", "1ms")
        self.demand.write_text(HEADER + "60,1,0,0,1,0,0,60\n60,1,0,0,1,0,0,60\n")
        gateway = self.open(service.address)
        gateway.wait_for_text(r"forecast\.file: .*: line 3: not later than the one before; demand begins anew, "
                              r"and the file is .*\.broken now", gateway.err)
        self.assertTrue(pathlib.Path(str(self.demand) + ".broken").exists())
        said = self.forecast(gateway)
        self.assertFalse(said["known"])
        self.assertIn("too little is known", said["why_not"])
        self.assertEqual((said["forecast"], said["servers"]["needed"], said["workers"]["needed"]), ([], None, None))
        self.assertEqual(len(self.ends(gateway)), 1)

    def test_a_place_that_cannot_be_written_keeps_nobody_from_serving(self):
        service = self.service("--service-time", "1ms")
        self.demand = self.folder / "nowhere" / "demand"
        gateway = self.open(service.address)
        self.assertEqual(gateway.request().status, 200)
        gateway.signal(15)
        self.assertEqual(gateway.wait(), 0)
        # 'keep = false': there is no forecast, and it says so.
        gateway = self.open(service.address, forecast_keep="false")
        self.assertEqual(self.forecast(gateway)["why_not"], "demand is not kept (forecast.keep)")

    def test_once_a_minute_it_tells_metrics_api_hook_and_log(self):
        """One minute for all of it: several gateways at once, that each have the last minutes in their file."""
        service = self.service("--service-time", "20ms", "--concurrency", "50")
        folder = self.folder
        hook = folder / "hook"
        told = folder / "told"
        hook.write_text(f'#!/bin/sh\n{{ env; cat; }} > {told}.new && mv {told}.new {told}\n')
        slow = folder / "slow"
        slow.write_text("#!/bin/sh\necho before it hangs >&2\nsleep 600 & wait\n")
        loud = folder / "loud"
        loud.write_text("#!/bin/sh\nexec yes it goes on >&2\n")
        bad = folder / "bad"
        bad.write_text("#!/bin/sh\necho no such platform >&2\nexit 7\n")
        for program in (hook, slow, loud, bad):
            program.chmod(0o755)
        gateways = {}
        for name, settings in (("good", {"forecast_hook": hook}),
                               ("slow", {"forecast_hook": slow, "forecast_hook_timeout": "200ms"}),
                               ("loud", {"forecast_hook": loud, "forecast_hook_timeout": "200ms"}),
                               ("bad", {"forecast_hook": bad}),
                               # Ten a second of 20 ms each: one worker is not enough to wait for 1 ms at most.
                               ("small", {"admission_workers": 1, "forecast_target": "wait p99 <= 1ms"})):
            path = folder / f"demand-{name}"
            self.write_demand(30, path=path)
            gateways[name] = self.open(service.address, admission_rate=0, forecast_file=path,
                                       forecast_workers_per_server=1, forecast_lead_time="30s", **settings)
        for gateway in gateways.values():
            # At once: what was known before the start.
            said = self.known(gateway)
            self.assertEqual(said["minutes_known"], 30)
            self.assertIsNone(said["servers"]["needed"])
            self.assertIn("too few requests", said["workers"]["why_not"])
            self.assertAlmostEqual(said["forecast"][0]["p50"], 10, delta=0.5)
            self.assertIsNone(said["forecast"][3]["p90"])  # of a day nobody has seen how wrong it is
            for _ in range(40):
                self.assertEqual(gateway.request().status, 200)
        good = gateways["good"]
        said = self.known(good, lambda said: said["servers"]["needed"] is not None, 90)
        self.assertGreaterEqual(said["workers"]["needed"], 1)
        self.assertEqual(said["workers"]["target"], "wait p95 <= 100ms for priority 3")
        self.assertEqual(said["servers"]["needed"], said["workers"]["needed"])
        _, text = scrape(good)
        self.assertIn(f'classgate_servers_needed {said["servers"]["needed"]}\n', text)
        self.assertRegex(text, r'classgate_demand_forecast\{horizon="5m",quantile="0\.9"\} [0-9.]+\n')
        self.assertRegex(text, r'classgate_demand_forecast_by_priority\{priority="3",horizon="1h",quantile="0\.5"\} [0-9.]+\n')
        self.assertRegex(text, r'classgate_workers_needed\{horizon="0"\} \d+\n')
        self.assertRegex(text, r'classgate_forecast_error_ratio\{horizon="5m"\} [0-9.]+\n')
        self.assertIn("classgate_target_miss_expected 0\n", text)
        # The hook: its environment, and the same JSON that the API tells.
        wait_until(told.exists, "the hook")
        environment, _, body = told.read_text().partition("{")
        self.assertIn(f'CLASSGATE_SERVERS_NEEDED={said["servers"]["needed"]}\n', environment)
        self.assertNotIn("CLASSGATE_LISTEN", environment)
        self.assertIn("PATH=", environment)
        self.assertEqual(json.loads("{" + body)["servers"], said["servers"])
        good.wait_for_text(r"forecast\.hook: .*/hook was told that \d+ servers? (is|are) needed", good.err)
        gateways["slow"].wait_for_text(r"slow did not end in 200 ms, and was killed: before it hangs; tried", gateways["slow"].err, 90)
        gateways["loud"].wait_for_text(r"loud did not end in 200 ms, and was killed: i[t goesn]*; tried", gateways["loud"].err, 90)
        gateways["bad"].wait_for_text(r"bad ended with status 7: no such platform; tried", gateways["bad"].err, 90)
        # What is missed is said before anybody waits: once, with its time.
        small = gateways["small"]
        small.wait_for_text(r'forecast: at this trend "wait p99 <= 1ms" is missed at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*, '
                            r"with 1 workers; \d+ are needed in an hour", small.err, 90)
        self.assertEqual(small.err().count("at this trend"), 1)
        self.assertIn("classgate_target_miss_expected 1\n", scrape(small)[1])
        self.assertIsNotNone(self.forecast(small)["target_missed_at"])
        # All of them serve as before, and no child is left behind.
        for name, gateway in gateways.items():
            self.assertEqual(gateway.request().status, 200)
            children = pathlib.Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
            self.assertEqual(children, "", name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
