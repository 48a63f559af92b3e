#!/usr/bin/env python3
"""Every alert of packaging/monitoring fires once: a real Prometheus, real gateways that each have something wrong.

The rules are those of the package with shorter windows and shorter `for`, and no threshold changed: what takes minutes
there takes seconds here. The scrape job has a name of its own."""
import hashlib
import http.client
import json
import pathlib
import re
import resource
import sqlite3
import subprocess
import threading
import time
import unittest
import urllib.parse

import yaml

from authority import Authority
from kit import PAUSE, ROOT, FolderTest, Program, Script, ScriptedService, free_port, get_json, wait_until
from tls_kit import BOTH

RULES = ROOT / "packaging/monitoring/classgate.rules.yml"
JOB = "gates-of-the-model"
WINDOW = "10s"
DEMAND = "time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds\n"


def shortened(rules):
    """What the package says, in seconds."""
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(?:5m|10m|15m)\]", f"[{WINDOW}]", rule["expr"]).replace("offset 15m", f"offset {WINDOW}")
            if "for" in rule:
                rule["for"] = "1s"
    return rules


class Failing(Script):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.say(500)


class Breaking(Script):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.close_connection = True


class Alerts(FolderTest):
    def setUp(self):
        super().setUp()
        self.is_over = threading.Event()
        self.threads = []
        self.addCleanup(self.stop_asking)
        self.expected = {}  # alert -> the gateway that it is to tell of

    def stop_asking(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(30)

    def keep_asking(self, what, pause=0.1, threads=1):
        """`what` again and again, whatever comes of it."""
        def ask_on():
            while not self.is_over.is_set():
                try:
                    what()
                except (OSError, http.client.HTTPException):
                    pass
                PAUSE.wait(pause)
        for _ in range(threads):
            self.threads.append(threading.Thread(target=ask_on, daemon=True))
            self.threads[-1].start()

    def expect(self, gateway, *alerts):
        for alert in alerts:
            self.expected[alert] = f"127.0.0.1:{gateway.ops_port}"

    def scripted(self, handler):
        service = ScriptedService(handler)
        self.addCleanup(service.close)
        return service.address

    def hold_file(self, path):
        """Nobody else can write this database until the test is over."""
        wait_until(pathlib.Path(path).exists, path)

        def taken():
            database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                database.execute("BEGIN EXCLUSIVE")
                return database
            except sqlite3.OperationalError:
                database.close()
                return None
        database = wait_until(taken, f"{path} to be taken")
        self.addCleanup(database.close)

    # What goes wrong, each at a gateway of its own.

    def overloaded(self):
        gateway = self.gateway(self.service("--service-time", "150ms").address, admission_workers=1, admission_queue_size=2,
                               admission_rate=0)
        self.keep_asking(gateway.request, 0.05, threads=6)
        self.expect(gateway, "ClassgateWaitOverTarget", "ClassgateShedding", "ClassgateRefusals")

    def starving(self):
        gateway = self.gateway(self.service("--service-time", "50ms").address, admission_workers=1, admission_rate=0)
        self.keep_asking(gateway.request, 0, threads=4)
        self.keep_asking(lambda: gateway.request(path="/v1/classify/batch"), 0.1)
        self.expect(gateway, "ClassgatePriorityStarved")

    def without_a_service(self):
        gateway = self.gateway(f"127.0.0.1:{free_port()}")
        self.keep_asking(gateway.request)
        self.expect(gateway, "ClassgateUpstreamDown", "ClassgateNothingAdmitted")

    def with_a_bad_service(self):
        gateway = self.gateway(self.scripted(Failing))
        self.keep_asking(gateway.request)
        self.expect(gateway, "ClassgateUpstreamErrors")
        gateway = self.gateway(self.scripted(Breaking))
        self.keep_asking(gateway.request)
        self.expect(gateway, "ClassgateFailures")

    def with_strangers(self):
        clients = self.file("clients", f"known key=sha256:{hashlib.sha256(b'b').hexdigest()}\n")
        conf = (f'[clients]\nclients_file = "{clients}"\nunknown = "refuse"\n'
                '[fairness]\nidentity = ["header:X-Api-Key"]\nrate = 0.001\nburst = 1\n')
        gateway = self.gateway(self.service("--service-time", "2ms").address, conf=conf)

        def ask():
            self.assertEqual(gateway.request(headers={"X-Api-Key": "nobody's"}).reason, "unknown_client")
            gateway.request(headers={"X-Api-Key": "b"})
            connection = gateway.connect()
            connection.request("GET", "/", headers={"Bad Name": "x"})
            connection.getresponse().read()
            connection.close()
        self.keep_asking(ask)
        self.expect(gateway, "ClassgateUnknownClients", "ClassgateClientsOverTheirLimit", "ClassgateBadRequests")

    def with_quotas(self):
        file = self.folder / "quotas.db"
        conf = (f'[clients]\nsecret = "{self.folder}/secret"\nquota_file = "{file}"\n'
                '[fairness]\nidentity = ["header:X-Api-Key"]\n'
                '[[plan]]\nname = "free"\nquota_day = 2\nclients = ["header:X-Api-Key:a"]\n'
                '[[plan]]\nname = "gold"\nquota_day = 1000000\nclients = ["header:X-Api-Key:b"]\n')
        gateway = self.gateway(self.service("--service-time", "2ms").address, conf=conf)
        self.assertEqual([gateway.request(headers={"X-Api-Key": "a"}).status for _ in range(3)], [200, 200, 429])
        self.hold_file(file)
        self.keep_asking(lambda: (gateway.request(headers={"X-Api-Key": "a"}), gateway.request(headers={"X-Api-Key": "b"})))
        self.expect(gateway, "ClassgateQuotaUsedUp", "ClassgateQuotasNotKept")

    def without_its_ledger(self):
        gateway = self.gateway(self.service("--service-time", "2ms").address,
                               conf=f'[sharing]\nredis = ["redis://127.0.0.1:{free_port()}/0"]\n')
        self.expect(gateway, "ClassgateSharingAway")

    def whose_clients_leave(self):
        gateway = self.gateway(self.service("--service-time", "100s").address, admission_workers=2, admission_rate=0,
                               admission_request_timeout="10m")
        connections = [gateway.connect() for _ in range(2)]
        for connection in connections:
            connection.request("POST", "/v1/classify", body='{"text": "x"}')
        gateway.wait_for_health(lambda h: h["active_workers"] == 2, "both at work")
        for connection in connections:
            connection.close()
        self.expect(gateway, "ClassgateWorkersWithoutClient")

    def whose_target_will_be_missed(self):
        """Ten a second of 20 ms each: one worker is not enough to wait for 1 ms at most."""
        now = int(time.time()) // 60 * 60
        demand = self.file("demand", DEMAND + "".join(f"{now - ago * 60},600,0,0,600,0,0,60\n" for ago in range(300, 0, -1)))
        gateway = self.gateway(self.service("--service-time", "20ms").address, admission_workers=1, admission_rate=0,
                               forecast_file=demand, forecast_target="wait p99 <= 1ms")
        for _ in range(40):
            self.assertEqual(gateway.request().status, 200)
        self.expect(gateway, "ClassgateTargetMissExpected")

    def with_a_bad_disk_and_conf(self):
        """Which is ended in the end."""
        authority = Authority()
        self.addCleanup(authority.folder.cleanup)
        certificate, key = authority.issue("localhost", names=("DNS:localhost",))  # for two days
        gateway = self.gateway(self.service("--service-time", "2ms").address, environment=BOTH, log_access="stdout",
                               log_access_lines_max=1, conf=f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n')
        self.keep_asking(gateway.request, 0.05)
        self.hold_file(pathlib.Path(gateway.state.name) / "history.db")
        pathlib.Path(gateway.conf.name).write_text("[admission]\nworkers = -1\n")
        self.assertEqual(gateway.command("reload")[0], 1)
        is_open = len(list(pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir()))
        hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (int(is_open / 0.85), hard))
        self.expect(gateway, "ClassgateCertificateEnds", "ClassgateHistoryNotKept", "ClassgateReloadFailed",
                    "ClassgateFileDescriptorsShort", "ClassgateLogLinesDropped")
        return gateway

    def open_prometheus(self):
        port = free_port()
        rules = self.file("rules.yml", yaml.safe_dump(shortened(yaml.safe_load(RULES.read_text()))))
        conf = self.file("prometheus.yml", yaml.safe_dump(
            {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}, "rule_files": [rules],
             "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": sorted(set(self.expected.values()))}]}]}))
        checked = subprocess.run(["promtool", "check", "config", conf], capture_output=True, text=True, timeout=60)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        prometheus = self.start(Program(["prometheus", f"--config.file={conf}", f"--storage.tsdb.path={self.folder}/data",
                                         f"--web.listen-address=127.0.0.1:{port}"]))

        def is_ready():
            self.assertIsNone(prometheus.process.poll(), prometheus.err())
            try:
                return self.ask(port, "query?" + urllib.parse.urlencode({"query": "up"}))["result"]
            except (OSError, ValueError, KeyError):
                return None
        wait_until(is_ready, "Prometheus", 60)
        return port

    def every_expression_of_the_dashboard_tells_something(self, port):
        dashboard = json.loads((RULES.parent / "grafana-dashboard.json").read_text())
        told = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
        self.assertGreater(len(told), 50)
        events = {one["name"]: one["expr"] for one in dashboard["annotations"]["list"]}  # of which there may be none
        silent = []
        for title, expression in told + list(events.items()):
            expression = expression.replace("$instance", ".+").replace("$__rate_interval", WINDOW)
            answer = get_json(port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}), any_status=True)
            self.assertEqual(answer["status"], "success", f"{title}: {expression}: {answer}")
            if not answer["data"]["result"] and title not in events:
                silent.append(f"{title}: {expression}")
        self.assertEqual(silent, [])

    @staticmethod
    def ask(port, what):
        return get_json(port, "/api/v1/" + what, any_status=True)["data"]

    def test_each_fires_for_the_gateway_that_has_it(self):
        self.overloaded()
        self.starving()
        self.without_a_service()
        self.with_a_bad_service()
        self.with_strangers()
        self.with_quotas()
        self.whose_clients_leave()
        self.without_its_ledger()
        self.whose_target_will_be_missed()
        dying = self.with_a_bad_disk_and_conf()
        port = self.open_prometheus()
        fired = {}

        def all_fire():
            for alert in self.ask(port, "alerts")["alerts"]:
                if alert["state"] == "firing":
                    fired.setdefault(alert["labels"]["alertname"], {})[alert["labels"]["instance"]] = alert
            return all(instance in fired.get(alert, {}) for alert, instance in self.expected.items())
        try:
            wait_until(all_fire, "every alert", 150)
        except AssertionError:
            missing = [alert for alert, instance in self.expected.items() if instance not in fired.get(alert, {})]
            self.fail(f"these did not fire: {missing}; these did: {sorted(fired)}")
        self.every_expression_of_the_dashboard_tells_something(port)
        self.expect(dying, "ClassgateDown")
        dying.process.kill()
        dying.wait()
        wait_until(all_fire, "that one that has gone is missed", 60)
        # All there are, each of them told as the package says.
        alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
                  if "alert" in rule}
        self.assertEqual(set(self.expected), alerts)
        for name, instance in self.expected.items():
            alert = fired[name][instance]
            self.assertEqual(alert["labels"]["job"], JOB)
            self.assertIn(alert["labels"]["severity"], ("critical", "warning", "info"))
            self.assertTrue(alert["annotations"]["runbook_url"].endswith(f"/RUNBOOK.md#{name.lower()}"), alert)
            self.assertRegex(alert["annotations"]["summary"], r"^\S.*\S$")
        self.assertEqual(fired["ClassgatePriorityStarved"][self.expected["ClassgatePriorityStarved"]]["labels"]["priority"], "4")
        # A gateway has nothing wrong but what is wrong with it.
        self.assertEqual(set(fired["ClassgateDown"]), {self.expected["ClassgateDown"]})
        self.assertEqual(set(fired["ClassgateReloadFailed"]), {self.expected["ClassgateReloadFailed"]})


if __name__ == "__main__":
    unittest.main()
