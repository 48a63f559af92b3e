#!/usr/bin/env python3
"""Whoever asks and orders a running gateway: the control socket, the server for operators, the watchdog."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from changeable import BASE, ChangeTest
from kit import CLASSGATE, Gateway, Held, ProcessTest, Program, clean_environment, free_port, get_json, loops_of, scrape, wait_until
from traffic import Traffic


def try_scrape(gateway):
    try:
        return "classgate_build_info" in scrape(gateway)[1]
    except (OSError, http.client.HTTPException):
        return False


class Control(ChangeTest):
    def test_a_socket_left_by_a_killed_process_is_replaced_and_a_living_one_is_respected(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        gateway.do("status")
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
        gateway.do("status")
        self.assertEqual(os.stat(gateway.control).st_mode & 0o777, 0o660)
        third.signal(signal.SIGTERM)
        self.assertEqual(third.wait(), 0)
        self.assertFalse(os.path.exists(gateway.control))

    def test_the_socket_is_there_after_every_reload(self):
        """One that is closed late removes the new one's file."""
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        for workers in (40, 30, 20):
            gateway.write_conf(BASE.format(workers=workers, queue=1000))
            gateway.do("reload")
            self.assertTrue(os.path.exists(gateway.control))
        gateway.do("status")

    def test_what_would_cut_the_operator_off_is_not_set_at_run_time(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        for key, value, why in (("ops.control", "off", "would close the socket by which this order came"),
                                ("ops.timeout", "1ms", "might not be done within 1 ms"),
                                ("ops.reload_timeout", "999ms", "might not be done within 999 ms")):
            before = gateway.command("status", "--json")
            code, out, err = gateway.command("set", key, value)
            self.assertEqual((code, out), (1, ""), err)
            self.assertIn(f"{key}: ", err)
            self.assertIn(why, err)
            self.assertIn("in the conf, and reload", err)
            self.assertTrue(os.path.exists(gateway.control))
            self.assertEqual(json.loads(gateway.command("status", "--json")[1])["conf"], json.loads(before[1])["conf"])
        gateway.do("set", "ops.timeout", "1s")
        gateway.do("set", "ops.reload_timeout", "1s")
        moved = gateway.control + ".moved"
        self.assertEqual(gateway.command("set", "ops.control", moved),
                         (0, f"ops.control = {moved} until the next reload\nfrom now on: classgate --socket {moved}\n", ""))
        self.assertFalse(os.path.exists(gateway.control))
        self.assertTrue(os.path.exists(moved))

    def test_a_wrong_form_of_set_is_told_the_right_one(self):
        plans = "".join(f'[[plan]]\nname = "{name}"\nclients = ["{name}"]\n' for name in ("gold", "a=b", "c.d"))
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000) +
                                  '[fairness]\nidentity = ["header:X-Api-Key"]\n' + plans +
                                  '[[route]]\npath = "/r=x"\npriority = 3\n')
        for plan in ("gold", "a=b", "c.d"):
            gateway.do("set", f"plan.{plan}.rate", "5")
        table = "what a [[{0}]] says is changed in the conf: write it in the [[{0}]] there, and reload"
        for words, why in ((("route./r.rate", "5"), "route./r.rate: " + table.format("route")),
                           (("route./r=x.rate", "5"), table.format("route")),
                           (("listener.x.identity", "bearer"), table.format("listener")),
                           (("plan", "5"), "plan: write plan.NAME.KEY, such as plan.gold.rate"),
                           (("plan.gold", "5"), "plan.gold: write plan.NAME.KEY, such as plan.gold.rate"),
                           (("plan.gold.rat", "5"), "plan.gold.rat: unknown key rat of a plan; did you mean rate?"),
                           (("plan.glod.rate", "5"), 'plan.glod.rate: there is no plan "glod"; did you mean "gold"?'),
                           (("plan.a=b.rate", "-1"), "plan.a=b.rate: -1 is out of range"),
                           (("plan.gold.rate", "x"), 'plan.gold.rate: "x" is not a number'),
                           (("admission.rate=5", "6"), 'write classgate set admission.rate VALUE, without "="')):
            code, out, err = gateway.command("set", *words)
            self.assertEqual((code, out), (1, ""), err)
            self.assertIn(why, err)

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
            gateway.do("status")
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

    def test_a_bad_conf_does_not_send_an_order_to_another_process(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            def command(text, *words):
                pathlib.Path(conf.name).write_text(text)
                return subprocess.run([CLASSGATE, "--conf", conf.name, *words], capture_output=True, text=True,
                                      env=clean_environment(), timeout=30)
            ours = f'[ops]\ncontrol = "{gateway.control}"\n'
            for wrong in ("", '[clients]\nclients_file = "/no/such"\n', "[admission]\nworkers = 0\n", "[admission\n"):
                done = command(ours + wrong, "status")
                self.assertEqual(done.returncode, 0, done.stderr)
            for word in ("status", "reload", "drain"):
                done = command(ours.replace("]", ""), word)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(f"{conf.name}:1:", done.stderr)
                self.assertIn("name the socket with --socket", done.stderr)

    def test_every_command_does_its_work_or_says_why_not_while_the_conf_on_the_disk_is_bad(self):
        """It was good when it was read: the gateway runs, and nobody is to be told that it does not."""
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))

        def command(*words):
            done = subprocess.run([CLASSGATE, "--conf", gateway.conf.name, *words], capture_output=True, text=True,
                                  env=clean_environment(), timeout=60)
            return done.returncode, done.stdout, done.stderr
        every = (("status",), ("status", "--live"), ("queue",), ("explain", "GET", "/health"), ("why", "nobody's"),
                 ("set", "admission.workers", "9"), ("forget", "c_00000000"), ("reload",), ("upgrade",), ("drain",))
        # Of what is no TOML nobody knows where the gateway listens.
        gateway.write_conf(f'[ops\ncontrol = "{gateway.control}"\n')
        for words in every + (("conf", "rollback"),):
            status, out, err = command(*words)
            self.assertNotEqual(status, 0, words)
            self.assertNotIn("is not running", err)
            if words[0] != "conf":
                self.assertEqual((status, out), (2, ""), words)
                self.assertRegex(err, r":1:\d+: this is not TOML")
                self.assertIn("name the socket with --socket", err)
        gateway.write_conf(f'[ops]\ncontrol = "{gateway.control}"\n[admission]\nworkers = 0\n')
        for words in every:
            status, out, err = command(*words)
            self.assertNotIn("is not running", err)
            if words[0] in ("reload", "upgrade"):
                self.assertEqual(status, 1, words)
                self.assertIn("admission.workers: 0 is out of range", err + gateway.err())
            elif words[0] == "why":
                self.assertEqual(status, 1)
                self.assertIn("nothing is known of nobody's", err)
            elif words[0] != "forget":
                self.assertEqual(status, 0, f"{words}: {out}{err}")
        self.assertEqual(gateway.wait(), 0)

    def test_a_control_socket_whose_path_was_cleared_comes_back_with_a_reload(self):
        gateway = self.changeable(self.service().address, BASE.format(workers=50, queue=1000))
        os.unlink(gateway.control)
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_log("reloaded: ")
        gateway.do("status")
        gateway.do("reload")

    def test_the_ops_port_taken_is_told_and_clients_are_served(self):
        service = self.service()
        taken = socket.create_server(("127.0.0.1", free_port()))
        self.addCleanup(taken.close)
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000),
                                  environment={"CLASSGATE_OPS_LISTEN": address})
        gateway.wait_for_log(f"cannot listen on {address}: Address already in use.*serving without it")
        self.assertEqual(gateway.request().status, 200)
        taken.close()
        gateway.do("reload")
        self.assertEqual(get_json(int(address.split(":")[1]), "/queue/health")["status"], "ok")

    def test_status_tells_by_its_exit_code(self):
        service = self.service()
        gateway = self.changeable(service.address, BASE.format(workers=50, queue=1000))
        self.assertEqual(gateway.command("status", "--quiet"), (0, "", ""))
        service.end()
        self.assertEqual(gateway.request().status, 502)
        self.assertEqual(gateway.command("status", "--quiet"), (1, "", ""))
        gateway.signal(signal.SIGSTOP)
        try:
            code, out, err = gateway.command("status")
        finally:
            gateway.signal(signal.SIGCONT)
        self.assertEqual((code, out), (2, ""))
        self.assertIn("nothing came for 10 s, and the answer is not complete: is the process stopped?", err)
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
        service = Held()
        self.addCleanup(service.close)
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
        for key in ("client", "client_id", "address", "age_ms", "deadline_ms", "cost", "bytes", "path", "method"):
            self.assertIn(key, waiters[0])
        self.assertIn("number-1", gateway.command("queue")[1])
        service.release.set()
        for connection in connections:
            self.assertEqual(connection.getresponse().status, 204)
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
            held = loops_of(gateway.process.pid)
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
