#!/usr/bin/env python3
"""The confs that were in force: what a reload says is different, `classgate conf history` and `conf rollback`."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from kit import CLASSGATE, Program, ProcessTest, clean_environment, wait_until

CONF = """listen = ["127.0.0.1:0"]
[upstream]
servers = ["127.0.0.1:1"]
[admission]
workers = {workers}
[log]
access = "off"
[ops]
listen = []
control = "{folder}/control.sock"
"""


class Kept(ProcessTest):
    """A conf in a folder of its own, with a place for its history."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.state = self.folder / "state"
        self.state.mkdir()
        self.conf = self.folder / "classgate.conf"
        self.environment = {"CLASSGATE_STATE_DIR": str(self.state)}

    def text(self, workers, more=""):
        return CONF.format(workers=workers, folder=self.folder) + more

    def write(self, workers, more=""):
        self.conf.write_text(self.text(workers, more))

    def open(self):
        gateway = self.start(Program([CLASSGATE, "--conf", self.conf], self.environment))
        gateway.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", gateway.err)
        wait_until(lambda: (self.folder / "control.sock").exists(), "the control socket")
        return gateway

    def classgate(self, *words):
        done = subprocess.run([CLASSGATE, "--conf", self.conf, *words], capture_output=True, text=True, timeout=60,
                              env=clean_environment(self.environment))
        return done.returncode, done.stdout, done.stderr

    def history(self):
        status, out, err = self.classgate("conf", "history", "--json")
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)["confs"]

    def wait_for_history(self, number):
        def is_kept():
            status, out, _ = self.classgate("conf", "history", "--json")
            return status == 0 and json.loads(out)["confs"][-1]["number"] == number
        wait_until(is_kept, f"that number {number} is kept")

    def reload(self):
        status, out, err = self.classgate("reload")
        self.assertEqual((status, err), (0, ""), out)
        return out.splitlines()

    def workers(self):
        status, out, _ = self.classgate("status", "--json")
        self.assertIn(status, (0, 1))
        return json.loads(out)["limits"]["workers"]


