#!/usr/bin/env python3
"""Changing a running gateway under traffic: reload, upgrade, restart with socket activation."""
import contextlib
import fcntl
import http.client
import http.server
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from kit import (CLASSGATE, Gateway, ProcessTest, Program, ScriptedService, ask, clean_environment, get_json,
                 raw_request, read_answer, scrape, wait_until)
from traffic import Traffic

BASE = "[admission]\nrate = 0\nworkers = {workers}\nqueue_size = {queue}\n"


class Changeable(Gateway):
    """A gateway whose conf can be written anew, and whose successors are ended with it."""

    def write_conf(self, text):
        pathlib.Path(self.conf.name).write_text(text)

    def pids(self):
        return [self.process.pid] + [int(p) for p in re.findall(r"started \S+ as process (\d+)", self.err())]

    def wait_for_log(self, pattern, seconds=30):
        return wait_until(lambda: re.search(pattern, self.err()), f"{pattern!r} in\n{self.err()}", seconds)

    def end(self):
        for pid in self.pids()[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        super().end()


class ChangeTest(ProcessTest):
    def changeable(self, upstream, conf, **settings):
        return self.start(Changeable(upstream, conf=conf, **settings))

    def assert_nothing_lost(self, traffic, at_least=200):
        report = traffic.report()
        self.assertEqual((report["failed"], report["failures"]), (0, []), report)
        self.assertEqual(report["sent"], report["answered"], report)
        self.assertGreater(report["answered"], at_least, report)
        return report


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
        self.assertEqual(gateway.command("reload")[0], 0)
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
        self.assertEqual(gateway.command("reload")[0], 0)  # with nothing in flight, and nothing else in the conf
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
        self.assertEqual(gateway.command("reload")[0], 0)
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
        self.assertEqual(gateway.command("reload")[0], 0)
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
                self.assertEqual(gateway.command("reload")[0], 0)
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


class Held(ScriptedService):
    """A service that answers everything at once but /slow, which it holds until `release` is set."""

    def __init__(self):
        self.began = []  # when the first request for /slow came
        self.release = threading.Event()
        held = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/slow":
                    held.began.append(time.monotonic())
                    held.release.wait(60)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

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
        self.assertEqual(gateway.command("set", "admission.queue_size", "55")[0], 0)
        self.assertEqual(gateway.command("set", "log.lines_max", "77")[0], 0)
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
        self.assertEqual(gateway.command("set", "admission.queue_size", "55")[0], 0)
        self.assertEqual(told(), at_first)
        gateway.write_conf("[admission]\nworkers = no\n")
        self.assertEqual(gateway.command("reload")[0], 1)
        refused = told()
        self.assertTrue(refused[0][3])
        self.assertIn("last_reload_successful 0", refused[1])
        self.assertEqual(gateway.command("set", "admission.queue_size", "56")[0], 0)
        self.assertEqual(gateway.command("set", "admission.queue_size", "many")[0], 1)
        self.assertEqual(gateway.health()["limits"]["queue_size"], 56)
        self.assertEqual(told(), refused)
        gateway.write_conf(BASE.format(workers=49, queue=1000))
        self.assertEqual(gateway.command("reload")[0], 0)
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


def try_scrape(gateway):
    try:
        return "classgate_build_info" in scrape(gateway)[1]
    except (OSError, http.client.HTTPException):
        return False


class Upgrade(ChangeTest):
    def test_upgrades_under_traffic_lose_nothing_and_never_use_more_workers(self):
        service = self.service("--service-time", "10ms", "--concurrency", "8")
        gateway = self.changeable(service.address, BASE.format(workers=8, queue=1000))
        with Traffic(gateway.port, rate=500) as traffic:
            for i in range(3):
                wait_until(lambda i=i: traffic.answered() > 300 * (i + 1), "traffic")
                os.kill(gateway.pids()[-1], signal.SIGUSR2)
                wait_until(lambda i=i: gateway.err().count("the process before has ended") == i + 1,
                           "the old process to end")
        report = self.assert_nothing_lost(traffic)
        self.assertGreater(report["told_to_close"], 0)
        self.assertLessEqual(service.stats()["max_running"], 8)
        self.assertEqual(service.stats()["started"], report["answered"])
        self.assertEqual(gateway.command("status")[0], 0)
        self.assertEqual(gateway.wait(), 0)  # the first of them

    def test_what_is_known_of_routes_and_of_the_shadow_is_kept_while_workers_are_handed_over(self):
        # An upload holds a worker in the old process; the new one serves; the upload ends: the new one gets that
        # worker too, and knew all along how long its requests take and what the shadow made of them.
        service = self.service("--service-time", "20ms")
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as shadow:
            shadow.write(BASE.format(workers=8, queue=1000))
            shadow.flush()
            gateway = self.changeable(service.address, BASE.format(workers=8, queue=1000) +
                                      f'shadow_conf = "{shadow.name}"\n')
            upload = self.upload(gateway)
            self.assertEqual(gateway.command("upgrade")[0], 0)
            conf = pathlib.Path(gateway.conf.name).read_text()
            gateway.wait_for_health(lambda h: h["limits"]["workers"] == 7, "the workers that the old one does not need")
            for workers in (4, 8):  # and a reload here leaves the old one its worker
                gateway.write_conf(conf.replace("workers = 8", f"workers = {workers}"))
                self.assertEqual(gateway.command("reload")[0], 0)
                self.assertEqual(gateway.health()["limits"]["workers"], workers - 1)
            for _ in range(20):
                self.assertEqual(gateway.request().status, 200)

            def known():
                work = json.loads(gateway.command("explain", "POST", "/v1/classify", "--json")[1])["estimate"]
                return gateway.health()["shadow"]["alike"], work["most_work_ms"] > 0
            self.assertEqual(known(), (20, True))
            upload.sendall(b" " * 10)
            self.assertEqual(read_answer(upload).status, 200)
            gateway.wait_for_log("the process before has ended")
            gateway.wait_for_health(lambda h: h["limits"]["workers"] == 8, "all the workers")
            self.assertEqual(known(), (20, True))

    def test_what_the_old_process_sent_on_is_known_when_it_comes_round_to_the_new_one(self):
        seen = []

        class Upstream(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.headers["Via"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        with ScriptedService(Upstream) as service:
            gateway = self.changeable(service.address, "")
            self.assertEqual(gateway.request("GET", "/a").status, 200)
            self.assertEqual(gateway.command("upgrade")[0], 0)
            gateway.wait()
            self.assertEqual(gateway.request("GET", "/b").status, 200)
            self.assertEqual(seen[0], seen[1])
            again = gateway.request("GET", "/c", headers={"Via": seen[0]})
            self.assertEqual((again.status, again.reason), (508, "loop_detected"))

    def test_what_is_in_flight_in_the_old_process_is_finished_there(self):
        service = self.service("--service-time", "300ms")
        gateway = self.changeable(service.address, BASE.format(workers=2, queue=10))
        connections = [gateway.connect() for _ in range(3)]
        for connection in connections:
            connection.request("POST", "/v1/classify", '{"text": "bread"}')
        gateway.wait_for_health(lambda h: (h["active_workers"], h["queue_size"]) == (2, 1), "two and one")
        code, out, _ = gateway.command("upgrade")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"process \d+ took over from \d+")
        for connection in connections:
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
            connection.close()
        self.assertEqual(gateway.request().status, 200)
        self.assertLessEqual(service.stats()["max_running"], 2)

    def failing(self, replacement, pattern, log="upgrade failed: .*; this process serves on", **settings):
        service = self.service("--service-time", "2ms")
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "classgate"
            shutil.copy(CLASSGATE, program)
            gateway = self.start(Changeable(service.address, conf=BASE.format(workers=50, queue=1000),
                                            program=program, **settings))
            os.unlink(program)
            if replacement:
                program.write_text(replacement)
                program.chmod(0o755)
            with Traffic(gateway.port, rate=300, clients=12) as traffic:
                wait_until(lambda: traffic.answered() > 100, "traffic")
                code, _, err = gateway.command("upgrade")
                self.assertEqual(code, 1)
                self.assertRegex(err, pattern)
                wait_until(lambda: traffic.answered() > 200, "traffic")
            self.assert_nothing_lost(traffic, 150)
            gateway.wait_for_log(log)
            self.assertIsNone(gateway.process.poll())
            self.assertEqual(gateway.command("status")[0], 0)

    def test_a_program_that_crashes_at_start_leaves_the_old_one_serving(self):
        self.failing("#!/bin/sh\nkill -SEGV $$\n", r"process \d+ ended before it was ready")

    def test_a_program_that_ends_at_once_leaves_the_old_one_serving(self):
        self.failing("#!/bin/sh\nexit 3\n", r"process \d+ ended before it was ready")

    def test_a_program_that_is_not_there_leaves_the_old_one_serving(self):
        self.failing(None, r"cannot start .*/classgate: No such file or directory", log="upgrade refused: cannot start")

    def test_a_program_that_never_gets_ready_is_ended(self):
        self.failing("#!/bin/sh\nexec sleep 60\n", "was not ready within ops.upgrade_timeout",
                     ops_upgrade_timeout="300ms")

    def test_a_conf_that_has_become_bad_leaves_the_old_one_serving(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        gateway.write_conf("workers = 3\n")
        code, _, err = gateway.command("upgrade")
        self.assertEqual(code, 1)
        self.assertIn("ended before it was ready", err)
        gateway.wait_for_log(":1:1: unknown key workers")
        self.assertEqual(gateway.request().status, 200)


    def test_a_successor_that_dies_after_the_hand_over_leaves_the_old_one_accepting(self):
        # Hand-over; the old process still reads an upload; kill -9 of the new one.
        service = self.service("--service-time", "2ms")
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        upload = self.upload(gateway)
        with Connecting(gateway.port) as clients:
            for round_ in range(2):
                wait_until(lambda n=clients.answered: clients.answered > n + 50, "traffic")
                code, out, _ = gateway.command("upgrade")
                self.assertEqual(code, 0, out)
                os.kill(gateway.pids()[-1], signal.SIGKILL)
                wait_until(lambda n=round_ + 1: gateway.err().count("accepts again") == n, gateway.err())
                wait_until(lambda n=clients.answered: clients.answered > n + 50, "traffic")
        self.assertEqual(clients.refused, 0)
        upload.sendall(b" " * 10)
        self.assertEqual(read_answer(upload).status, 200)
        self.assertEqual(gateway.command("status")[0], 0)
        self.assertEqual(gateway.health()["limits"]["workers"], 50)
        self.assertIsNone(gateway.process.poll())
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)

    def test_whatever_is_changed_in_between_the_old_one_accepts_again(self):
        # Any change but one of what is listened on: each kind of order, and a conf that says something else.
        def write_and_reload(gateway):
            gateway.write_conf(BASE.format(workers=50, queue=77))
            return gateway.command("reload")

        def hang_up(gateway):
            os.kill(gateway.pids()[-1], signal.SIGHUP)
            gateway.wait_for_log(r"\breloaded: ")
            return (0,)

        service = self.service()
        for change in (lambda gateway: gateway.command("set", "log.level", "info"),
                       lambda gateway: gateway.command("reload"), write_and_reload, hang_up,
                       lambda gateway: gateway.command("set", "ops.timeout", "7s")):
            gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
            self.upload(gateway)
            self.assertEqual(gateway.command("upgrade")[0], 0)
            self.assertEqual(change(gateway)[0], 0, gateway.err())
            os.kill(gateway.pids()[-1], signal.SIGKILL)
            gateway.wait_for_log("which took over, has ended")
            self.assertEqual(gateway.request().status, 200)
            gateway.wait_for_log("accepts again")
            self.assertEqual(gateway.command("status")[0], 0)

    def test_whoever_comes_where_the_new_one_does_not_listen_is_refused_at_once(self):
        # Not left in the backlog of a socket that the old process holds until it has drained.
        service = self.service()
        places = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        ports = [place.getsockname()[1] for place in places]
        for place in places:
            place.close()
        with tempfile.TemporaryDirectory() as folder:
            def write(listen, operators):
                pathlib.Path(folder, "conf").write_text(
                    f'listen = ["127.0.0.1:{listen}"]\n[upstream]\nservers = ["{service.address}"]\n[ops]\n'
                    f'listen = ["127.0.0.1:{operators}"]\ncontrol = "{folder}/control"\n')
            for before, after in ((ports[:2], [ports[2], ports[1]]), (ports[:2], [ports[0], ports[3]])):
                write(*before)
                program = self.start(Program([CLASSGATE, "--conf", folder + "/conf"]))
                program.wait_for_text("listening on", program.err)
                upload = socket.create_connection(("127.0.0.1", before[0]), timeout=60)
                upload.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n[")
                wait_until(lambda port=before[1]: get_json(port, "/queue/health")["connections"] == 1, "the upload")
                write(*after)
                done = subprocess.run([CLASSGATE, "--socket", folder + "/control", "upgrade"], capture_output=True,
                                      text=True, timeout=60, env=clean_environment())
                self.assertEqual(done.returncode, 0, done.stderr)
                new = int(re.search(r"process (\d+) took over", done.stdout).group(1))
                try:
                    program.wait_for_text("the one before would not accept again", program.err)
                    for left in set(before) - set(after):
                        wait_until(lambda port=left: is_refused(port), "a refusal")
                    for kept in after:
                        self.assertFalse(is_refused(kept))
                    self.assertIsNone(program.process.poll())
                finally:
                    os.kill(new, signal.SIGTERM)
                upload.close()
                program.signal(signal.SIGTERM)
                self.assertEqual(program.wait(), 0)
                wait_until(lambda: all(is_refused(port) for port in after), "the new one's end")

    def test_what_the_new_one_has_let_go_of_the_old_one_does_not_take_again(self):
        # Clients of the address that was let go are refused at once, now and when the new one dies.
        gateway = self.changeable(self.service().address, "[ops]\ntimeout = \"7s\"\n",
                                  environment={"CLASSGATE_OPS_LISTEN": "127.0.0.1:0, [::1]:0"})
        self.upload(gateway)
        self.assertEqual(gateway.command("upgrade")[0], 0)
        code, out, err = gateway.command("set", "ops.listen", "127.0.0.1:0")
        self.assertEqual(code, 0, out + err)
        gateway.wait_for_log("the one before would not accept again")
        os.kill(gateway.pids()[-1], signal.SIGKILL)
        gateway.wait_for_log("which took over, has ended")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.assertNotIn("accepts again", gateway.err())

    def test_a_successor_that_ends_in_order_leaves_nobody_listening(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        self.upload(gateway)
        self.assertEqual(gateway.command("upgrade")[0], 0)
        os.kill(gateway.pids()[-1], signal.SIGTERM)
        gateway.wait_for_log("which took over, has ended")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.assertNotIn("accepts again", gateway.err())

    def upload(self, gateway):
        """One whose body is not complete: its process drains for as long."""
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: t\r\nContent-Length: 10000\r\n\r\n" +
                           b'{"text": "we bake bread"}'.ljust(9990))
        gateway.wait_for_health(lambda h: h["connections"] == 1, "the upload")
        return connection


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
        return False
    except ConnectionRefusedError:
        return True


class Connecting(threading.Thread):
    """A client that makes a new connection for each request. Cut ones it tries again; how often it was refused
    one, and how often it was answered, is what counts."""

    def __init__(self, port):
        super().__init__()
        self.port = port
        self.over = threading.Event()
        self.refused = self.cut = self.answered = 0

    def run(self):
        while not self.over.wait(0.001):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    connection.sendall(raw_request())
                    if read_answer(connection) is None:
                        self.cut += 1
                    else:
                        self.answered += 1
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.cut += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Guardian(threading.Thread):
    """A service manager that keeps descriptors (FDSTORE=1) and gives them to the next process."""

    def __init__(self, folder):
        super().__init__()
        self.path = folder + "/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.over = threading.Event()
        self.kept = {}
        self.removed = []
        self.start()

    def run(self):
        while not self.over.is_set():
            if not select.select([self.socket], [], [], 0.05)[0]:
                continue
            text, fds, *_ = socket.recv_fds(self.socket, 4096, 4)
            lines = dict(line.split("=", 1) for line in text.decode().split("\n"))
            if "FDSTORE" in lines:
                # Out of the way of those that the next process gets, from 3 on.
                self.kept[lines["FDNAME"]] = fcntl.fcntl(fds[0], fcntl.F_DUPFD_CLOEXEC, 100)
                os.close(fds[0])
            elif "FDSTOREREMOVE" in lines:
                os.close(self.kept.pop(lines["FDNAME"]))
                self.removed.append(lines["FDNAME"])

    def wrapper(self):
        """Starts a program with what is kept."""
        moves = "".join(f"exec {3 + i}<&{fd};" for i, fd in enumerate(self.kept.values()))
        return ["bash", "-c", f"{moves} LISTEN_FDS={len(self.kept)} LISTEN_PID=$$ LISTEN_FDNAMES="
                f"{':'.join(self.kept)} exec \"$@\"", "bash"] if self.kept else []

    def close(self):
        self.over.set()
        self.join()
        for fd in self.kept.values():
            os.close(fd)
        self.socket.close()


class Crash(ChangeTest):
    def test_a_guardian_keeps_the_sockets_and_nobody_is_refused_when_the_process_is_killed(self):
        service = self.service("--service-time", "2ms")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        guardian = Guardian(folder.name)
        self.addCleanup(guardian.close)

        def start(port=0):
            return self.start(Changeable(
                service.address, conf=BASE.format(workers=50, queue=1000), wrapper=guardian.wrapper(),
                pass_fds=list(guardian.kept.values()),
                environment={"NOTIFY_SOCKET": guardian.path, "CLASSGATE_LISTEN": f"127.0.0.1:{port}"}))

        gateway = start()
        wait_until(lambda: len(guardian.kept) == 3, "clients', operators' and control socket")
        port = gateway.port
        with Connecting(port) as clients:
            for _ in range(5):
                wait_until(lambda n=clients.answered: clients.answered > n + 50, "traffic")
                gateway.signal(signal.SIGKILL)
                gateway.wait()
                gateway = start(port)
                self.assertEqual(gateway.port, port)
                wait_until(lambda n=clients.answered: clients.answered > n + 50, "traffic")
        self.assertEqual(clients.refused, 0)
        guardian.removed.clear()
        self.assertEqual(gateway.command("set", "ops.listen", "")[0], 0)
        wait_until(lambda: guardian.removed, "what is not listened on any more to be given up")
        self.assertRegex(guardian.removed[0], r"^classgate-operators\.127\.0\.0\.1%3A\d+$")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)
        wait_until(lambda: not guardian.kept, "all to be given up by one that is told to stop")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=30)


class SocketActivation(ChangeTest):
    """The socket is held by somebody else, who starts the gateway with it (sd_listen_fds(3))."""

    def activated(self, service, listener, **settings):
        given = listener.fileno()
        wrapper = ["sh", "-c", f'exec 3<&{given}; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=listen exec "$@"', "sh"]
        os.set_inheritable(given, True)
        gateway = Changeable(service.address, conf=BASE.format(workers=50, queue=1000), wrapper=wrapper,
                             pass_fds=[given], **settings)
        return self.start(gateway)

    def test_restarts_under_traffic_lose_nothing(self):
        service = self.service("--service-time", "5ms")
        listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        gateway = self.activated(service, listener)
        self.assertEqual(gateway.port, port)
        with Traffic(port, rate=500) as traffic:
            for i in range(3):
                wait_until(lambda i=i: traffic.answered() > 300 * (i + 1), "traffic")
                gateway.signal(signal.SIGTERM)
                self.assertEqual(gateway.wait(), 0)
                gateway = self.activated(service, listener)
        report = self.assert_nothing_lost(traffic)
        self.assertGreater(report["told_to_close"], 0)

    def test_an_upgrade_keeps_sockets_that_were_given(self):
        service = self.service()
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        gateway = self.activated(service, listener)
        self.assertEqual(gateway.command("upgrade")[0], 0)
        gateway.wait_for_log("the process before has ended")
        self.assertEqual(gateway.request().status, 200)
        self.assertEqual(gateway.command("upgrade")[0], 0)

    def test_a_descriptor_that_is_no_listening_socket_is_one_clear_line(self):
        service = self.service()
        done = subprocess.run(
            ["sh", "-c", 'exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", CLASSGATE, "--conf",
             "/dev/null"], capture_output=True, text=True, timeout=30,
            env=clean_environment({"CLASSGATE_UPSTREAM_SERVERS": service.address}))
        self.assertEqual(done.returncode, 1)
        self.assertIn("descriptor 3 was passed to us but is no listening stream socket", done.stderr)


class Control(ChangeTest):
    def test_a_socket_left_by_a_killed_process_is_replaced_and_a_living_one_is_respected(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        self.assertEqual(gateway.command("status")[0], 0)
        second = self.changeable(service.address, BASE.format(workers=50, queue=1000),
                                 environment={"CLASSGATE_OPS_CONTROL": gateway.control})
        second.wait_for_log("another program answers there")
        self.assertEqual(second.request().status, 200)
        gateway.signal(signal.SIGKILL)
        gateway.wait()
        code, _, err = gateway.command("status")
        self.assertEqual(code, 2)
        self.assertIn("classgate is not running", err)
        third = self.changeable(service.address, BASE.format(workers=50, queue=1000),
                                environment={"CLASSGATE_OPS_CONTROL": gateway.control})
        self.assertEqual(gateway.command("status")[0], 0)
        self.assertEqual(os.stat(gateway.control).st_mode & 0o777, 0o660)
        third.signal(signal.SIGTERM)
        self.assertEqual(third.wait(), 0)
        self.assertFalse(os.path.exists(gateway.control))

    def test_the_socket_is_there_after_every_reload(self):
        """One that is closed late removes the new one's file."""
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        for workers in (40, 30, 20):
            gateway.write_conf(BASE.format(workers=workers, queue=1000))
            self.assertEqual(gateway.command("reload")[0], 0)
            self.assertTrue(os.path.exists(gateway.control))
        self.assertEqual(gateway.command("status")[0], 0)

    def test_a_control_socket_that_cannot_be_is_refused_and_the_old_one_stays(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pathlib.Path(folder.name, "file").write_text("kept")
        other = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(folder.name + "/other")
        other.listen()
        for place, why in (("missing/sock", "No such file or directory"), ("file", "something else than a socket is there"),
                           ("other", "another program answers there"), ("x" * 120, "the path is too long")):
            path = f"{folder.name}/{place}"
            code, out, err = gateway.command("set", "ops.control", path)
            self.assertEqual(code, 1, out)
            self.assertIn(f"cannot listen on {path}: {why} (ops.control)", err)
            self.assertEqual(gateway.command("status")[0], 0)
        self.assertEqual(pathlib.Path(folder.name, "file").read_text(), "kept")
        # What fails for another reason leaves no socket behind, and a good one takes the old one's place.
        new = folder.name + "/new"
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            def write(control, workers):
                pathlib.Path(conf.name).write_text(
                    f'listen = ["127.0.0.1:0"]\n[upstream]\nservers = ["{gateway.address}"]\n[ops]\nlisten = []\n'
                    f'control = "{control}"\n[admission]\nworkers = {workers}\n')
            write(folder.name + "/old", 5)
            program = self.start(Program([CLASSGATE, "--conf", conf.name]))
            program.wait_for_text("listening on", program.err)

            def command(control, *words):
                return subprocess.run([CLASSGATE, "--socket", f"{folder.name}/{control}", *words], capture_output=True,
                                      text=True, env=clean_environment(), timeout=30)
            write(folder.name + "/missing/sock", 6)
            done = command("old", "reload")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("missing/sock: No such file or directory (ops.control)", done.stderr)
            write(new, '"no number"')
            self.assertEqual(command("old", "reload").returncode, 1)
            self.assertFalse(os.path.exists(new))
            write(new, 7)
            done = command("old", "reload")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertFalse(os.path.exists(folder.name + "/old"))
            self.assertIn(command("new", "status").returncode, (0, 1))
            program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(), 0)
            self.assertFalse(os.path.exists(new))

    def test_a_control_socket_whose_path_was_cleared_comes_back_with_a_reload(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        os.unlink(gateway.control)
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_log("reloaded: ")
        self.assertEqual(gateway.command("status")[0], 0)
        self.assertEqual(gateway.command("reload")[0], 0)

    def test_the_ops_port_taken_is_told_and_clients_are_served(self):
        service = self.service()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000),
                                  environment={"CLASSGATE_OPS_LISTEN": address})
        gateway.wait_for_log(f"cannot listen on {address}: Address already in use.*serving without it")
        self.assertEqual(gateway.request().status, 200)
        taken.close()
        self.assertEqual(gateway.command("reload")[0], 0)
        self.assertEqual(get_json(int(address.split(":")[1]), "/queue/health")["status"], "ok")

    def test_status_tells_by_its_exit_code(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        self.assertEqual(gateway.command("status", "--quiet"), (0, "", ""))
        service.end()
        self.assertEqual(gateway.request().status, 502)
        self.assertEqual(gateway.command("status", "--quiet"), (1, "", ""))
        gateway.signal(signal.SIGTERM)
        gateway.wait()
        self.assertEqual(gateway.command("status", "--quiet"), (2, "", ""))

    def test_status_tells_what_an_operator_wants_at_a_glance(self):
        service = self.service("--service-time", "5ms")
        gateway = self.changeable(service.address, BASE.format(workers=4, queue=100))
        with Traffic(gateway.port, rate=400, clients=20) as traffic:
            wait_until(lambda: traffic.answered() > 200, "traffic")
            code, page, _ = gateway.command("status")
        self.assertEqual(code, 0)
        self.assertRegex(page, r"classgate \S+  ok  up \d+s")
        self.assertRegex(page, r"workers      \[[#.]+\] \d of 4\n")
        self.assertRegex(page, r"queue        \[[#.]+\] \d+ of 100\n")
        self.assertGreater(int(re.search(r"now +(\d+) requests/s", page).group(1)), 50, page)
        self.assertIn(f"{service.address}", page)
        self.assertEqual(json.loads(gateway.command("status", "--json")[1])["status"], "ok")

    def test_queue_lists_every_waiting_request(self):
        service = self.service("--service-time", "400ms")
        gateway = self.changeable(service.address, BASE.format(workers=1, queue=10),
                                  client_trusted_proxies="127.0.0.1")
        connections = [gateway.connect() for _ in range(3)]
        for number, connection in enumerate(connections):
            connection.request("POST", ["/v1/classify", "/v1/classify/batch", "/v1/classify"][number],
                               '{"text": "bread"}' if number != 1 else '{"items": ["bread"]}',
                               {"X-Request-Id": f"number-{number}"})
            gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "arrival")
        waiters = json.loads(gateway.command("queue", "--json")[1])
        self.assertEqual([(w["id"], w["priority"]) for w in waiters], [("number-2", 3), ("number-1", 4)])
        for key in ("client", "age_ms", "deadline_ms", "cost", "bytes", "path", "method"):
            self.assertIn(key, waiters[0])
        self.assertIn("number-1", gateway.command("queue")[1])
        for connection in connections:
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()

    def test_drain_by_command(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=1, queue=10))
        self.assertEqual(gateway.command("drain"), (0, "draining\n", ""))
        self.assertEqual(gateway.wait(), 0)

    def test_operators_questions_are_not_answered_to_clients_nor_orders_on_tcp(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=1, queue=10))
        for path in ("/metrics", "/livez", "/readyz", "/queue/health/../../metrics", "/%6detrics", "//metrics",
                     "http://127.0.0.1:%d/metrics" % gateway.ops_port):
            body = gateway.request("GET", path, headers={"Host": f"127.0.0.1:{gateway.ops_port}"}).body
            self.assertNotIn(b"classgate_", body, path)
            self.assertNotIn(b"every event loop", body, path)
        for method, path in (("POST", "/reload"), ("POST", "/drain"), ("GET", "/queue"), ("GET", "/status"),
                             ("POST", "/set"), ("POST", "/upgrade"), ("GET", "/v1/classify")):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
            connection.request(method, path, "admission.workers=2" if method == "POST" else None)
            self.assertEqual(connection.getresponse().status, 404, path)
            connection.close()
        self.assertEqual(gateway.health()["limits"]["workers"], 1)


