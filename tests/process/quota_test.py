#!/usr/bin/env python3
"""Quotas: over restarts, upgrades and kill -9; what a client, an operator and a disk that fails see of them.
(Long, because the count of a quota must survive each way in which a process ends.)"""
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import tempfile
import unittest

from kit import (CLASSGATE, TEXT, ProcessTest, balance, clean_environment, get_json, raw_request, read_answer, scrape,
                 wait_until)

CONF = """
[clients]
secret = "{folder}/secret"
quota_file = "{folder}/quotas.db"
{clients}

[fairness]
identity = ["header:X-Api-Key", "address"]

[admission]
rate = 0

[[plan]]
name = "free"
clients = ["header:X-Api-Key:{key}"]
{plan}
"""
KEY = "a-key-of-a-customer-0123456789"


class QuotaTest(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.upstream = self.service()

    def conf(self, plan, clients=""):
        return CONF.format(folder=self.folder, key=KEY, plan=plan, clients=clients)

    def start_gateway(self, plan, clients="", **settings):
        return self.gateway(settings.pop("upstream", self.upstream.address), conf=self.conf(plan, clients), **settings)

    def ask(self, gateway, key=KEY, **words):
        return gateway.request(headers={"X-Api-Key": key}, **words)

    def statuses(self, gateway, count, **words):
        return [self.ask(gateway, **words).status for _ in range(count)]

    def stop(self, gateway, number=signal.SIGTERM):
        gateway.signal(number)
        return gateway.wait()

    def checked(self, conf):
        """What --check says of a conf that is good."""
        done = subprocess.run([CLASSGATE, "--check", "--conf", conf], capture_output=True, text=True, timeout=60,
                              env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def in_file(self, path=None):
        """What the file says that clients have had of this day."""
        with contextlib.closing(sqlite3.connect(path or self.folder / "quotas.db")) as file:
            return file.execute("SELECT coalesce(sum(requests), 0) FROM usage WHERE kind = 0").fetchone()[0]


class WhatAClientSees(QuotaTest):
    def test_beyond_its_quota_it_hears_when_it_is_renewed(self):
        gateway = self.start_gateway("quota_day = 3", clients='time_zone = "Europe/Berlin"')
        self.assertEqual(self.statuses(gateway, 3), [200, 200, 200])
        refused = self.ask(gateway)
        self.assertEqual((refused.status, refused.reason), (429, "quota"))
        body = refused.json()
        self.assertEqual((body["quota"], body["left"], body["violated-policies"]), (3, 0, ["quota"]))
        renews = datetime.datetime.fromisoformat(body["renews_at"].replace("Z", "+00:00"))
        left = (renews - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
        self.assertAlmostEqual(int(refused.retry_after), left, delta=30)
        self.assertLessEqual(left, 25 * 3600)
        self.assertIn(renews.hour, (22, 23))  # of UTC, when a day begins in Berlin
        self.assertIn("it is renewed at " + body["renews_at"], body["detail"])
        self.assertEqual(refused.headers["X-Should-Retry"], "false")
        self.assertRegex(refused.headers["RateLimit-Policy"], r'^"quota";q=3;w=(82800|86400|90000)$')
        self.assertRegex(refused.headers["RateLimit"], r'^"quota";r=0;t=\d+$')
        self.assertEqual(self.ask(gateway, key="somebody-else").status, 200)
        self.assertEqual(balance(gateway.health()), 0)

    def test_a_soft_quota_warns_and_refuses_nobody(self):
        gateway = self.start_gateway("quota_month = 5\nquota_month_soft = 3")
        answers = [self.ask(gateway) for _ in range(6)]
        self.assertEqual([a.status for a in answers], [200] * 5 + [429])
        self.assertEqual([a.headers["RateLimit"] is not None for a in answers], [False, False] + [True] * 4)
        self.assertRegex(answers[3].headers["RateLimit"], r'^"quota";r=1;t=\d+$')
        self.assertRegex(answers[3].headers["RateLimit-Policy"], r'^"quota";q=5;w=\d+$')

    def test_a_quota_that_is_only_soft_is_announced_as_no_limit(self):
        gateway = self.start_gateway("quota_month_soft = 3")
        answers = [self.ask(gateway) for _ in range(5)]
        self.assertEqual([a.status for a in answers], [200] * 5)
        self.assertEqual([(a.headers["RateLimit"], a.headers["RateLimit-Policy"]) for a in answers], [(None, None)] * 5)
        warnings = [a.headers["X-Classgate-Soft-Quota"] for a in answers]
        self.assertEqual(warnings[:2], [None, None])
        for used, warning in enumerate(warnings[2:], 3):
            self.assertRegex(warning, rf"^month;soft=3;used={used};t=\d+$")
        # Beside a limit it is that limit's warning, as ever.
        gateway.do("set", "plan.free.quota_month", "9")
        answer = self.ask(gateway)
        self.assertEqual(answer.headers["X-Classgate-Soft-Quota"], None)
        self.assertRegex(answer.headers["RateLimit"], r'^"quota";r=3;t=\d+$')

    def test_what_the_gateway_refuses_or_the_service_never_had_costs_nothing_of_it(self):
        gateway = self.start_gateway("quota_day = 4\nrate = 0.001\nburst = 2")
        self.assertEqual(self.statuses(gateway, 5), [200, 200, 429, 429, 429])
        self.assertEqual(gateway.health()["quotas"]["plans"]["free"]["day"]["used"], 2)
        nowhere = self.start_gateway("quota_day = 4", upstream="127.0.0.1:9", upstream_hold="0s",
                                     clients_quota_file=self.folder / "other.db")
        self.assertTrue(set(self.statuses(nowhere, 6)) <= {502, 503})
        self.assertEqual(nowhere.health()["quotas"]["plans"]["free"]["day"]["used"], 0)

    def test_routes_without_limits_count_in_no_quota_and_are_never_refused_for_one(self):
        gateway = self.start_gateway("quota_day = 2\nquota_month = 9")

        def probe():
            return self.ask(gateway, method="GET", path="/health", body=None).status
        self.assertEqual([probe() for _ in range(5)], [200] * 5)
        self.assertEqual(gateway.health()["quotas"]["plans"]["free"]["day"]["used"], 0)
        self.assertEqual(self.statuses(gateway, 3), [200, 200, 429])
        self.assertEqual(probe(), 200)
        words = ("explain", "GET", "/health", "-H", "X-Api-Key: " + KEY, "--json")
        said = json.loads(gateway.command(*words)[1])
        self.assertEqual((said["quotas"], said["verdict"]["answer"]), ([], "admitted"))

    def test_cost_counts_where_the_plan_says_so(self):
        conf = self.conf('quota_day = 10\nquota_unit = "cost"') + """
[[route]]
path = "/v1/classify"
priority = 3
cost = "items:texts"
"""
        gateway = self.gateway(self.upstream.address, conf=conf)
        body = json.dumps({"text": "a", "texts": ["x"] * 6})
        self.assertNotEqual(self.ask(gateway, body=body).reason, "quota")
        self.assertEqual(self.ask(gateway, body=body).reason, "quota")  # 6 of 4
        self.assertNotEqual(self.ask(gateway, body=json.dumps({"text": "a", "texts": ["x"] * 4})).reason, "quota")
        self.assertEqual(gateway.health()["quotas"]["plans"]["free"]["day"]["used"], 10)

    def test_what_costs_more_than_a_whole_quota_is_told_that_it_never_fits(self):
        conf = self.conf('quota_day = 5\nquota_unit = "cost"') + """
[[route]]
path = "/v1/classify"
priority = 3
cost = "header:X-Cost"
"""
        gateway = self.gateway(self.upstream.address, conf=conf)
        headers = {"X-Api-Key": KEY, "X-Cost": "6"}
        refused = gateway.request(headers=headers)
        self.assertEqual((refused.status, refused.reason), (429, "quota"))
        body = refused.json()
        self.assertEqual((body["quota"], body["left"]), (5, 5))
        self.assertEqual(body["detail"], "The request costs more than this client's whole quota of a day: 6 of 5")
        self.assertEqual(body["title"], "The request does not fit into the quota of this client")
        self.assertEqual(body["cost"], 6)
        for field in ("Retry-After", "Retry-After-Ms", "RateLimit"):
            self.assertIsNone(refused.headers[field], field)
        self.assertEqual({"renews_at", "retry_after_ms"} & body.keys(), set())
        self.assertEqual(refused.headers["X-Should-Retry"], "false")
        words = ("explain", "POST", "/v1/classify", "-H", "X-Api-Key: " + KEY, "-H", "X-Cost: 6")
        verdict = json.loads(gateway.command(*words, "--json")[1])["verdict"]
        self.assertEqual((verdict["status"], verdict["reason"], verdict["retry_after"]), (429, "quota", None))
        code, page, _ = gateway.command(*words)
        self.assertEqual(code, 1)
        self.assertIn("refused with 429 quota, no Retry-After (it costs more than the whole quota of a day: 6 of 5)", page)
        page = gateway.command("why", refused.headers["X-Request-Id"])[1]
        self.assertIn("5 of 5 left", page)
        self.assertNotIn("to come back", page)
        # What fits tomorrow is told when that is.
        self.assertEqual(gateway.request(headers={**headers, "X-Cost": "3"}).status, 200)
        later = gateway.request(headers={**headers, "X-Cost": "4"})
        self.assertEqual((later.status, later.json()["left"], later.retry_after is None), (429, 2, False))


class WhatAnOperatorSees(QuotaTest):
    def test_health_metrics_explain_and_log_tell_one_story(self):
        log = self.folder / "access.log"
        gateway = self.start_gateway("quota_day = 2\nquota_month = 100", log_access=log)
        self.statuses(gateway, 3)
        health = gateway.health()
        self.assertEqual(health["rejected_by_reason"], {"quota": 1})
        self.assertEqual(health["quotas"]["plans"]["free"]["day"],
                         {"limit": 2, "soft": 0, "clients": 1, "used_up": 1, "used": 2})
        self.assertEqual(health["quotas"]["plans"]["free"]["month"]["used_up"], 0)
        self.assertNotIn("quotas", get_json(gateway.port, "/queue/health"))
        text = scrape(gateway)[1]
        self.assertIn('classgate_quota_used{plan="free",period="day"} 2\n', text)
        self.assertIn('classgate_quota_limit{plan="free",period="month"} 100\n', text)
        self.assertIn('classgate_quota_clients_used_up{plan="free",period="day"} 1\n', text)
        self.assertIn('classgate_plan_rejections_total{plan="free",reason="quota"} 1\n', text)
        code, out, err = gateway.command("explain", "POST", "/v1/classify", "-H", "X-Api-Key: " + KEY, "--json")
        self.assertEqual((code, err), (1, ""))  # it would be refused
        said = json.loads(out)
        self.assertEqual((said["verdict"]["reason"], said["verdict"]["status"]), ("quota", 429))
        self.assertEqual([(q["of"], q["limit"], q["used"]) for q in said["quotas"]], [("day", 2, 2), ("month", 100, 2)])
        page = gateway.command("explain", "POST", "/v1/classify", "-H", "X-Api-Key: " + KEY)[1]
        self.assertRegex(page, r"quota +day: 2 of 2 requests used")
        line = wait_until(lambda: re.search(r"id=(\S+) .*reason=quota ", log.read_text()), "a line")
        why = gateway.command("why", line.group(1))[1]
        self.assertRegex(why, r"quota +0 of 2 left, renewed at ")
        self.assertNotIn(KEY, (self.folder / "quotas.db").read_bytes().decode("latin1"))

    def test_a_quota_is_set_at_run_time(self):
        gateway = self.start_gateway("quota_day = 2")
        self.assertEqual(self.statuses(gateway, 3), [200, 200, 429])
        code, out, err = gateway.command("set", "plan.free.quota_day", "4")
        self.assertEqual(code, 0, err)
        self.assertEqual(self.statuses(gateway, 3), [200, 200, 429])
        code, out, err = gateway.command("set", "plan.free.quota_day_soft", "5")
        self.assertNotEqual(code, 0)
        self.assertIn("more than quota_day", out + err)

    def test_a_reload_brings_quotas_and_takes_them_away(self):
        gateway = self.start_gateway("")
        self.assertEqual(self.statuses(gateway, 2), [200, 200])
        self.assertFalse((self.folder / "quotas.db").exists())
        for plan, statuses in (("quota_day = 1", [200, 429]), ("", [200, 200]), ("quota_day = 2", [200, 429])):
            pathlib.Path(gateway.conf.name).write_text(self.conf(plan))
            code, out, err = gateway.command("reload")
            self.assertEqual(code, 0, out + err)
            self.assertEqual(self.statuses(gateway, 2), statuses)

    def test_another_time_zone_and_back_gives_nobody_a_quota_anew(self):
        def zone(name):
            return f'time_zone = "{name}"'
        gateway = self.start_gateway("quota_day = 3", clients=zone("Etc/GMT-14"))
        self.assertEqual(self.statuses(gateway, 4), [200] * 3 + [429])
        for name in ("Etc/GMT+12", "Etc/GMT-14", "Etc/GMT+12"):  # their dates are never the same
            pathlib.Path(gateway.conf.name).write_text(self.conf("quota_day = 3", zone(name)))
            before = self.ask(gateway).json()["renews_at"]
            code, out, err = gateway.command("reload")
            self.assertEqual(code, 0, out + err)
            self.assertEqual(self.statuses(gateway, 3), [429] * 3)
            wait_until(lambda: self.ask(gateway).json()["renews_at"] != before, "the day of the other time zone")
            self.assertEqual(self.statuses(gateway, 3), [429] * 3)

    def test_mistakes_have_their_place_and_what_to_write(self):
        conf = self.folder / "bad.conf"

        def check(plan, clients, *words):
            conf.write_text(self.conf(plan, clients))
            done = subprocess.run([CLASSGATE, "--check", "--conf", conf], capture_output=True, text=True, timeout=60,
                                  env=clean_environment())
            self.assertEqual(done.returncode, 1, done.stderr)
            for word in words:
                self.assertIn(word, done.stderr)
        check("quota_day = -1", "", f"{conf}:", "quota_day: -1 is out of range")
        check("quota_day = 1\nquota_day_soft = 2", "", f"{conf}:", "nobody would be warned")
        check('quota_unit = "tokens"', "", '"tokens" is none of "requests", "cost"')
        check("quota_day = 1", 'time_zone = "Europe/Berlim"', f"{conf}:5:", "no time zone of this system")
        check("quota_dya = 1", "", "did you mean quota_day?")
        (self.folder / "quotas.db").write_text("not a database at all, but long enough to be looked at " * 20)
        check("quota_day = 1", "", "clients.quota_file", "move it away")
        done = subprocess.run([CLASSGATE, "--conf", conf], capture_output=True, text=True, timeout=60,
                              env=clean_environment())
        self.assertEqual(done.returncode, 1 if "dya" in conf.read_text() else 78, done.stderr)

    def test_a_quota_that_can_never_be_had_is_warned_of_by_a_check_a_reload_and_a_set(self):
        gateway = self.start_gateway("quota_day = 5\nquota_month = 10")
        conf = pathlib.Path(gateway.conf.name)
        warning = 'plan "free": quota_day: 20 is more than quota_month, 10, which ends first'
        self.assertIn(warning, gateway.do("set", "plan.free.quota_day", "20"))
        self.assertNotIn(warning, gateway.do("set", "plan.free.priority", "2"))  # it has been told
        conf.write_text(self.conf("quota_day = 20\nquota_month = 10"))
        gateway.do("set", "plan.free.quota_day", "5")
        self.assertIn(warning, gateway.do("reload"))
        done = subprocess.run([CLASSGATE, "--check", "--conf", conf], capture_output=True, text=True, timeout=60,
                              env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, rf"classgate: warning: {conf}:\d+:1: " + warning)

    def test_a_file_without_its_table_refuses_a_check_and_a_start_and_one_that_others_write_is_warned_of(self):
        gateway = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(gateway, 1), [200])
        self.stop(gateway)
        conf = self.folder / "quota.conf"
        conf.write_text(self.conf("quota_day = 10"))
        (self.folder / "quotas.db").chmod(0o666)

        def run(*words):
            return subprocess.run([CLASSGATE, *words, "--conf", conf], capture_output=True, text=True, timeout=60,
                                  env=clean_environment())
        done = run("--check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("quotas.db: others than its owner can write it: chmod 600", done.stderr)
        with contextlib.closing(sqlite3.connect(self.folder / "quotas.db")) as file:
            file.execute("DROP TABLE usage")
        for words, code in ((("--check",), 1), ((), 78)):
            done = run(*words)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertRegex(done.stderr, r"clients\.quota_file: \S+/quotas\.db: no such table: usage: .*move it away")

    def test_a_reload_tells_of_a_file_that_the_next_start_could_not_use(self):
        gateway = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(gateway, 1), [200])
        path = self.folder / "quotas.db"
        wait_until(lambda: self.in_file() == 1, "what was counted in the file")
        self.assertNotIn("quota_file", gateway.do("reload"))

        def is_told(words):
            code, out, err = gateway.command("reload")
            self.assertEqual(code, 0, err)  # what is open counts on, and the rest of the conf is good
            return re.search(rf"clients\.quota_file: {path}: .*{words}.*the next start would fail", out)

        def make_junk():
            with path.open("x") as file:
                file.write("no database, and long enough to be looked at" * 9)

        def is_logged(words):
            gateway.wait_for_text(rf"reload: \S+:4:1: clients\.quota_file: {path}: .*{words}", gateway.err)
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE kept AS SELECT * FROM usage")
            file.execute("DROP TABLE usage")
            file.commit()
        self.assertTrue(is_told("no such table: usage.*move it away"))
        is_logged("no such table: usage.*move it away")
        for make, words in ((path.mkdir, "is no regular file: name another place"),
                            (lambda: os.mkfifo(path), "is no regular file: name another place"),
                            (make_junk, "is not a database: .*move it away")):
            def is_made_and_told(make=make, words=words):
                # Meanwhile the gateway may make the file again, and a log (-wal) that mends what we have put there.
                if path.exists():
                    path.rmdir() if path.is_dir() else path.unlink()
                (self.folder / "quotas.db-wal").unlink(missing_ok=True)
                with contextlib.suppress(FileExistsError):
                    make()
                return is_told(words)
            wait_until(is_made_and_told, f"a reload that tells: {words}")
            is_logged(words)

    def test_counts_of_a_time_that_is_still_to_come_are_warned_of(self):
        gateway = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(gateway, 1), [200])
        self.stop(gateway)
        conf = self.folder / "quota.conf"
        conf.write_text(self.conf("quota_day = 10"))
        self.assertNotIn("to come", self.checked(conf))
        with contextlib.closing(sqlite3.connect(self.folder / "quotas.db")) as file:
            file.execute("UPDATE usage SET period = period + 100")
            file.commit()
        self.assertRegex(self.checked(conf), r"warning: \S+:4:1: clients\.quota_file: \S+: holds counts .* still to come.*DELETE")
        again = self.start_gateway("quota_day = 10")
        again.wait_for_text("holds counts of days or months that are still to come", again.err)

    def test_a_name_that_anybody_can_give_is_warned_of(self):
        conf = self.folder / "quota.conf"

        def warnings(clients, plan, unknown="own"):
            conf.write_text(self.conf(plan, f'unknown = "{unknown}"').replace(
                f"header:X-Api-Key:{KEY}", clients).replace('"header:X-Api-Key"', '"header:X-Api-Key", "basic"'))
            return [line for line in self.checked(conf).splitlines() if "does not verify passwords" in line]
        [line] = warnings("basic:alice", "quota_day = 10")
        self.assertIn('plan "free"', line)
        self.assertTrue(line.endswith("whoever gives this name is this client, and uses its quota up"), line)
        [line] = warnings("basic:alice", "rate = 1", "refuse")
        self.assertTrue(line.endswith(", and is not refused"), line)
        self.assertEqual(warnings("header:X-Api-Key:" + KEY, "quota_day = 10"), [])


STRANGERS = """
[client]
trusted_proxies = ["127.0.0.1"]
requests_per_connection = 0
[clients]
secret = "{folder}/secret"
quota_file = "{folder}/quotas.db"
clients_file = "{folder}/clients"
quota_clients_max = 100
[fairness]
identity = ["header:X-Api-Key", "address"]
clients_max = 100
rate = 0.01
burst = 2
[admission]
rate = 0
[[plan]]
name = "gold"
rate = 0.01
burst = 5
quota_month = 4
[[plan]]
name = "free"
rate = 0.01
burst = 2
quota_day = 20
clients = ["address:0.0.0.0/0", "address:::/0"]
"""


class StrangersInAPlansNetwork(QuotaTest):
    """The attack of many addresses: a plan for everybody's address, and more addresses than the tables have places."""

    def setUp(self):
        super().setUp()
        self.name_customers(3)

    def name_customers(self, count):
        lines = [f"c{i} plan=gold key=sha256:{hashlib.sha256(b'customer-%d' % i).hexdigest()}\n" for i in range(count)]
        (self.folder / "clients").write_text("".join(lines))

    def conf_with_strangers(self):
        return STRANGERS.format(folder=self.folder)

    def statuses_of(self, gateway, headers):
        said = []
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as connection:
            for field in headers:
                connection.sendall(raw_request(headers=field + "\r\n"))
                said.append(read_answer(connection).status)
        return said

    def test_they_take_no_rights_and_no_quota_of_clients_with_keys_however_late_those_come(self):
        gateway = self.gateway(self.upstream.address, conf=self.conf_with_strangers())
        self.statuses_of(gateway, [f"X-Forwarded-For: 203.0.{i // 250}.{i % 250}" for i in range(400)])
        for i in range(3):
            self.assertEqual(self.statuses_of(gateway, [f"X-Api-Key: customer-{i}"] * 5), [200] * 4 + [429])
        clients = gateway.health()["clients"]
        self.assertEqual((clients["network"], clients["network_places"], clients["known"]), (100, 100, 103))
        self.assertEqual(gateway.health()["quotas"]["plans"]["gold"]["month"]["used_up"], 3)
        shared = int(re.search(r"^classgate_quota_not_remembered_total (\d+)$", scrape(gateway)[1], re.M).group(1))
        self.assertEqual(shared, 400 - 97)
        gateway.wait_for_text("clients.quota_clients_max: no place is left for more hosts", gateway.err)
        # Nor after a restart, which reads all of them back.
        self.stop(gateway)
        again = self.gateway(self.upstream.address, conf=self.conf_with_strangers())
        for i in range(3):
            self.assertEqual(self.statuses_of(again, [f"X-Api-Key: customer-{i}"]), [429])

    def test_fewer_places_than_clients_that_are_named_are_a_mistake_with_its_place(self):
        self.name_customers(101)
        conf = self.folder / "conf"
        conf.write_text(self.conf_with_strangers().replace("clients_max = 100\nrate", "clients_max = 200\nrate"))
        done = subprocess.run([CLASSGATE, "--check", "--conf", conf], capture_output=True, text=True, timeout=60,
                              env=clean_environment())
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"conf:9:1: clients\.quota_clients_max: 100 are fewer than the clients .*, 101")