class History(Kept):
    def test_it_tells_what_came_into_force_when_and_by_whom(self):
        self.write(10)
        gateway = self.open()
        self.wait_for_history(1)
        self.write(20, '[[plan]]\nname = "gold"\nrate = 5\n')
        self.assertEqual(self.reload(), ["admission.workers = 20 (it was 10)", 'plan "gold" is new'])
        self.wait_for_history(2)
        self.write(20, '[[plan]]\nname = "gold"\nrate = 7\n[[route]]\npath = "/x"\npriority = 2\n')
        gateway.signal(signal.SIGHUP)
        self.wait_for_history(3)
        gateway.wait_for_text(r'changed: plan "gold": rate = 7 \(it was 5\)', gateway.err)
        kept = self.history()
        user = "root" if os.getuid() == 0 else f"uid {os.getuid()}"
        self.assertEqual([(one["what"], one["by"]) for one in kept], [("start", ""), ("reload", user), ("reload", user)])
        self.assertEqual(kept[2]["changes"], ['route "/x" is new', 'plan "gold": rate = 7 (it was 5)'])
        self.assertEqual([one["is_on_disk"] for one in kept], [False, False, True])
        self.assertTrue(all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", one["at"]) for one in kept), kept)
        status, out, _ = self.classgate("conf", "history")
        self.assertEqual(status, 0)
        self.assertRegex(out, rf"\A +3  \S+  reload, by {user}\n +route \"/x\" is new\n")
        self.assertIn("what is on the disk now is number 3\n", out)

    def test_a_reload_that_changes_nothing_and_one_that_is_refused_leave_it_as_it_is(self):
        self.write(10)
        gateway = self.open()
        self.wait_for_history(1)
        self.assertEqual(self.reload(), ["the conf says nothing else"])
        self.write(0)
        self.assertEqual(self.classgate("reload")[0], 1)
        self.write(11)
        self.reload()
        self.wait_for_history(2)
        self.assertEqual([one["number"] for one in self.history()], [1, 2])
        self.assertIsNone(gateway.process.poll())

    def test_it_is_bounded_and_outlives_the_process(self):
        self.environment["CLASSGATE_OPS_CONF_HISTORY"] = "3"
        self.write(10)
        gateway = self.open()
        for i in range(1, 5):
            self.wait_for_history(i)
            self.write(10 + i)
            self.reload()
        self.wait_for_history(5)
        gateway.signal(signal.SIGTERM)
        gateway.wait()
        self.assertEqual([one["number"] for one in self.history()], [3, 4, 5])
        # Edited while none ran: the start says what is different.
        self.write(99)
        self.open()
        self.wait_for_history(6)
        self.assertEqual(self.history()[-1]["changes"], ["admission.workers = 99 (it was 14)"])

    def test_no_secret_is_told_and_the_confs_are_for_their_owner(self):
        self.write(10, '[fairness]\nidentity = ["header:X-Api-Key"]\n'
                       '[[plan]]\nname = "gold"\nclients = ["header:X-Api-Key:s3cret-1"]\n')
        gateway = self.open()
        self.wait_for_history(1)
        self.write(10, '[fairness]\nidentity = ["header:X-Api-Key"]\n'
                       '[[plan]]\nname = "gold"\nclients = ["header:X-Api-Key:s3cret-1", "header:X-Api-Key:s3cret-2"]\n')
        self.assertEqual(self.reload(), ['plan "gold": clients are others: 2 (it was 1)'])
        self.wait_for_history(2)
        for text in (*self.classgate("conf", "history"), *self.classgate("conf", "history", "--json"), gateway.err()):
            self.assertNotIn("s3cret", str(text))
        for path in (self.state / "conf").iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def test_without_a_place_for_it_the_gateway_serves_and_says_so_once(self):
        self.environment["CLASSGATE_STATE_DIR"] = str(self.folder / "nowhere")
        self.write(10)
        gateway = self.open()
        gateway.wait_for_text(r"conf history: nothing is kept: \S+nowhere/conf: No such file or directory", gateway.err)
        self.write(11)
        self.reload()
        self.assertEqual(gateway.err().count("nothing is kept"), 1)
        status, _, err = self.classgate("conf", "history")
        self.assertEqual(status, 1)
        self.assertIn("no conf was kept there", err)

    def test_a_reload_says_when_its_conf_cannot_be_kept(self):
        self.write(10)
        gateway = self.open()
        self.wait_for_history(1)
        (self.state / "conf").rename(self.state / "elsewhere")
        (self.state / "conf").write_text("in the way")
        self.write(11)
        said = self.reload()
        self.assertTrue(any(re.match(r"this conf is not kept: \S+/conf: Not a directory; `classgate conf history`", line)
                            for line in said), said)
        gateway.wait_for_text("this conf is not kept", gateway.err)
        self.assertEqual(self.workers(), 11)
        (self.state / "conf").unlink()
        (self.state / "elsewhere").rename(self.state / "conf")
        self.write(12)
        self.assertEqual(self.reload(), ["admission.workers = 12 (it was 11)"])

    def test_one_is_shown_as_it_was_said_and_without_its_secrets(self):
        plan = '[[plan]]\nname = "gold"\nclients = ["bearer:s3cret"]\n'
        more = f'[fairness]\nidentity = ["bearer"]\n[upstream.check]\npath = "/health?key=s3cret"  # s3cret\n{plan}'
        self.write(10, more)
        (self.folder / "conf.d").mkdir()
        (self.folder / "conf.d/a.conf").write_text("[admission]\nqueue_size = 77\n")
        gateway = self.open()
        self.wait_for_history(1)
        self.write(20, more.replace("key=s3cret", "key=s3cret-2"))
        self.environment["CLASSGATE_ADMISSION_WORKERS"] = "33"  # of now, and no part of what was said then
        self.assertIn("upstream.check.path has other values in its query, which are not shown", self.reload())
        self.wait_for_history(2)
        status, out, err = self.classgate("conf", "show", "1")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"\A# number 1, \S+: start\n")
        self.assertRegex(out, r"(?m)^workers = 10 +# \S+/classgate\.conf:5:1$")
        self.assertRegex(out, r"(?m)^queue_size = 77 +# \S+/conf\.d/a\.conf:2:1$")
        self.assertIn('path = "/health?key=***"', out.replace("check.path", "path"))
        self.assertIn('clients = ["bearer:sha256:', out)
        self.assertNotIn("request_timeout", out)
        for text in (out, *self.classgate("conf", "show", "2"), *self.classgate("conf", "history"), gateway.err()):
            self.assertNotIn("s3cret", str(text))
        status, out, err = self.classgate("conf", "show", "7")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("there is no number 7: classgate conf history tells which there are", err)
        # What this version cannot read is not shown at all.
        first = json.loads((self.state / "conf/1.json").read_text())
        first["conf"] = "[admission]\nworkers = -4 # s3cret\n"
        (self.state / "conf/1.json").write_text(json.dumps(first))
        status, out, err = self.classgate("conf", "show", "1")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("number 1 cannot be shown without its secrets", err)
        self.assertIn("-4 is out of range", err)

    def test_words_that_are_none_are_told(self):
        self.write(10)
        for words, said in ((["conf"], "usage: classgate conf"), (["conf", "show"], "usage: classgate conf"),
                            (["conf", "rollback", "zero"], '"zero" is none'), (["conf", "rollback", "0"], "is none"),
                            (["conf", "history", "--socket", "/x"], "--socket does not belong"), (["conf", "show", "x"], '"x" is none'),
                            (["conf", "show", "1", "--json"], "--json does not belong to classgate conf show")):
            status, out, err = self.classgate(*words)
            self.assertEqual((status, out), (1, ""), words)
            self.assertIn(said, err)


