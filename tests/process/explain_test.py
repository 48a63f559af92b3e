#!/usr/bin/env python3
"""`classgate explain` and `classgate status --clients` against a real gateway, a real service, real requests."""
import json
import subprocess
import unittest

from kit import CLASSGATE, ProcessTest, clean_environment

# A token in 1,000 seconds: what is spent stays spent for as long as a test takes.
CONF = """\
[admission]
workers = 1
queue_size = 3
rate = 0
[fairness]
identity = ["header:X-Api-Key", "bearer"]
rate = 0.001
burst = 4
[clients]
unknown = "own"
[[plan]]
name = "gold"
clients = ["header:X-Api-Key:alpha"]
burst = 100
[[route]]
path = "/v1/classify/batch"
priority = 4
cost = "body:1KiB"
"""
KEY = "X-Api-Key: "


class ExplainTest(ProcessTest):
    def explain(self, gateway, *words):
        """The explanation and the exit status, which must go together."""
        code, out, err = gateway.command("explain", *words, "--json")
        self.assertEqual(err, "")
        said = json.loads(out)
        self.assertEqual(code, 1 if said["verdict"]["answer"] == "refused" else 0)
        return said

    def occupy(self, gateway, clients, before=0):
        """A request of each client, which nobody answers: the first works, the others wait."""
        for number, key in enumerate(clients, before):
            connection = gateway.connect()
            self.addCleanup(connection.close)
            connection.request("POST", "/v1/classify", '{"text": "bread"}', {"X-Api-Key": key})
            gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "arrival")


class Explain(ExplainTest):
    def test_a_request_that_would_be_admitted(self):
        gateway = self.gateway(self.service().address, conf=CONF)
        code, page, err = gateway.command("explain", "POST", "/v1//classify", "-H", KEY + "alpha", "--body", "100")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(page, r"request +POST /v1/classify from 127.0.0.1\n"
                               r"route +/v1/classify \(the rule for exactly this path\)\n"
                               r"priority +3\n"
                               r"client +c_[0-9a-f]{8} by header:X-Api-Key, plan gold, not seen lately; "
                               r"has 0 workers, 0 places waiting\n"
                               r"cost +1 token \(fixed\), 1 worker\n"
                               r"deadline +30 s \(request_timeout\)\n"
                               r"buckets +client 100 of 100 tokens, 0.001/s\n"
                               r"workers +0 of 1 taken, 0 by priority 3\n"
                               r"queue +0 of 3 waiting\n"
                               r"estimate +none yet: no request has been through\n"
                               r"verdict +admitted: a worker is free\n$")

    def test_a_request_that_would_wait_and_one_for_which_there_is_no_place(self):
        gateway = self.gateway(self.service("--service-time", "600s").address, conf=CONF)
        self.occupy(gateway, ["a", "b", "c"])
        said = self.explain(gateway, "POST", "/v1/classify", "-H", KEY + "d")
        self.assertEqual((said["verdict"]["answer"], said["verdict"]["place"]), ("waits", 3))
        self.assertEqual(self.explain(gateway, "GET", "/health")["verdict"]["place"], 1)
        self.assertRegex(gateway.command("explain", "GET", "/health")[1],
                         r"estimate +none yet: no request has been through\n"
                         r"verdict +waits at place 1, nobody knows yet for how long\n")
        self.occupy(gateway, ["e"], before=3)
        said = self.explain(gateway, "POST", "/v1/classify/batch", "-H", KEY + "d")
        self.assertEqual(said["verdict"]["reason"], "queue_full")
        self.assertTrue(self.explain(gateway, "GET", "/health")["verdict"]["takes_anothers_place"])

    def test_what_it_says_is_what_a_request_then_hears_and_asking_costs_nothing(self):
        gateway = self.gateway(self.service().address, conf=CONF)
        before = gateway.health()
        for _ in range(20):
            self.assertEqual(self.explain(gateway, "POST", "/v1/classify", "-H", KEY + "b")["verdict"],
                             {"answer": "admitted"})
        after = gateway.health()
        self.assertEqual((after["total_requests"], after["clients"]), (before["total_requests"], before["clients"]))
        for left in (4, 3, 2, 1, 0):
            said = self.explain(gateway, "POST", "/v1/classify", "-H", KEY + "b")
            self.assertEqual(round(said["buckets"][0]["tokens"]), left)
            answer = gateway.request(headers={"X-Api-Key": "b"})
            self.assertEqual(said["verdict"].get("status", 200), answer.status)
            self.assertEqual(said["verdict"].get("reason"), answer.reason)
        self.assertEqual(answer.status, 429)
        self.assertGreater(said["verdict"]["retry_after"], 0)
        code, page, _ = gateway.command("explain", "POST", "/v1/classify", "-H", KEY + "b")
        self.assertEqual(code, 1)
        self.assertRegex(page, r"verdict +refused with 429 client_rate, Retry-After: \d+ \(The request rate of this client is exceeded\)\n")

    def test_the_size_of_a_body_and_the_address_of_a_client_are_told_by_options(self):
        gateway = self.gateway(self.service().address, conf=CONF, client_trusted_proxies="192.0.2.0/24")
        said = self.explain(gateway, "POST", "/v1/classify/batch", "--body", "3000", "--client", "192.0.2.1",
                            "-H", "X-Forwarded-For: 198.51.100.7, 192.0.2.9")
        self.assertEqual(said["cost"], {"tokens": 3, "source": "body", "rest_is_in_body": False})
        self.assertEqual(said["request"]["address"], "198.51.100.7")
        self.assertEqual(said["client"]["source"], "address")
        self.assertEqual(self.explain(gateway, "POST", "/v1/classify/batch", "--body", "11MiB")["verdict"]["status"],
                         413)

    def test_what_nobody_could_send_is_told_and_what_would_be_refused_is_explained(self):
        gateway = self.gateway(self.service().address, conf=CONF)
        for words, mistake in ((("GET", "/", "-H", "no colon"), '-H: "no colon" is no field'),
                               (("GET", "health"), '"health" is no path'),
                               (("GE T", "/"), '"GE T" is no method'),
                               (("GET", "/", "--client", "localhost"), '--client: "localhost" is no IP address'),
                               (("GET",), "usage: classgate explain METHOD PATH")):
            code, out, err = gateway.command("explain", *words)
            self.assertEqual((code, out, err.count("\n")), (1, "", 1))
            self.assertIn(mistake, err)
        for words, reason in ((("M" * 65, "/"), "unknown_method"), (("GET", "/%00"), "malformed"),
                              (("CONNECT", "/"), "method_refused"), (("GET", "/" + "x" * 9000), "target_too_long"),
                              (("GET", "/", "-H", b"X: \x01\xff\x1b[31m"), "malformed"),
                              (("POST", "/queue/health"), "method_refused")):
            self.assertEqual(self.explain(gateway, *words)["verdict"]["reason"], reason)
        # Bytes that are no text may stand in a field, and don't come back to the terminal.
        self.assertEqual(self.explain(gateway, "GET", "/", "-H", b"X-Api-Key: \xff\x9b31m")["client"]["source"],
                         "header:X-Api-Key")
        self.assertEqual(self.explain(gateway, "GET", b"/\xff\x9b31m")["verdict"]["reason"], "malformed")
        self.assertEqual(self.explain(gateway, "GET", "/queue/health")["verdict"], {"answer": "operator"})
        for method in ("TRACE", "OPTIONS"):
            self.assertEqual(self.explain(gateway, method, "/x", "-H", "Max-Forwards: 0")["verdict"],
                             {"answer": "operator"})
            self.assertEqual(self.explain(gateway, method, "/x", "-H", "Max-Forwards: 1")["verdict"]["answer"], "admitted")

    def test_without_a_gateway_it_says_at_which_socket_there_is_none(self):
        done = subprocess.run([CLASSGATE, "--socket", "/nowhere/control.sock", "explain", "GET", "/"],
                              capture_output=True, text=True, timeout=60, env=clean_environment())
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("/nowhere/control.sock: No such file or directory: classgate is not running", done.stderr)