class OperatorsServer(ChangeTest):
    REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\n%s\r\n"

    def connect(self, gateway):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", gateway.ops_port))
        self.addCleanup(connection.close)
        return connection

    def test_one_that_does_not_read_costs_one_answer_and_is_closed_at_its_deadline(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=1, queue=10), ops_timeout="500ms",
                                  ops_max_connections=2)
        for _ in range(2):
            connection = self.connect(gateway)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(20000):
                    connection.send(self.REQUEST % b"")
            with contextlib.suppress(BlockingIOError):
                connection.send(self.REQUEST % b"Connection: close\r\n" + b"x")
        # Both are gone at their deadline, and others are answered.
        wait_until(lambda: try_scrape(gateway), "an answer to another")
        rss = float(re.search(r"\nprocess_resident_memory_bytes (\S+)", scrape(gateway)[1]).group(1))
        self.assertLess(rss, 64 << 20)
        self.assertEqual(gateway.request().status, 200)

    def test_pipelined_requests_are_answered_in_order_and_close_ends_it(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=1, queue=10))
        connection = self.connect(gateway)
        connection.sendall(self.REQUEST % b"" * 3 + self.REQUEST % b"Connection: close\r\n" + self.REQUEST % b"")
        connection.shutdown(socket.SHUT_WR)
        text = b""
        while part := connection.recv(65536):
            text += part
        self.assertEqual(text.count(b"HTTP/1.1 200 OK"), 4)

    def test_a_request_with_its_end_is_answered(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=1, queue=10))
        connection = self.connect(gateway)
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        text = b""
        while part := connection.recv(65536):
            text += part
        self.assertTrue(text.endswith(b"ready\n"), text)


