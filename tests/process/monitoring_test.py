#!/usr/bin/env python3
"""packaging/monitoring/ against the real Prometheus and a live gateway."""
import http.client
import json
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import yaml

from authority import Authority
from kit import ROOT, ProcessTest, Program, free_port, get_json, scrape, wait_until
from tls_kit import BOTH

FOLDER = ROOT / "packaging/monitoring"
METRIC = re.compile(r"\b(?:classgate|process)_[a-z0-9_]+\b")


# What Grafana's own schema of a dashboard (dashboard.cue in its kind-registry) has in the structures that are used here, as
# far as they are closed: a name that it does not know is a mistake there. "!": must be there.
NUMBER = (int, float)
GRAFANA_FORM = {
    "dashboard": {"title": str, "uid": str, "schemaVersion!": int, "version": int, "editable": bool, "tags": list, "timezone": str,
                  "refresh": str, "time": dict, "templating": dict, "annotations": dict, "panels": list},
    "row": {"type!": str, "collapsed!": bool, "title": str, "id!": int, "panels!": list, "gridPos": dict},
    "panel": {"type!": str, "id": int, "title": str, "description": str, "datasource": dict, "gridPos": dict, "targets": list,
              "options": dict, "fieldConfig": dict},
    "gridPos": {"h!": int, "w!": int, "x!": int, "y!": int},
    "datasource": {"type": str, "uid": str},
    "fieldConfig": {"defaults!": dict, "overrides!": list},
    "defaults": {"unit": str, "min": NUMBER, "max": NUMBER, "thresholds": dict, "custom": dict},
    "thresholds": {"mode!": str, "steps!": list},
    "step": {"color!": str, "value!": (*NUMBER, type(None))},
    "variable": {"type!": str, "name!": str, "label": str, "query": (str, dict), "datasource": dict, "refresh": int,
                 "includeAll": bool, "multi": bool, "current": dict},
    "current": {"text!": (str, list), "value!": (str, list)},
}


def promtool(*words, stdin=None):
    done = subprocess.run(["promtool", *words], input=stdin, capture_output=True, text=True, cwd=FOLDER, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Files(unittest.TestCase):
    def test_promtool_accepts_rules_their_tests_and_the_example_conf(self):
        for words in (("check", "rules", "classgate.rules.yml"), ("test", "rules", "classgate.test.yml"),
                      ("check", "config", "prometheus.yml")):
            code, text = promtool(*words)
            self.assertEqual(code, 0, text)

    def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not_and_a_runbook_section(self):
        alerts = set(re.findall(r"- alert: (\w+)", (FOLDER / "classgate.rules.yml").read_text()))
        self.assertGreater(len(alerts), 5)
        tests = (FOLDER / "classgate.test.yml").read_text()
        sections = set(re.findall(r"^## (\w+)", (FOLDER / "RUNBOOK.md").read_text(), re.M))
        self.assertEqual(sections, alerts)
        for alert in alerts:
            self.assertIn(f"RUNBOOK.md#{alert.lower()}", (FOLDER / "classgate.rules.yml").read_text())
            for what in ("fires", "is silent"):
                self.assertIn(f"- name: {alert} {what}\n", tests)

    def test_every_reason_is_in_the_runbook_and_is_load_or_has_an_alert_of_its_own(self):
        header = (ROOT / "conf/reason.h").read_text()
        reasons = {word: kind for kind, word in re.findall(r'ReasonKind::(\w+), "(\w+)"', header)}
        self.assertGreater(len(reasons), 30)
        runbook = (FOLDER / "RUNBOOK.md").read_text()
        self.assertEqual({reason for reason in reasons if f"`{reason}`" not in runbook}, set())
        rules = {rule.get("alert", rule.get("record")): rule["expr"]
                 for group in yaml.safe_load((FOLDER / "classgate.rules.yml").read_text())["groups"] for rule in group["rules"]}
        named = {name: [word for words in re.findall(r'reason=~?"([^"]*)"', expression) for word in words.split("|")]
                 for name, expression in rules.items()}
        unservable = named.pop("classgate:unservable:rate5m")
        self.assertEqual(sorted(unservable), sorted({word for words in named.values() for word in words}))
        self.assertEqual({reason for reason, kind in reasons.items() if kind == "request"} - set(unservable), set())
        self.assertEqual(set(unservable) - set(reasons), set())

    def test_the_dashboard_is_well_formed(self):
        dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(taken & cells, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["targets"], panel["title"])
            self.assertRegex(panel["description"], r"^\S.{10,}\.$", panel["title"])
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"],
                          ("reqps", "s", "short", "percentunit", "bytes", "Bps", "bool"), panel["title"])
            for target in panel["targets"]:
                self.assertIn('instance=~"$instance"', target["expr"])
        self.assertEqual([one["name"] for one in dashboard["annotations"]["list"]], ["Reloads", "Starts and upgrades"])

    def has_form(self, what, kind):
        form = GRAFANA_FORM[kind]
        for name, value in what.items():
            types = form.get(name) or form.get(name + "!")
            self.assertTrue(types, f"{kind}: Grafana knows no {name}")
            self.assertIsInstance(value, types, f"{kind}: {name}")
        for name in form:
            self.assertTrue(not name.endswith("!") or name[:-1] in what, f"{kind}: {name} is missing: {what}")

    def test_the_dashboard_has_the_form_that_grafanas_schema_asks_for(self):
        dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
        self.has_form(dashboard, "dashboard")
        for variable in dashboard["templating"]["list"]:
            self.has_form(variable, "variable")
            self.assertIn(variable["type"], ("query", "datasource"))
            self.has_form(variable.get("current", {"text": "", "value": ""}), "current")
        for query in dashboard["annotations"]["list"]:  # not closed
            self.assertTrue({"name", "datasource", "enable", "iconColor"} <= set(query), query)
        for panel in dashboard["panels"]:
            is_row = panel["type"] == "row"
            self.has_form(panel, "row" if is_row else "panel")
            self.has_form(panel["gridPos"], "gridPos")
            if is_row:
                continue
            for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
                self.has_form(source, "datasource")
            self.has_form(panel["fieldConfig"], "fieldConfig")
            defaults = panel["fieldConfig"]["defaults"]
            self.has_form(defaults, "defaults")
            if thresholds := defaults.get("thresholds"):
                self.has_form(thresholds, "thresholds")
                self.assertIn(thresholds["mode"], ("absolute", "percentage"))
                for step in thresholds["steps"]:
                    self.has_form(step, "step")