class TopClients(ExplainTest):
    def test_status_lists_the_clients_that_have_most(self):
        gateway = self.gateway(self.service("--service-time", "600s").address, conf=CONF)
        self.assertIn("clients      none has anything\n", gateway.command("status", "--clients")[1])
        self.occupy(gateway, ["alpha", "b", "b", "c"])
        ids = {key: self.explain(gateway, "GET", "/x", "-H", KEY + key)["client"]["id"] for key in ("alpha", "b", "c")}
        clients = json.loads(gateway.command("status", "--clients", "--json")[1])["top_clients"]
        self.assertEqual([(c["id"], c["plan"], c["active_workers"], c["waiting"]) for c in clients],
                         [(ids["alpha"], "gold", 1, 0), (ids["b"], None, 0, 2), (ids["c"], None, 0, 1)])
        self.assertEqual(len(json.loads(gateway.command("status", "--clients=2", "--json")[1])["top_clients"]), 2)
        page = gateway.command("status", "--clients", "1")[1]
        self.assertRegex(page, rf"clients +workers +waiting +tokens +plan +name +address\n{ids['alpha']} +1 +0 +"
                               r"99\.0 of 100  gold +- +-\n")
        self.assertNotIn(ids["b"], page)
        self.assertNotIn("top_clients", gateway.command("status", "--json")[1])
        self.assertNotIn("top_clients", gateway.health())

    def test_a_client_that_is_known_by_its_address_is_shown_with_it_while_it_waits(self):
        gateway = self.gateway(self.service("--service-time", "600s").address,
                               conf=CONF.replace('"header:X-Api-Key", "bearer"', '"address"')
                               .replace("header:X-Api-Key:alpha", "address:192.0.2.7"))
        self.occupy(gateway, ["a", "b"])
        clients = json.loads(gateway.command("status", "--clients", "--json")[1])["top_clients"]
        self.assertEqual([(c["address"], c["active_workers"], c["waiting"]) for c in clients], [("127.0.0.1", 1, 1)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
