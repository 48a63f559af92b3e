#!/usr/bin/env python3
"""Changing a running gateway under traffic: reload, and what is set at run time."""
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from changeable import BASE, ChangeTest
from kit import CLASSGATE, Program, Script, ScriptedService, clean_environment, scrape, wait_until
from traffic import Traffic


class Held(ScriptedService):
    """A service that answers everything at once but /slow, which it holds until `release` is set."""

    def __init__(self):
        self.began = []  # when the first request for /slow came
        self.release = threading.Event()
        held = self

        class Handler(Script):
            def do_GET(self):
                if self.path == "/slow":
                    held.began.append(time.monotonic())
                    held.release.wait(60)
                self.say(200)

        super().__init__(Handler)

    def close(self):
        self.release.set()
        super().close()


class Failing(http.server.BaseHTTPRequestHandler):
    """Well in nobody's eyes; counts who asks all the same."""
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Reload(ChangeTest):
    def test_reloads_under_traffic_lose_nothing_and_count_on(self):
        service = self.service("--service-time", "5ms")
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        with Traffic(gateway.port) as traffic:
            for i in range(30):
                wait_until(lambda i=i: traffic.answered() > 60 * i, "traffic")
                gateway.write_conf(BASE.format(workers=[50, 4][i % 2], queue=[1000, 500][i % 2]) +
                                   f'[upstream]\nidle_timeout = "{30 + i}s"\n'
                                   f'[[route]]\npath = "/v1/classify"\npriority = {1 + i % 5}\n')
                gateway.signal(signal.SIGHUP)
                gateway.wait_for_health(lambda h, i=i: h["conf"]["reloads"] == i + 1, "a reload")
        self.assert_nothing_lost(traffic)
        health = gateway.health()
        self.assertEqual(health["processed_requests"], traffic.answered())
        self.assertEqual(health["limits"]["workers"], 4)
        self.assert_balanced(health)

    def test_a_hundred_reloads_a_second_harm_nobody(self):
        service = self.service("--service-time", "5ms")
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        with Traffic(gateway.port, rate=300, clients=12) as traffic:
            for i in range(300):
                gateway.signal(signal.SIGHUP)
                wait_until(lambda i=i: traffic.answered() > i, "traffic")
        self.assert_nothing_lost(traffic)
        lines = gateway.err().splitlines()
        self.assertLess(len(lines), 1200, "the log is bounded")

    def test_a_route_that_a_reload_inserts_is_not_taken_for_the_slow_one_that_stood_there(self):
        # A slow request is in flight; a reload inserts a route before its own; it ends. Then a request on the new
        # route has a deadline that the slow one could not keep, and all workers are free.
        upstream = Held()
        self.addCleanup(upstream.close)
        gateway = self.changeable(upstream.address, BASE.format(workers=50, queue=10) + '[[route]]\npath = "/slow"\npriority = 3\n')
        connection = gateway.connect()
        self.addCleanup(connection.close)
        connection.request("GET", "/slow")
        wait_until(lambda: upstream.began, "the slow request")
        gateway.write_conf(BASE.format(workers=50, queue=10) + '[[route]]\npath = "/new"\npriority = 3\ndeadline = "300ms"\n'
                           '[[route]]\npath = "/slow"\npriority = 3\n')
        gateway.do("reload")
        wait_until(lambda: time.monotonic() > upstream.began[0] + 0.5, "it to be slow")
        upstream.release.set()
        self.assertEqual(connection.getresponse().status, 200)
        gateway.wait_for_health(lambda h: h["processed_requests"] == 1, "its end")

        def explain(path):
            return json.loads(gateway.command("explain", "GET", path, "--json")[1])
        self.assertEqual(explain("/new")["verdict"], {"answer": "admitted"})
        self.assertEqual(explain("/new")["estimate"]["most_work_ms"], 0)
        self.assertGreater(explain("/slow")["estimate"]["most_work_ms"], 400)
        answer = gateway.request("GET", "/new")
        self.assertEqual((answer.status, answer.reason), (200, None))
        gateway.do("reload")  # with nothing in flight, and nothing else in the conf
        self.assertGreater(explain("/slow")["estimate"]["most_work_ms"], 400)

    def test_plans_that_change_places_keep_their_clients_tokens(self):
        plans = [f'[[plan]]\nname = "{name}"\nrate = 0.001\nburst = {burst}\nclients = ["{client}"]\n'
                 for name, burst, client in (("gold", 50, "alpha"), ("small", 2, "beta"))]
        conf = BASE.format(workers=50, queue=10) + '[fairness]\nidentity = ["header:X-Api-Key"]\n'
        gateway = self.changeable(self.service().address, conf + plans[0] + plans[1])
        alpha, beta = {"X-Api-Key": "alpha"}, {"X-Api-Key": "beta"}
        for headers in (alpha, beta):
            self.assertEqual(gateway.request(headers=headers).status, 200)
        gateway.write_conf(conf + plans[1] + plans[0])
        gateway.do("reload")
        for _ in range(10):
            self.assertEqual(gateway.request(headers=alpha).reason, None)
        self.assertEqual([gateway.request(headers=beta).reason for _ in range(2)], [None, "client_rate"])

    def test_a_bad_conf_changes_nothing_and_every_mistake_is_told_with_its_place(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        gateway.write_conf("[admission]\nworkers = 0\nqeue_size = 3\n")
        code, out, err = gateway.command("reload")
        self.assertEqual((code, out), (1, ""))
        for line in (f"{gateway.conf.name}:2:1: admission.workers: 0 is out of range",
                     f"{gateway.conf.name}:3:1: unknown key admission.qeue_size; did you mean admission.queue_size?"):
            self.assertIn(line, err)
            gateway.wait_for_log(re.escape(line))
        gateway.wait_for_log("reload refused, 2 mistakes: the settings from before stay in force")
        health = gateway.health()
        self.assertEqual(health["limits"]["workers"], 50)
        self.assertTrue(health["conf"]["last_reload_failed"])
        self.assertIn("admission.workers", health["conf"]["last_reload_error"])
        self.assertIn("the last reload was refused", gateway.command("status")[1])
        metrics = scrape(gateway)[1]
        self.assertIn("\nclassgate_last_reload_successful 0\n", metrics)
        self.assertIn('\nclassgate_reloads_total{result="failed"} 1\n', metrics)
        self.assertEqual(gateway.request().status, 200)

        gateway.write_conf(BASE.format(workers=9, queue=10))
        gateway.do("reload")
        health = gateway.health()
        self.assertEqual((health["limits"]["workers"], health["conf"]["last_reload_failed"]), (9, False))
        self.assertIn("\nclassgate_last_reload_successful 1\n", scrape(gateway)[1])

    def test_a_conf_whose_link_leads_elsewhere_now_is_read_there(self):
        """Kubernetes changes a ConfigMap by turning one link: ..data."""
        with tempfile.TemporaryDirectory() as folder:
            for name, workers in (("one", 11), ("two", 22)):
                os.mkdir(f"{folder}/{name}")
                pathlib.Path(folder, name, "classgate.conf").write_text(BASE.format(workers=workers, queue=1000))
            os.symlink("one", f"{folder}/..data")
            gateway = self.changeable(self.service().address, "")
            os.unlink(gateway.conf.name)
            os.symlink(f"{folder}/..data/classgate.conf", gateway.conf.name)
            for name, workers in (("one", 11), ("two", 22)):
                os.symlink(name, f"{folder}/..next")
                os.rename(f"{folder}/..next", f"{folder}/..data")
                gateway.do("reload")
                self.assertEqual(gateway.health()["limits"]["workers"], workers)

    def test_a_mistake_in_conf_d_is_told_with_its_file(self):
        service = self.service()
        with tempfile.TemporaryDirectory() as folder:
            conf = pathlib.Path(folder) / "classgate.conf"
            conf.write_text(BASE.format(workers=5, queue=10))
            (pathlib.Path(folder) / "conf.d").mkdir()
            extra = pathlib.Path(folder) / "conf.d/10-limits.conf"
            extra.write_text("[admission]\nworkers = 6\n")
            gateway = self.start(Program([CLASSGATE, "--conf", conf], {
                "CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_OPS_LISTEN": "",
                "CLASSGATE_OPS_CONTROL": f"{folder}/control", "CLASSGATE_UPSTREAM_SERVERS": service.address}))
            gateway.wait_for_text("6 workers", gateway.err)
            extra.write_text("[admission]\nworkers = many\n")
            done = subprocess.run([CLASSGATE, "--socket", f"{folder}/control", "reload"],
                                  capture_output=True, text=True, env=clean_environment(), timeout=30)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{extra}:2:", done.stderr)

    def test_a_port_in_use_or_a_key_that_needs_a_restart(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000), threads=2)
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        # The environment of a process cannot change: these two are set by conf in a gateway of their own.
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            def write(text):
                pathlib.Path(conf.name).write_text(f'[upstream]\nservers = ["{service.address}"]\n' + text)
            write(f'[ops]\nlisten = []\ncontrol = "{conf.name}.sock"\n')
            top = 'listen = ["127.0.0.1:0"]\nthreads = 2\n'
            pathlib.Path(conf.name).write_text(top + pathlib.Path(conf.name).read_text())
            program = self.start(Program([CLASSGATE, "--conf", conf.name]))
            program.wait_for_text("listening on", program.err)

            def reload():
                return subprocess.run([CLASSGATE, "-c", conf.name, "--socket", conf.name + ".sock", "reload"],
                                      capture_output=True, text=True, env=clean_environment(), timeout=30)
            good = pathlib.Path(conf.name).read_text()
            for bad in (good.replace('listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:0", "{address}"]'),
                        good.replace("listen = []", f'listen = ["{address}"]')):
                pathlib.Path(conf.name).write_text(bad)
                done = reload()
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(f"cannot listen on {address}: Address already in use", done.stderr)
            pathlib.Path(conf.name).write_text(good.replace("threads = 2", "threads = 3"))
            done = reload()
            self.assertEqual((done.returncode, done.stdout), (0, "threads = 3 needs a restart; 2 stay\n"))
        self.assertEqual(gateway.request().status, 200)

    def test_limits_set_at_run_time_are_shown_and_end_with_a_reload(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        self.assertEqual(gateway.command("set", "admission.workers", "40"),
                         (0, "admission.workers = 40 until the next reload\n", ""))
        health = gateway.health()
        self.assertEqual(health["limits"]["workers"], 40)
        self.assertEqual(health["conf"]["set_at_run_time"], {"admission.workers": "40"})
        self.assertIn("set at run time: admission.workers = 40", gateway.command("status")[1])
        for words, complaint in ((("admission.workers", "0"), "is out of range"),
                                 (("admission.wrokers", "1"), "did you mean admission.workers?"),
                                 (("threads", "3"), "threads needs a restart")):
            code, _, err = gateway.command("set", *words)
            self.assertEqual(code, 1)
            self.assertIn(complaint, err)
        code, out, _ = gateway.command("reload")
        self.assertEqual((code, out), (0, "admission.workers = 40, set at run time, gave way to the conf\n"
                                          "admission.workers = 50 (it was 40)\n"))
        self.assertEqual(gateway.health()["limits"]["workers"], 50)


class Remembered(ChangeTest):
    def test_a_server_that_checks_have_taken_out_gets_nothing_after_a_reload_nor_an_upgrade(self):
        """What begins anew takes each server for well, and sends it requests until its first check has failed."""
        with ScriptedService(Failing) as failing:
            bad = failing.address
            conf = BASE.format(workers=50, queue=1000) + '[upstream.check]\npath = "/status"\ninterval = "{}"\nfall = 1\n'
            gateway = self.changeable(f"{bad},{self.service().address}", conf.format("1h"))
            gateway.wait_for_health(lambda h: h["upstream"][bad] == "unreachable", "one that is taken out")
            Failing.asked.clear()
            for change in (lambda: gateway.command("set", "log.level", "debug"), lambda: gateway.command("reload"),
                           lambda: gateway.write_conf(conf.format("30m")) or gateway.command("reload"),
                           lambda: gateway.command("upgrade")):
                code, out, err = change()
                self.assertEqual(code, 0, out + err)
                self.assertEqual({gateway.request("GET", "/health").status for _ in range(20)}, {200}, out)
            self.assertEqual([path for path in Failing.asked if path != "/status"], [])


class OnlyThat(ChangeTest):
    """A change does what was asked, and nothing else. Nothing of these comes from the environment."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.conf = pathlib.Path(self.folder.name) / "classgate.conf"
        self.ready = self.service()

    def text(self, listen="127.0.0.1:0", more=""):
        return (f'listen = ["{listen}"]\n[ops]\nlisten = ["127.0.0.1:0"]\ncontrol = "{self.conf}.sock"\n'
                f'[log]\naccess = "{self.folder.name}/access"\nerror = "{self.folder.name}/error"\n'
                f'[upstream]\nservers = ["{self.ready.address}"]\n' + more)

    def begin(self):
        self.conf.write_text(self.text())
        program = self.start(Program([CLASSGATE, "--conf", self.conf]))
        self.errors = pathlib.Path(self.folder.name) / "error"
        wait_until(lambda: self.errors.exists() and "listening on" in self.errors.read_text(), "the start")
        return program

    def order(self, *words):
        done = subprocess.run([CLASSGATE, "--socket", f"{self.conf}.sock", *words], capture_output=True,
                              text=True, env=clean_environment(), timeout=30)
        return done.returncode, done.stdout, done.stderr

    def state(self):
        return json.loads(self.order("status", "--json")[1])

    def test_what_was_set_gives_way_at_an_upgrade_and_both_answer_and_log_say_so(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        gateway.do("set", "admission.queue_size", "55")
        gateway.do("set", "log.lines_max", "77")
        code, out, err = gateway.command("upgrade")
        self.assertEqual(code, 0, err)
        for line in ("admission.queue_size = 55, set at run time, gave way to the conf",
                     "log.lines_max = 77, set at run time, gave way to the conf"):
            self.assertIn(line, out)
            gateway.wait_for_log("upgrade: " + re.escape(line))
        self.assertEqual(gateway.health()["limits"]["queue_size"], 1000)
        self.assertEqual(gateway.health()["conf"]["set_at_run_time"], {})
        self.assertRegex(gateway.command("upgrade")[1], r"^process \d+ took over from \d+\n$")

    def test_set_does_not_hide_that_the_last_reload_was_refused(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))

        def told():
            conf = gateway.health()["conf"]
            metrics = re.findall(r"\nclassgate_((?:last_)?reload\S+ \S+)", scrape(gateway)[1])
            return [conf[key] for key in ("changed_at", "reloads", "failed_reloads", "last_reload_failed",
                                          "last_reload_error")], metrics
        at_first = told()
        gateway.do("set", "admission.queue_size", "55")
        self.assertEqual(told(), at_first)
        gateway.write_conf("[admission]\nworkers = no\n")
        self.assertEqual(gateway.command("reload")[0], 1)
        refused = told()
        self.assertTrue(refused[0][3])
        self.assertIn("last_reload_successful 0", refused[1])
        gateway.do("set", "admission.queue_size", "56")
        self.assertEqual(gateway.command("set", "admission.queue_size", "many")[0], 1)
        self.assertEqual(gateway.health()["limits"]["queue_size"], 56)
        self.assertEqual(told(), refused)
        gateway.write_conf(BASE.format(workers=49, queue=1000))
        gateway.do("reload")
        self.assertEqual(told()[0][1:], [1, 1, False, ""])
        self.assertIn("last_reload_successful 1", told()[1])

    def test_set_leaves_alone_what_was_edited_and_not_reloaded(self):
        # It read the file again, and moved the listener and the upstream.
        self.begin()
        before = self.state()
        for text in (self.text("127.0.0.1:1", "[admission]\nworkers = 3\n"), "[broken", ""):
            self.conf.write_text(text)
            self.assertEqual(self.order("set", "log.level", "debug"), (0, "log.level = debug until the next reload\n", ""))
            self.assertEqual(self.order("set", "admission.queue_size", "77")[0], 0)
        self.conf.unlink()
        self.assertEqual(self.order("set", "log.level", "info")[0], 0)
        after = self.state()
        self.assertEqual(after["limits"]["workers"], before["limits"]["workers"])
        self.assertEqual(after["limits"]["queue_size"], 77)
        self.assertEqual(after["conf"]["set_at_run_time"], {"admission.queue_size": "77", "log.level": "info"})
        self.assertNotIn("127.0.0.1:1,", self.errors.read_text())

    def test_a_conf_that_was_emptied_or_cut_off_moves_nothing(self):
        # The listener went to 127.0.0.1:8080 and the upstream to :9000, with exit 0.
        self.begin()
        whole = self.text()
        for cut, complaint in (("", "is empty, and was not"), ("\n \n", "is empty, and was not"),
                               (whole[:whole.index("[upstream]")], "upstream.servers: nothing says it any more"),
                               ("# nothing\n", "listen: nothing says it any more")):
            self.conf.write_text(cut)
            code, out, err = self.order("reload")
            self.assertEqual((code, out), (1, ""), cut)
            self.assertIn(complaint, err)
            self.assertTrue(self.state()["conf"]["last_reload_failed"])
        self.conf.write_text(whole)
        self.assertEqual(self.order("reload")[:2], (0, "the conf says nothing else\n"))
        # It is meant: said how to say so.
        self.conf.write_text(whole.replace(self.ready.address, "127.0.0.1:9000"))
        self.assertEqual(self.order("reload")[:2],
                         (0, f'upstream.servers = ["127.0.0.1:9000"] (it was ["{self.ready.address}"])\n'))

    def test_what_was_set_at_run_time_hides_no_loss(self):
        self.begin()
        self.assertEqual(self.order("set", "upstream.servers", "127.0.0.1:1")[0], 0)
        whole = self.text()
        self.conf.write_text(whole[:whole.index("[upstream]")])
        code, _, err = self.order("reload")
        self.assertEqual(code, 1)
        self.assertIn(f'said ["{self.ready.address}"]', err)

    def test_a_reload_that_fails_changes_nothing_and_leaves_nothing(self):
        self.begin()
        folder = pathlib.Path(self.folder.name)
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        files = sorted(folder.iterdir())
        before = self.state()
        elsewhere = self.text(f'unix:{folder}/clients", "127.0.0.1:0", "{address}').replace("/access", "/new-access")
        for bad in (elsewhere, elsewhere.replace("/error", "/new-error"),
                    self.text(more="[admission]\nworkers = 3\n").replace(f"{folder}/error", f"{folder}/no/such"),
                    self.text(more="[admission]\nworkers = 3\n").replace(f"{folder}/access", f"{folder}/no/such"),
                    self.text(f'unix:{folder}/clients').replace(f"{folder}/access", f"{folder}/no/such"),
                    self.text(more='[upstream.tls]\nca_file = "/no/such"\n').replace('servers = ["', 'servers = ["https://')):
            self.conf.write_text(bad)
            code, out, err = self.order("reload")
            self.assertEqual((code, out), (1, ""), bad)
            after = self.state()
            self.assertEqual(after["limits"], before["limits"])
            self.assertIn(self.ready.address, json.dumps(after["upstream"]))
            self.assertEqual(after["conf"]["reloads"], 0)
            self.assertEqual(sorted(folder.iterdir()), files)

    def test_a_start_that_fails_leaves_nothing(self):
        folder = pathlib.Path(self.folder.name)
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        self.conf.write_text(self.text(f'unix:{folder}/clients", "{address}').replace(f"{folder}/error", "stderr"))
        done = subprocess.run([CLASSGATE, "--conf", self.conf], capture_output=True, text=True,
                              env=clean_environment(), timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Address already in use", done.stderr)
        self.assertEqual([path.name for path in folder.iterdir()], ["classgate.conf"])


if __name__ == "__main__":
    unittest.main()