class Watchdog(ProcessTest):
    def test_it_is_fed_only_while_every_loop_turns(self):
        service = self.service()
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(folder + "/notify")
            manager.settimeout(20)
            gateway = self.start(Gateway(service.address, threads=2, environment={
                "NOTIFY_SOCKET": folder + "/notify", "WATCHDOG_USEC": "400000"}))
            self.assertIn("READY=1", manager.recv(4096).decode())
            text = manager.recv(4096).decode()
            while text.startswith("FDSTORE=1"):  # the sockets, for a crash
                text = manager.recv(4096).decode()
            self.assertEqual(text, "WATCHDOG=1")
            self.assertEqual(manager.recv(4096).decode(), "WATCHDOG=1")
            # One loop is held in its next system call.
            loops = sorted(int(p.name) for p in pathlib.Path(f"/proc/{gateway.process.pid}/task").iterdir()
                           if (p / "wchan").exists())
            held = [t for t in loops if pathlib.Path(f"/proc/{t}/comm").read_text().startswith("loop")]
            self.assertEqual(len(held), 2)
            holder = subprocess.Popen(
                ["strace", "-qq", "-o", "/dev/null", "-p", str(held[-1]), "-e", "trace=epoll_wait,epoll_pwait",
                 "-e", "inject=epoll_wait,epoll_pwait:delay_enter=60s"])
            try:
                gateway.wait_for_text("an event loop does not turn: the watchdog is not fed", gateway.err)
            finally:
                holder.kill()
                holder.wait()


if __name__ == "__main__":
    unittest.main()
