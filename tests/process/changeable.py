"""A gateway that is changed while it runs, and what the tests of that share."""
import os
import pathlib
import re
import signal

from kit import Gateway, ProcessTest, wait_until

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