class Live(ProcessTest):
    def busy_gateway(self):
        """One that has processed, rejected and failed."""
        service = self.service("--service-time", "2ms")
        gateway = self.gateway(service.address, admission_rate="0.01", admission_burst=20, admission_workers=7)
        statuses = [gateway.request().status for _ in range(25)]
        self.assertEqual((statuses.count(200), statuses.count(429)), (20, 5))
        self.assertEqual(gateway.request("GET", "/health").status, 200)
        self.wait_for_requests(gateway, 26)
        return gateway

    @staticmethod
    def wait_for_requests(gateway, ended):
        """A loop counts what has ended when the answer is on its way."""
        counts = r"\nclassgate_requests_total\{.*\} (\d+)"
        wait_until(lambda: sum(map(int, re.findall(counts, scrape(gateway)[1]))) == ended, "all of them in the metrics")

    def test_promtool_finds_nothing_to_complain_of(self):
        content_type, text = scrape(self.busy_gateway())
        self.assertEqual(content_type, "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(promtool("check", "metrics", stdin=text), (0, ""))

    def test_the_numbers_are_those_of_queue_health(self):
        gateway = self.busy_gateway()
        _, text = scrape(gateway)
        health = gateway.health()
        for line in ('classgate_requests_total{route="/v1/classify",priority="3",outcome="processed"} 20',
                     'classgate_requests_total{route="/v1/classify",priority="3",outcome="rejected"} 5',
                     'classgate_requests_total{route="/health",priority="1",outcome="processed"} 1',
                     'classgate_rejections_total{reason="rate_limited"} 5',
                     'classgate_wait_seconds_count{priority="3"} 20',
                     'classgate_upstream_seconds_count{priority="3"} 20',
                     'classgate_workers_limit 7'):
            self.assertIn(line + "\n", text)
        self.assertEqual((health["processed_requests"], health["rejected_requests"]), (21, 5))

    def test_what_the_gateway_answers_itself_is_counted_apart_and_cannot_fill_the_log(self):
        service = self.service("--service-time", "2ms")
        gateway = self.gateway(service.address, conf='[cors]\norigins = ["https://app.example"]\n', log_refusals_max=2,
                               log_access="stdout", threads=1)
        preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        for _ in range(100):
            self.assertEqual(gateway.request("OPTIONS", "/v1/classify", headers=preflight).status, 200)
        self.assertEqual(gateway.request("GET", "/queue/health").status, 200)
        self.assertEqual(gateway.request("OPTIONS", "/v1/classify", headers={"Max-Forwards": "0"}).status, 200)
        _, text = scrape(gateway)
        for line in ('classgate_answered_here_total{what="preflight"} 100', 'classgate_answered_here_total{what="health"} 1',
                     'classgate_answered_here_total{what="last_hop"} 1'):
            self.assertIn(line + "\n", text)
        self.assertNotRegex(text, r'classgate_requests_total.* [1-9]')
        self.assertEqual(gateway.request().status, 200)
        gateway.wait_for_text("verdict=admitted", gateway.out)  # one thread: what came before is there
        self.assertIn(gateway.out().count("verdict=operator"), range(1, 50))

    def test_plans_and_the_clients_that_have_most_are_told_apart(self):
        conf = ('[fairness]\nidentity = ["header:X-Api-Key"]\nrate = 0.001\nburst = 2\n'
                '[[plan]]\nname = "gold"\nburst = 100\nclients = ["header:X-Api-Key:alpha"]\n'
                '[[route]]\npath = "/v1/classify"\npriority = 3\ncost = "header:X-Cost"\n')
        service = self.service("--service-time", "2ms")
        gateway = self.gateway(service.address, conf=conf, admission_rate=0, ops_client_metrics=1)
        for key, cost in (("alpha", "3"), ("beta", "1")):
            for _ in range(5):
                gateway.request(headers={"X-Api-Key": key, "X-Cost": cost})
        self.wait_for_requests(gateway, 10)
        _, text = scrape(gateway)
        for line in ('classgate_plan_requests_total{plan="gold",outcome="processed"} 5',
                     'classgate_plan_requests_total{plan="-",outcome="processed"} 2',
                     'classgate_plan_requests_total{plan="-",outcome="rejected"} 3',
                     'classgate_plan_rejections_total{plan="-",reason="client_rate"} 3',
                     'classgate_plan_cost_total{plan="gold"} 15', 'classgate_plan_cost_total{plan="-"} 2',
                     'classgate_plan_seconds_count{plan="gold"} 5', 'classgate_plan_seconds_count{plan="-"} 2'):
            self.assertIn(line + "\n", text)
        self.assertNotIn('rejections_total{plan="gold"', text)
        self.assertEqual(len(re.findall(r'^classgate_client_workers_busy{client="c_[0-9a-f]{8}"} 0$', text, re.M)), 1)
        self.assertEqual(promtool("check", "metrics", stdin=text), (0, ""))

    def test_strangers_add_no_series(self):
        """A label of paths, hosts or clients grows with whatever strangers send, until memory ends."""
        gateway = self.busy_gateway()
        self.assertEqual(gateway.request("FROB", "/first", body=None).reason, "rate_limited")
        series = lambda: {line.rsplit(" ", 1)[0] for line in scrape(gateway)[1].splitlines() if not line.startswith("#")}
        before = series()
        for i in range(50):
            gateway.request(f"M{i}", f"/p{i}?q={i}", body=None, headers={"Host": f"h{i}", "X-Api-Key": f"k{i}"})
        self.assertEqual(series() - before, set())

    def test_every_metric_that_a_file_names_exists(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = Authority()
            self.addCleanup(authority.folder.cleanup)
            certificate, key = authority.issue("localhost", names=("DNS:localhost",))
            demand = pathlib.Path(folder) / "demand"
            now = int(time.time()) // 60 * 60
            demand.write_text("time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds\n" +
                              "".join(f"{now - ago * 60},600,0,0,600,0,0,60\n" for ago in range(30, 0, -1)))
            conf = (f'[clients]\nsecret = "{folder}/secret"\nquota_file = "{folder}/quotas.db"\n'
                    f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n[forecast]\nfile = "{demand}"\n'
                    '[[plan]]\nname = "free"\nquota_day = 2\nclients = ["address:127.0.0.1"]\n')
            gateway = self.gateway(self.service("--service-time", "2ms").address, conf=conf, environment=BOTH)
            self.assertEqual([gateway.request().status for _ in range(3)], [200, 200, 429])
            wait_until(lambda: "classgate_demand_forecast{" in scrape(gateway)[1], "a forecast")
            _, text = scrape(gateway)
            self.assertIn('classgate_plan_rejections_total{plan="free",reason="quota"} 1\n', text)
            self.assertIn('classgate_rejections_total{reason="quota"} 1\n', text)
        # Those of the forecast's last part are there after a minute, those of sharing where workers are shared: alerts_test.py
        # has them.
        known = set(re.findall(r"^# TYPE (\S+)", text, re.M)) | {
            "classgate_workers_needed", "classgate_servers_needed", "classgate_sharing_state", "classgate_sharing_workers",
            "classgate_sharing_workers_here", "classgate_sharing_failures_total"}
        for name in ("grafana-dashboard.json", "classgate.rules.yml", "classgate.test.yml"):
            named = {re.sub(r"_(bucket|sum|count)$", "", metric)
                     for metric in METRIC.findall((FOLDER / name).read_text())}
            self.assertTrue(named)
            self.assertEqual(named - known, set(), name)
        self.assertIn("classgate_last_reload_successful", known)

    def test_it_tells_when_a_certificate_ends_and_after_a_reload_when_the_next_one_does(self):
        authority = Authority()
        self.addCleanup(authority.folder.cleanup)
        soon, late = (int(time.time()) // 60 * 60 + days * 86400 for days in (3, 300))
        certificate, key = authority.issue("localhost", names=("DNS:localhost",), ends=soon)
        gateway = self.gateway(self.service().address, environment=BOTH,
                               conf=f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n')

        def end():
            return float(re.search(r'^classgate_tls_certificate_end_timestamp_seconds\{certificate="%s"\} (\S+)$' %
                                   re.escape(str(certificate)), scrape(gateway)[1], re.M).group(1))
        self.assertEqual(end(), soon)
        authority.issue("localhost", names=("DNS:localhost",), ends=late)
        gateway.do("reload")
        self.assertEqual(end(), late)
        self.assertNotIn("classgate_tls_certificate", scrape(self.gateway(self.service().address))[1])

    def test_the_real_prometheus_scrapes_it_and_agrees(self):
        gateway = self.busy_gateway()
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            rules = FOLDER / "classgate.rules.yml"
            conf = pathlib.Path(folder) / "prometheus.yml"
            conf.write_text((FOLDER / "prometheus.yml").read_text().replace("15s", "1s")
                            .replace("127.0.0.1:9190", f"127.0.0.1:{gateway.ops_port}")
                            .replace("classgate.rules.yml", str(rules)))
            self.start(Program(["prometheus", f"--config.file={conf}", f"--storage.tsdb.path={folder}/data",
                                f"--web.listen-address=127.0.0.1:{port}"]))

            def query(expression):
                try:
                    answer = get_json(port, "/api/v1/query?query=" + urllib.parse.quote(expression), any_status=True)
                except (OSError, ValueError):
                    return None  # it is still starting
                result = answer.get("data", {}).get("result", [])
                return float(result[0]["value"][1]) if result else None

            wait_until(lambda: query('up{job="classgate"}') == 1, "a scrape", 60)
            wait_until(lambda: query('sum(classgate_requests_total{outcome="processed"})') == 21, "the count", 30)
            self.assertEqual(query("sum(classgate_rejections_total)"), 5)
            self.assertEqual(query('sum(classgate_wait_seconds_bucket{le="+Inf"})'), 21)
            health = get_json(gateway.ops_port, "/queue/health")
            self.assertEqual(query("sum(classgate_requests_total)"), health["total_requests"])

    def test_the_weights_of_accept_decide(self):
        gateway = self.busy_gateway()
        for accept, wants_open in (
                ("application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
                 "text/plain;version=0.0.4;q=0.3,*/*;q=0.2", True),
                ("application/openmetrics-text;q=0", False), ("application/openmetrics-text;q=0, */*", False),
                ("application/openmetrics-text;q=0.3,text/plain;q=0.9", False),
                ("text/plain, application/openmetrics-text", True), ("Application/OpenMetrics-Text ; Q=0.9,*/*;q=0.1", True),
                ("application/openmetrics-text;q=0.5,*/*;q=0.9", False),
                ("application/openmetrics-text;q=0.5,text/plain;q=0.1,*/*;q=0.9", True),
                ("application/openmetrics-text;q=much", False), ("application/openmetrics-textual", False), ("*/*", False), ("", False)):
            content_type = scrape(gateway, accept)[0]
            self.assertEqual(content_type.startswith("application/openmetrics-text"), wants_open, accept)

    def test_openmetrics_when_it_is_asked_for(self):
        content_type, text = scrape(self.busy_gateway(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        self.assertTrue(content_type.startswith("application/openmetrics-text; version=1.0.0"))
        self.assertTrue(text.endswith("\n# EOF\n"))
        self.assertIn("# TYPE classgate_requests counter\n", text)
        self.assertNotRegex(text, r"# TYPE \S+_total ")


if __name__ == "__main__":
    unittest.main()