class WhatLasts(QuotaTest):
    def test_a_secret_that_has_gone_is_told_wherever_somebody_looks(self):
        gateway = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(gateway, 3), [200] * 3)
        secret = self.folder / "secret"
        kept = secret.read_text()
        secret.unlink()
        gateway.do("reload")
        gateway.wait_for_text("is not there: the next start makes another one", gateway.err)
        self.stop(gateway)

        def checked():
            conf = self.folder / "quota.conf"
            conf.write_text(self.conf("quota_day = 10"))
            return self.checked(conf)
        self.assertRegex(checked(), r"warning: \S+:3:1: clients\.secret: \S+: is not there, and \S+quotas\.db was counted with another")
        secret.write_text(kept)
        secret.chmod(0o600)
        self.assertNotIn("warning", checked())
        self.assertEqual(self.statuses(self.start_gateway("quota_day = 10"), 8), [200] * 7 + [429])
        secret.unlink()
        last = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(last, 1), [200])
        self.stop(last)
        said = last.err()
        self.assertRegex(said, r"clients\.quota_file: \S+: was counted with another clients\.secret")
        self.assertIn("was not there, and is made: ids of clients begin with it", said)

    def test_it_survives_a_restart_and_a_kill_but_for_the_last_second(self):
        first = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(first, 4), [200] * 4)
        self.stop(first)
        self.assertEqual(self.in_file(), 4)
        second = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(second, 3), [200] * 3)
        wait_until(lambda: self.in_file() == 7, "what was counted in the file")
        self.stop(second, signal.SIGKILL)
        third = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(third, 4), [200] * 3 + [429])

    def test_both_processes_of_an_upgrade_count_together(self):
        gateway = self.start_gateway("quota_day = 20", drain_timeout="20s", handover_grace="10s")
        kept = gateway.connect()
        kept.request("POST", "/v1/classify", TEXT, {"X-Api-Key": KEY})
        self.assertEqual(kept.getresponse().read() and 200, 200)
        successor = re.match(r"process (\d+) took over", gateway.command("upgrade")[1])
        self.addCleanup(os.kill, int(successor.group(1)), signal.SIGKILL)
        self.assertEqual(self.statuses(gateway, 5), [200] * 5)
        kept.request("POST", "/v1/classify", TEXT, {"X-Api-Key": KEY})
        self.assertEqual(kept.getresponse().status, 200)
        wait_until(lambda: gateway.process.poll() is not None, "the end of the former")
        gateway.wait_for_health(lambda h: h["quotas"]["plans"]["free"]["day"]["used"] == 7, "what both have counted")
        self.assertEqual(self.statuses(gateway, 14), [200] * 13 + [429])

    # Somebody's shell or backup had it locked: the old process gave up, and its clients had their quota again.
    def test_an_upgrade_while_the_file_is_locked_says_so_and_loses_nothing_once_it_is_free(self):
        gateway = self.start_gateway("quota_day = 20")
        self.assertEqual(self.statuses(gateway, 3), [200] * 3)
        wait_until(lambda: self.in_file() == 3, "what was counted in the file")
        with contextlib.closing(sqlite3.connect(self.folder / "quotas.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            self.assertEqual(self.statuses(gateway, 4), [200] * 4)
            gateway.wait_for_text("quotas.db.*tried again all the time", gateway.err)
            said = gateway.do("upgrade")
            self.addCleanup(os.kill, int(re.match(r"process (\d+) took over", said).group(1)), signal.SIGKILL)
            self.assertRegex(said, rf"clients.quota_file {self.folder}/quotas.db cannot be written now: what process "
                                   rf"{gateway.process.pid} has counted in the last \d+ s is not in it")
            gateway.wait_for_text("ends when what it has counted is written, or in 60 s", gateway.err)
            # Longer than all else may take at the end of a process (5 s): it says so every 10 s.
            gateway.wait_for_text(r"ends when what it has counted is written, or in [45]\d s", gateway.err)
            lock.execute("ROLLBACK")
        wait_until(lambda: self.in_file() == 7, "what the former had counted in the file")
        self.assertNotIn("is lost", gateway.err().split("ends when what it has counted")[-1])

    def test_a_file_that_is_deleted_is_made_again_with_its_counts_and_told(self):
        first = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(first, 4), [200] * 4)
        wait_until(lambda: self.in_file() == 4, "what was counted in the file")
        (self.folder / "quotas.db").unlink()
        first.wait_for_text("was deleted or replaced while in use: it has been made again", first.err)
        self.assertEqual(self.statuses(first, 3), [200] * 3)
        wait_until(lambda: self.in_file() == 7, "what was counted in the new file")
        self.assertEqual(first.err().count("made again"), 1)
        self.stop(first, signal.SIGKILL)
        second = self.start_gateway("quota_day = 10")
        self.assertEqual(self.statuses(second, 4), [200] * 3 + [429])

    def test_a_disk_that_fails_is_told_once_and_counted_past(self):
        if os.geteuid() != 0:
            self.skipTest("needs root: a file system of its own")
        small = self.folder / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", small])
        gateway = self.start_gateway("quota_day = 10", clients_quota_file=small / "quotas.db")
        self.assertEqual(self.statuses(gateway, 2), [200] * 2)
        wait_until(lambda: self.in_file(small / "quotas.db") == 2, "what was counted in the file")
        filler = small / "filler"
        with open(filler, "wb", buffering=0) as file, self.assertRaises(OSError):
            while True:
                file.write(b"x" * 512)
        self.assertEqual(self.statuses(gateway, 1), [200])
        gateway.wait_for_text(r"clients\.quota_file: \S+/quotas\.db: .*(full|disk).*in memory meanwhile", gateway.err)
        self.assertEqual(self.statuses(gateway, 8), [200] * 7 + [429])
        self.assertGreater(gateway.health()["quotas"]["write_errors"], 0)
        self.assertEqual(gateway.err().count("in memory meanwhile"), 1)
        filler.unlink()
        gateway.wait_for_text("written again, with all that was counted meanwhile", gateway.err)
        self.stop(gateway, signal.SIGKILL)
        again = self.start_gateway("quota_day = 10", clients_quota_file=small / "quotas.db")
        self.assertEqual(self.statuses(again, 1), [429])


if __name__ == "__main__":
    unittest.main()
