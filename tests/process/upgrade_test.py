#!/usr/bin/env python3
"""Upgrades under traffic, a process that dies, restarts with socket activation. (Long, because each step of an
upgrade may fail, and must leave one process that serves.)"""
import contextlib
import fcntl
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

from changeable import BASE, Changeable, ChangeTest
from kit import CLASSGATE, Held, Program, ScriptedService, clean_environment, free_port, get_json, is_refused, raw_request, read_answer, wait_until
from traffic import Traffic


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
        gateway.do("status")
        self.assertEqual(gateway.wait(), 0)  # the first of them

    def test_a_new_process_that_has_no_worker_yet_says_who_has_them(self):
        # The only worker is taken by a request in the old process: "0 of 0" said nothing.
        gateway = self.changeable(self.service("--service-time", "20s").address, BASE.format(workers=1, queue=1000))
        waiting = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.addCleanup(waiting.close)
        waiting.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}")
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "the request")
        gateway.do("upgrade")
        wait_until(lambda: "0 of 0: the process before the upgrade still has all of them" in gateway.command("status")[1],
                   "what the new process says")

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
            gateway.do("upgrade")
            conf = pathlib.Path(gateway.conf.name).read_text()
            gateway.wait_for_health(lambda h: h["limits"]["workers"] == 7, "the workers that the old one does not need")
            for workers in (4, 8):  # and a reload here leaves the old one its worker
                gateway.write_conf(conf.replace("workers = 8", f"workers = {workers}"))
                gateway.do("reload")
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
            gateway.do("upgrade")
            gateway.wait()
            self.assertEqual(gateway.request("GET", "/b").status, 200)
            self.assertEqual(seen[0], seen[1])
            again = gateway.request("GET", "/c", headers={"Via": seen[0]})
            self.assertEqual((again.status, again.reason), (508, "loop_detected"))

    def test_what_is_in_flight_in_the_old_process_is_finished_there(self):
        service = Held()  # however long the upgrade takes
        self.addCleanup(service.close)
        gateway = self.changeable(service.address, BASE.format(workers=2, queue=10))
        connections = [gateway.connect() for _ in range(3)]
        for connection in connections:
            connection.request("GET", "/x")
        gateway.wait_for_health(lambda h: (h["active_workers"], h["queue_size"]) == (2, 1), "two and one")
        code, out, _ = gateway.command("upgrade")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"process \d+ took over from \d+")
        service.release.set()
        for connection in connections:
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Connection")), (204, "close"))
            connection.close()
        self.assertEqual(gateway.request("GET", "/x").status, 204)
        self.assertLessEqual(service.most, 2)

    # A queue of minutes kept all workers: who came to the new process, /health too, waited until it was empty.
    def test_whoever_comes_to_the_new_process_does_not_wait_for_the_whole_queue_of_the_old_one(self):
        service = Held()
        self.addCleanup(service.close)
        gateway = self.changeable(service.address, BASE.format(workers=4, queue=20))
        waiting = [gateway.connect() for _ in range(12)]
        for connection in waiting:
            connection.request("GET", "/x")
        gateway.wait_for_health(lambda h: (h["active_workers"], h["queue_size"]) == (4, 8), "four and eight")
        self.assertRegex(gateway.do("upgrade"), r"process \d+ took over from \d+")
        # What comes in that moment the old process may still have accepted: it waits there, and another one comes.
        for _ in range(5):
            urgent = gateway.connect()
            urgent.request("GET", "/health")
            with contextlib.suppress(AssertionError):
                gateway.wait_for_health(lambda h: h["queue_size"] == 1, "/health before the new process", seconds=2)
                break
            waiting.append(urgent)
        # The old process may still give away the first that comes back: it learns of the new one meanwhile.
        for came in range(5, 8):
            service.let_go()
            wait_until(lambda: len(service.paths) == came, "who comes next in the service, of which a worker came back")
            if "/health" in service.paths:
                break
        self.assertIn("/health", service.paths)
        service.release.set()
        for connection in (*waiting, urgent):
            self.assertEqual(connection.getresponse().status, 204)
            connection.close()
        self.assertLessEqual(service.most, 4)

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
            gateway.do("status")

    def test_one_that_is_asked_for_an_upgrade_before_it_serves_does_not_end_of_it(self):
        # SIGUSR2 while it reads its conf, which takes a while; it serves; it upgrades.
        def blocked():
            mask = re.search(r"SigBlk:\s+(\w+)", pathlib.Path(f"/proc/{program.process.pid}/status").read_text())
            return {number for number in (signal.SIGUSR2, signal.SIGTERM) if int(mask.group(1), 16) >> number - 1 & 1}
        with tempfile.TemporaryDirectory(prefix="classgate-test-") as folder:
            conf = pathlib.Path(folder) / "classgate.conf"
            conf.write_text(BASE.format(workers=50, queue=1000))
            conf.with_name("conf.d").mkdir()
            for number in range(8):
                (conf.with_name("conf.d") / f"{number}.conf").write_text("# nothing but a comment, as long as this\n" * 25_000)
            program = self.start(Program([CLASSGATE, "--conf", conf], {
                "CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_UPSTREAM_SERVERS": "127.0.0.1:9", "CLASSGATE_OPS_LISTEN": "",
                "CLASSGATE_OPS_CONTROL": "off", "CLASSGATE_STATE_DIR": folder}))
            early = wait_until(blocked, "signals that wait")
            self.assertEqual(early, {signal.SIGUSR2})  # one that is to end does
            program.signal(signal.SIGUSR2)
            successor = program.wait_for_text(r"started \S+ as process (\d+)", program.err).group(1)
            self.assertIsNone(program.process.poll())
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(successor), signal.SIGKILL)

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
        gateway.do("status")
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
            gateway.do("upgrade")
            self.assertEqual(change(gateway)[0], 0, gateway.err())
            os.kill(gateway.pids()[-1], signal.SIGKILL)
            gateway.wait_for_log("which took over, has ended")
            self.assertEqual(gateway.request().status, 200)
            gateway.wait_for_log("accepts again")
            gateway.do("status")

    def test_whoever_comes_where_the_new_one_does_not_listen_is_refused_at_once(self):
        # Not left in the backlog of a socket that the old process holds until it has drained.
        service = self.service()
        ports = []
        while len(ports) < 4:
            ports += {free_port()} - set(ports)
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
        gateway.do("upgrade")
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
        gateway.do("upgrade")
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
        gateway.do("set", "ops.listen", "")
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
        gateway.do("upgrade")
        gateway.wait_for_log("the process before has ended")
        self.assertEqual(gateway.request().status, 200)
        gateway.do("upgrade")

    def test_a_descriptor_that_is_no_listening_socket_is_one_clear_line(self):
        service = self.service()
        done = subprocess.run(
            ["sh", "-c", 'exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", CLASSGATE, "--conf",
             "/dev/null"], capture_output=True, text=True, timeout=30,
            env=clean_environment({"CLASSGATE_UPSTREAM_SERVERS": service.address}))
        self.assertEqual(done.returncode, 1)
        self.assertIn("descriptor 3 was passed to us but is no listening stream socket", done.stderr)


if __name__ == "__main__":
    unittest.main()
