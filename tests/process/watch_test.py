#!/usr/bin/env python3
"""classgate status --watch: on terminals of all sizes, on none, and while the gateway comes and goes. (Long, because the
terminal that it is shown on stands here too.)"""
import codecs
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import tempfile
import termios
import threading
import time
import unicodedata
import unittest

from kit import CLASSGATE, Program, ProcessTest, clean_environment, wait_until

SIZES = [(50, 15), (80, 24), (132, 43), (200, 60)]
ENDS_WITHIN = 20


def health(requests=1000, uptime=100, **more):
    """What /status says, with all that the page shows."""
    answers = {"2xx": requests, "3xx": 0, "4xx": 0, "5xx": requests // 10}
    return {
        "status": "overloaded", "version": "1.2.3", "uptime_seconds": uptime,
        "last_updated": "2026-01-02T03:04:05Z", "total_requests": requests,
        "processed_requests": requests // 2, "rejected_requests": requests // 4,
        "failed_requests": requests // 8, "abandoned_requests": 0, "active_workers": 31, "queue_size": 7,
        "connections": 12, "streams": 0, "workers_without_client": 0,
        "queue_by_priority": {"1": 0, "2": 0, "3": 5, "4": 2, "5": 0},
        "wait_time_ms": {"p50": 1.5, "p95": 20.25, "p99": 130.0},
        "process_time_ms": {"p50": 30.0, "p95": 60.0, "p99": 90.0},
        "limits": {"workers": 50, "queue_size": 1000, "connections": 1024, "rate": 100.0, "burst": 200.0},
        "rejected_by_reason": {"queue_full": requests // 4, "client_rate": 3},
        "failed_by_reason": {"upstream_timeout": requests // 8},
        "upstream": {"127.0.0.1:9000": "reachable"}, "upstream_answers": {"127.0.0.1:9000": answers},
        "conf": {"set_at_run_time": {}, "last_reload_failed": False, "last_reload_error": ""}, **more}


class Control:
    """A control socket that answers what a test says, `moves` a second more requests each time."""

    def __init__(self, path, moves=100, **more):
        self.path, self.moves, self.more = str(path), moves, more
        self.requests, self.answered, self.targets, self.is_mute = 1000, 0, [], False
        self.began = time.monotonic()
        self.held = []
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(16)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            head = connection.recv(65536)
            if not head:
                connection.close()
                return
            self.targets.append(head.split()[1].decode())
            if self.is_mute:
                self.held.append(connection)
                continue
            requests = self.requests + int(self.moves * (time.monotonic() - self.began))
            body = json.dumps(health(requests, **self.more)).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                               % len(body) + body)
            connection.close()
            self.answered += 1

    def end(self):
        """An end that the loop hears: a connection without a question."""
        if self.listening.fileno() >= 0:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(self.path)
            self.thread.join(ENDS_WITHIN)
            self.listening.close()
            os.unlink(self.path)
        for connection in self.held:
            connection.close()


class Screen:
    """As much of a terminal as the page needs. What it does not know it keeps in `unknown`."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.scrolled = 0
        self.unknown, self.modes = [], {}
        self.rest = ""
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.rows)]
        self.row = self.column = 0

    def feed(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            if text[at] == "\033":
                match = re.compile(r"\033\[(\??)([0-9;]*)([A-Za-z])").match(text, at)
                if not match:
                    if len(text) - at < 16:
                        break
                    self.unknown.append(text[at:at + 16])
                    at += 1
                    continue
                self.sequence(*match.groups())
                at = match.end()
                continue
            self.put(text[at])
            at += 1
        self.rest = text[at:]

    def sequence(self, private, numbers, letter):
        if private and letter in "hl":
            self.modes[numbers] = letter == "h"
        elif letter == "H" and not numbers:
            self.row = self.column = 0
        elif letter == "K" and not numbers:
            self.cells[self.row][self.column:] = [" "] * (self.columns - self.column)
        elif letter == "J" and numbers in ("", "2"):
            first = self.row + 1 if not numbers else 0
            for row in range(first, self.rows):
                self.cells[row] = [" "] * self.columns
            if not numbers:
                self.cells[self.row][self.column:] = [" "] * (self.columns - self.column)
        elif letter != "m":
            self.unknown.append(f"{private}{numbers}{letter}")

    def put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            if self.row == self.rows - 1:
                self.scrolled += 1
            else:
                self.row += 1
        elif ord(char) < 32 or 127 <= ord(char) < 160:
            self.unknown.append(repr(char))
        else:
            width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if self.column + width > self.columns:
                self.unknown.append(f"beyond the edge: {char!r}")
                return
            self.cells[self.row][self.column] = char
            for more in range(1, width):
                self.cells[self.row][self.column + more] = ""
            self.column += width

    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]

    def text(self):
        return "\n".join(self.lines())


class Watch:
    """The command on a terminal of its own."""

    def __init__(self, socket_path, columns=80, rows=24, *words, term="xterm-256color"):
        self.screen = Screen(columns, rows)
        self.raw = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            environment = clean_environment({"TERM": term, "LC_ALL": "C.UTF-8"})
            os.execve(CLASSGATE, [str(CLASSGATE), "status", "--watch", "--socket", str(socket_path), *words],
                      environment)
        self.before = None

    def read(self):
        if select.select([self.fd], [], [], 0.05)[0]:
            try:
                text = self.decoder.decode(os.read(self.fd, 65536))
            except OSError:  # it has ended
                return
            self.raw += text
            self.screen.feed(text)

    def wait_for(self, claim, what):
        def seen():
            self.read()
            return claim(self.screen.text())
        try:
            return wait_until(seen, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen.text()}") from None

    def shows(self, pattern):
        return self.wait_for(lambda text: re.search(pattern, text), pattern)

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def resize(self, columns, rows):
        self.screen = Screen(columns, rows)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def local_modes(self):
        return termios.tcgetattr(self.fd)[3]

    def wait(self, flags=0):
        """The status that it ended or stopped with."""
        def ended():
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG | flags)
            return (status,) if pid else None
        self.status = wait_until(ended, "the end of status --watch", ENDS_WITHIN)[0]
        return self.status

    def end(self):
        if self.status is None or os.WIFSTOPPED(self.status):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


class WatchTest(ProcessTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="classgate-watch-")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "control"

    def control(self, **more):
        control = Control(self.path, **more)
        self.addCleanup(control.end)
        return control

    def watch(self, *words, **more):
        watch = Watch(self.path, *words, **more)
        self.addCleanup(watch.end)
        return watch

    def check_page(self, watch):
        lines = watch.screen.lines()
        self.assertRegex(lines[0], r"^(overloaded|ok|no answer)")
        self.assertRegex(lines[-1], r"q quit")
        self.assertEqual((watch.screen.scrolled, watch.screen.unknown), (0, []))

    def test_the_page_fits_terminals_of_every_size_and_its_head_stays(self):
        many = {f"reason_{i}": i for i in range(100)}
        self.control(rejected_by_reason=many,
                     upstream={f"10.0.0.{i}:9000": "reachable" for i in range(40)},
                     upstream_answers={f"10.0.0.{i}:9000": {"5xx": 1} for i in range(40)})
        for columns, rows in SIZES:
            with self.subTest(columns=columns, rows=rows):
                watch = self.watch(columns, rows)
                watch.shows(r"(?m)^requests/s +\d")
                self.check_page(watch)
                for word in ("workers", "queue", "wait", "upstream", "processed/s", "refused/s", "failed/s",
                             "refused and failed", "servers"):
                    self.assertRegex(watch.screen.text(), rf"(?m)^{word}")
                self.assertRegex(watch.screen.text(), r"\(\d+ more\)")
                used = sum(1 for line in watch.screen.lines() if line)
                self.assertGreaterEqual(used, rows - 1, "room is left, and lines are hidden")

    def test_smaller_terminals_show_what_goes_in(self):
        self.control()
        for columns, rows in [(1, 1), (3, 2), (20, 5), (49, 3)]:
            with self.subTest(columns=columns, rows=rows):
                watch = self.watch(columns, rows)
                watch.wait_for(lambda text: text.strip(), "anything")
                self.assertEqual((watch.screen.scrolled, watch.screen.unknown), (0, []))

    def test_a_new_size_is_drawn_at_once(self):
        self.control()
        watch = self.watch(80, 24)
        watch.shows(r"(?m)^requests/s")
        watch.type("p")
        watch.shows("PAUSED")  # so that nothing but the size makes it draw
        for columns, rows in [(50, 15), (200, 60), (81, 25)]:
            watch.resize(columns, rows)
            watch.shows("(?m)^failed/s")
            watch.wait_for(lambda _: "q quit" in watch.screen.lines()[-1], "keys in the last line")
            self.check_page(watch)

    def test_rates_are_shown_with_the_last_minute_as_a_line(self):
        self.control(moves=200)
        watch = self.watch(80, 24)

        def rate():
            match = re.search(r"(?m)^requests/s +(\d+(?:\.\d+)?) +[▁-█]", watch.screen.text())
            return match and float(match.group(1))

        # A machine that is busy may hear two answers late, and one after the other.
        watch.wait_for(lambda _: rate() and 100 < rate() < 400, "some 200 requests a second")
        watch.shows(r"(?m)^requests/s .*[▁-█]{3}")

    def test_p_pauses_and_goes_on(self):
        control = self.control()
        watch = self.watch()
        watch.shows("p pause")
        watch.type("p")
        watch.shows("PAUSED.*p go on")
        wait_until(lambda: control.answered == len(control.targets), "the last answer")
        asked = len(control.targets)
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            watch.read()
        self.assertEqual(len(control.targets), asked)
        watch.type("p")
        wait_until(lambda: len(control.targets) > asked, "another question")
        watch.shows("q quit  p pause")

    def test_s_sorts_by_rate_total_and_name(self):
        self.control(rejected_by_reason={"zebra": 10, "apple": 3})
        watch = self.watch()

        def order():
            return re.findall(r"(?m)^  (zebra|apple|upstream_timeout)", watch.screen.text())

        watch.shows("sort: rate")
        watch.wait_for(lambda _: order()[:1] == ["upstream_timeout"], "what comes most a second first")
        watch.type("s")
        watch.shows("sort: total")
        self.assertEqual(order(), ["upstream_timeout", "zebra", "apple"])
        watch.type("s")
        watch.shows("sort: name")
        self.assertEqual(order(), ["apple", "upstream_timeout", "zebra"])
        watch.type("s")
        watch.shows("sort: rate")

    def test_c_asks_for_the_clients(self):
        client = {"id": "c_1234", "name": None, "address": "10.1.2.3", "plan": "gold", "active_workers": 4,
                  "waiting": 2, "tokens": 1.25, "burst": 20.0}
        control = self.control(top_clients=[client])
        watch = self.watch()
        watch.shows("c clients")
        watch.type("c")
        wait_until(lambda: "/status?clients=50" in control.targets, "a question for clients")
        self.assertEqual(control.targets[0], "/status")
        watch.shows(r"c_1234 +4 +2 +1\.25 +gold +10\.1\.2\.3")

    def test_what_others_have_written_is_text(self):
        evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\u202eabc"
        client = {"id": evil, "name": evil + "名前" * 200, "address": evil, "plan": evil, "active_workers": 4,
                  "waiting": 2, "tokens": None, "burst": None}
        self.control(top_clients=[client] * 3, rejected_by_reason={evil: 7}, version=evil, status=evil,
                     last_updated=evil, upstream={evil: evil}, upstream_answers={evil: {"5xx": 0}},
                     conf={"set_at_run_time": {evil: evil}, "last_reload_failed": True, "last_reload_error": evil})
        for columns, rows in SIZES:
            watch = self.watch(columns, rows)
            watch.shows(r"(?m)^requests/s +\d")
            self.assertEqual((watch.screen.scrolled, watch.screen.unknown), (0, []))
            self.assertIn(r"\x1b[2J", watch.screen.text())
            self.assertEqual(set(watch.screen.modes), {"1049", "25", "7"})

    def test_q_leaves_the_terminal_as_it_was(self):
        self.control()
        watch = self.watch()
        before = watch.local_modes()
        watch.shows(r"(?m)^requests/s +\d")
        self.assertEqual(watch.local_modes() & (termios.ICANON | termios.ECHO), 0)
        watch.type("q")
        self.assertEqual(os.waitstatus_to_exitcode(watch.wait()), 0)
        watch.read()
        self.assertEqual(watch.screen.modes, {"1049": False, "25": True, "7": True})
        self.assertNotEqual(before & termios.ICANON, 0)

    def test_ctrl_c_and_a_signal_end_it_as_such_and_leave_the_terminal_as_it_was(self):
        self.control()
        for number, how in [(signal.SIGINT, lambda watch: watch.type("\x03")),
                            (signal.SIGTERM, lambda watch: os.kill(watch.pid, signal.SIGTERM))]:
            watch = self.watch()
            before = watch.local_modes()
            watch.shows(r"(?m)^requests/s +\d")
            self.assertNotEqual(watch.local_modes(), before)
            modes = []
            how(watch)
            # The terminal's settings are gone with the last process that has it: looked at before.
            def is_back():
                watch.read()
                modes.append(watch.local_modes())
                return watch.screen.modes.get("1049") is False
            wait_until(is_back, "the other screen")
            status = watch.wait()
            self.assertTrue(os.WIFSIGNALED(status), status)
            self.assertEqual(os.WTERMSIG(status), number)
            self.assertEqual(watch.screen.modes, {"1049": False, "25": True, "7": True})

    def test_ctrl_z_gives_the_terminal_back_and_fg_draws_again(self):
        self.control()
        watch = self.watch()
        before = watch.local_modes()
        watch.shows(r"(?m)^requests/s +\d")
        watch.type("\x1a")
        self.assertTrue(os.WIFSTOPPED(watch.wait(os.WUNTRACED)))
        watch.read()
        self.assertEqual((watch.local_modes(), watch.screen.modes), (before, {"1049": False, "25": True, "7": True}))
        watch.screen.clear()
        os.kill(watch.pid, signal.SIGCONT)
        watch.shows(r"(?m)^requests/s +\d")
        self.assertEqual(watch.screen.modes, {"1049": True, "25": False, "7": False})
        self.assertEqual(watch.local_modes() & termios.ICANON, 0)
        watch.status = None
        watch.type("q")
        self.assertEqual(os.waitstatus_to_exitcode(watch.wait()), 0)

    def test_a_gateway_that_goes_and_comes_back_is_told(self):
        control = self.control(uptime=500)
        watch = self.watch()
        watch.shows(r"(?m)^requests/s +\d")
        control.end()
        watch.shows(r"(?m)^no answer for .*classgate is not running")
        self.check_page(watch)
        watch.shows(r"(?m)^no answer for [2-9]s")  # it goes on asking
        again = Control(self.path, uptime=1)
        self.addCleanup(again.end)
        watch.shows(r"(?m)^overloaded +up 1s \(restarted 1x\)")
        watch.shows(r"(?m)^requests/s +\d")
        self.check_page(watch)

    def test_a_gateway_that_does_not_answer_is_told_and_q_still_quits(self):
        control = self.control()
        watch = self.watch()
        watch.shows(r"(?m)^requests/s +\d")
        control.is_mute = True
        watch.shows("(?m)^no answer for .*no answer, though somebody listens")
        watch.type("q")
        self.assertEqual(os.waitstatus_to_exitcode(watch.wait()), 0)

    def test_who_is_not_there_at_first_is_not_waited_for(self):
        watch = self.watch(200, 24)
        self.assertEqual(os.waitstatus_to_exitcode(watch.wait()), 2)
        watch.read()
        self.assertIn("classgate is not running", watch.screen.text())
        self.assertEqual(watch.screen.modes, {})

    def test_a_terminal_that_draws_nothing_gets_lines(self):
        self.control()
        watch = self.watch(200, 24, term="dumb")
        watch.shows(r"status=overloaded requests_per_second=\d")
        self.assertEqual(watch.screen.modes, {})

    def test_without_a_terminal_it_writes_lines_and_goes_on_when_the_gateway_comes_back(self):
        control = self.control(moves=200)
        program = Program([CLASSGATE, "status", "--watch", "--socket", self.path])
        self.addCleanup(program.end)
        line = (r"time=2026-01-02T03:04:05Z status=overloaded requests_per_second=(\d+\.\d) "
                r"processed_per_second=\d+\.\d refused_per_second=\d+\.\d failed_per_second=\d+\.\d workers=31 "
                r"workers_limit=50 queue=7 queue_limit=1000 wait_p95_ms=20\.25 upstream_p95_ms=60\n")
        program.wait_for_text(line, program.out)
        wait_until(lambda: any(100 < float(rate) < 400 for rate in re.findall(line, program.out())),
                   "some 200 requests a second")
        control.end()
        program.wait_for_text("classgate is not running.*asking again every second", program.err)
        lines = program.out().count("\n")
        again = Control(self.path)
        self.addCleanup(again.end)
        program.wait_for_text("it answers again", program.err)
        wait_until(lambda: program.out().count("\n") > lines, "another line")
        self.assertNotIn("\033", program.out())

    def test_the_real_gateway_is_watched(self):
        gateway = self.gateway(self.service().address)
        watch = Watch(gateway.control, 80, 24)
        self.addCleanup(watch.end)
        watch.shows(r"(?m)^ok +up \d+s")
        watch.shows(r"(?m)^requests/s +\d")
        self.assertIn("reachable", watch.screen.text())
        self.check_page(watch)
        watch.type("c")
        watch.shows(r"(?m)^(clients|ok)")
        watch.type("q")
        self.assertEqual(os.waitstatus_to_exitcode(watch.wait()), 0)


if __name__ == "__main__":
    unittest.main()