class Rollback(Kept):
    def test_it_takes_the_conf_of_before_back_and_reloads(self):
        self.write(10)
        self.open()
        self.wait_for_history(1)
        self.write(20)
        self.reload()
        self.wait_for_history(2)
        status, out, err = self.classgate("conf", "rollback")
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("the conf on the disk is that of number 1 ", out)
        self.assertIn("admission.workers = 10 (it was 20)", out)
        self.assertEqual((self.workers(), self.conf.read_text()), (10, self.text(10)))
        self.wait_for_history(3)
        self.assertEqual(self.history()[-1]["what"], "rollback to 1")
        # And forward again, by the same word.
        self.assertEqual(self.classgate("conf", "rollback")[0], 0)
        self.assertEqual(self.workers(), 20)

    def test_an_edit_that_was_never_in_force_is_kept_and_what_is_in_force_comes_back(self):
        self.write(10)
        self.open()
        self.wait_for_history(1)
        self.conf.write_text(self.text(0) + "# ü\n")
        status, out, err = self.classgate("conf", "rollback")
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("what was on the disk is kept as number 2", out)
        self.assertEqual(self.conf.read_text(), self.text(10))
        kept = json.loads((self.state / "conf/2.json").read_text())
        self.assertEqual((kept["conf"], kept["was_in_force"]), (self.text(0) + "# ü\n", False))

    def test_by_number_with_files_of_conf_d_which_are_put_aside_or_come_back(self):
        beside = self.folder / "conf.d"
        beside.mkdir()
        self.write(10)
        (beside / "10-a.conf").write_text("[admission]\nqueue_size = 7\n")
        self.open()
        self.wait_for_history(1)
        (beside / "10-a.conf").unlink()
        (beside / "20-b.conf").write_text("[admission]\nqueue_size = 9\n")
        self.reload()
        self.wait_for_history(2)
        status, out, err = self.classgate("conf", "rollback", "1")
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(sorted(path.name for path in beside.iterdir()), ["10-a.conf", "20-b.conf.rolled-back"])
        self.assertEqual((beside / "20-b.conf.rolled-back").read_text(), "[admission]\nqueue_size = 9\n")
        self.assertIn("admission.queue_size = 7 (it was 9)", out)
        status, out, err = self.classgate("conf", "rollback", "77")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("there is no number 77", err)

    def test_a_reload_that_is_refused_leaves_every_file_as_it_was(self):
        self.write(10)
        self.open()
        self.wait_for_history(1)
        self.write(20)
        self.reload()
        self.wait_for_history(2)
        # What number 1 needs has gone since: which a reload finds, and no look at the conf alone.
        first = json.loads((self.state / "conf/1.json").read_text())
        first["conf"] = self.text(30).replace('control = "', f'token_file = "{self.folder}/gone"\ncontrol = "')
        (self.state / "conf/1.json").write_text(json.dumps(first))
        status, out, err = self.classgate("conf", "rollback", "1")
        self.assertEqual((status, out), (1, ""), err)
        self.assertIn("the reload was refused: the files are as they were", err)
        self.assertEqual((self.conf.read_text(), self.workers()), (self.text(20), 20))

    def test_where_none_runs_it_is_read_at_the_next_start(self):
        self.write(10)
        gateway = self.open()
        self.wait_for_history(1)
        gateway.signal(signal.SIGTERM)
        gateway.wait()
        self.conf.write_text("this is no conf\n")
        self.environment["CLASSGATE_OPS_CONTROL"] = str(self.folder / "control.sock")
        status, out, err = self.classgate("conf", "rollback")
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("no classgate runs here", out)
        self.open()
        self.assertEqual(self.workers(), 10)

    def test_a_number_that_is_no_good_any_more_changes_nothing(self):
        self.write(10)
        self.open()
        self.wait_for_history(1)
        first = json.loads((self.state / "conf/1.json").read_text())
        first["conf"] = "[admission]\nworkers = -4\n"
        (self.state / "conf/1.json").write_text(json.dumps(first))
        self.write(20)
        status, out, err = self.classgate("conf", "rollback", "1")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("number 1 is no good any more, nothing was changed", err)
        self.assertEqual(self.conf.read_text(), self.text(20))

    def test_a_conf_that_cannot_be_written_is_told_with_the_reason(self):
        if os.getuid() == 0:
            self.skipTest("root writes everywhere")
        self.write(10)
        self.open()
        self.wait_for_history(1)
        self.write(20)
        self.folder.chmod(0o500)
        self.addCleanup(self.folder.chmod, 0o700)
        status, out, err = self.classgate("conf", "rollback")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("nothing was changed", err)


if __name__ == "__main__":
    unittest.main()
