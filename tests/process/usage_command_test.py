#!/usr/bin/env python3
"""classgate usage and classgate forget, on files of a history as they are found."""
import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

from kit import BUILD, CLASSGATE, FolderTest, clean_environment

YEARS = BUILD / "tests/bench/usage_years"
HOUR = 3600
ODD = "\x1b[2J=cmd|'/c calc'!A0,\"x\"\n<img onerror>"
BY = ("client", "plan", "route", "status", "priority")


class Usage(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.store = tempfile.TemporaryDirectory()
        # Until the hour before this one.
        subprocess.run([str(YEARS), "--folder", cls.store.name, "--days", "1"], check=True, timeout=120,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        cls.store.cleanup()
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.path = self.folder / "copy.db"
        shutil.copy(self.store.name + "/history.db", self.path)

    def run_it(self, *words, environment=None, **settings):
        return subprocess.run([str(CLASSGATE), *map(str, words)], capture_output=True, text=True,
                              env=clean_environment(environment), timeout=60, **settings)

    def usage(self, *words, **settings):
        return self.run_it("usage", "--file", self.path, *words, **settings)

    def told(self, *words):
        done = self.usage(*words, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def change(self, sql, *values):
        with sqlite3.connect(self.path) as database:
            database.execute(sql, values)
        database.close()

    def add_client(self, name, requests=10):
        hour = int(time.time()) // HOUR * HOUR - HOUR
        for level, kind, key in ((HOUR, "client", name), (HOUR, "all", ""), (86400, "client", name), (86400, "all", "")):
            self.change("""INSERT INTO usage (level, kind, start, key, run, requests, cost, served, refused, failed, abandoned,
                        bytes_in, bytes_out, first_seen, last_seen, reasons) VALUES (?, ?, ?, ?, 99, ?, 0, 0, ?, 0, 0, 1, 1, ?, ?, ?)
                        ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, refused = refused + excluded.refused""",
                        level, kind, hour // level * level, key, requests, requests, hour, hour,
                        json.dumps({"queue_full": requests}, separators=(",", ":")))

    def test_lines_and_others_make_up_all_by_whatever(self):
        for by in BY:
            answer = self.told("--by", by, "--since", "2d", "--top", "3")
            self.assertEqual(answer["by"], by)
            self.assertLessEqual(len(answer["lines"]), 3)
            for count in ("requests", "items", "served", "refused", "bytes_in", "bytes_out"):
                self.assertEqual(sum(line[count] for line in [*answer["lines"], answer["others"]]), answer["all"][count],
                                 (by, count))
            self.assertEqual([line["requests"] for line in answer["lines"]],
                             sorted((line["requests"] for line in answer["lines"]), reverse=True))
        reasons = self.told("--by", "reason", "--since", "2d", "--top", "100")
        self.assertEqual(sum(line["requests"] for line in reasons["lines"]), reasons["all"]["refused"])

    def test_the_sums_are_those_of_the_file(self):
        with sqlite3.connect(self.path) as database:
            wanted = database.execute("SELECT sum(requests), min(start) FROM usage WHERE level = 86400 AND kind = 'all'").fetchone()
        database.close()
        answer = self.told("--since", "1y")
        self.assertEqual(answer["all"]["requests"], wanted[0])
        self.assertIsNotNone(answer["all"]["wait_ms"]["p95"])
        half = self.told("--since", "12h")
        self.assertTrue(0 < half["all"]["requests"] < wanted[0])

    def test_a_table_has_a_line_for_each_and_names_its_time(self):
        done = self.usage("--top", "5", "--time-zone", "Europe/Berlin")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertRegex(lines[0], r"^usage by client, \d{4}-\d\d-\d\d \d\d:\d\d to .* \(Europe/Berlin\)$")
        self.assertEqual(len(lines), 2 + 1 + 5 + 2)
        self.assertTrue(lines[-1].startswith("all "))
        self.assertTrue(lines[-2].startswith("(others, "))

    def test_one_client_is_told_with_its_hours_and_what_it_was_refused_for(self):
        self.add_client("c_0000beef", 7)
        answer = self.told("--client", "c_0000beef", "--since", "24h")
        self.assertEqual(answer["all"]["requests"], 7)
        self.assertEqual(answer["all"]["reasons"], {"queue_full": 7})
        self.assertEqual(len(answer["rows"]), 1)
        done = self.usage("--client", "c_0000beef", "--since", "24h")
        self.assertIn("refused or cut: queue_full 7", done.stdout)

    def test_sessions_and_who_was_there(self):
        answer = self.told("--sessions", "--top", "5")
        self.assertEqual(len(answer["sessions"]), 5)
        self.assertGreater(answer["users"][-1]["distinct"], 3000)
        client = answer["sessions"][0]["client"]
        self.assertTrue(all(session["client"] == client for session in self.told("--sessions", "--client", client)["sessions"]))

    def test_names_are_text_for_terminals_spreadsheets_and_programs(self):
        self.add_client(ODD, 10**9)
        self.add_client("=1+1", 10**8)
        for form in ((), ("--csv",), ("--json",), ("--sessions",)):
            done = self.usage(*form)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("\x1b", done.stdout)
        rows = list(csv.DictReader(io.StringIO(self.usage("--csv", "--top", "2").stdout)))
        self.assertEqual(rows[0]["client"], "\\x1b[2J=cmd|'/c calc'!A0,\"x\"\\n<img onerror>")
        self.assertEqual(rows[1]["client"], "'=1+1")
        self.assertEqual(rows[2]["client"], "(others)")
        self.assertEqual(self.told("--top", "2")["lines"][1]["client"], "=1+1")

    def test_csv_adds_up_to_all(self):
        rows = list(csv.DictReader(io.StringIO(self.usage("--csv", "--since", "2d").stdout)))
        self.assertEqual(sum(int(row["requests"]) for row in rows), self.told("--since", "2d")["all"]["requests"])

    def test_what_cannot_be_told_is_said_and_is_no_success(self):
        text = self.file("text.db", "no database, but long enough for one: " + "x" * 200)
        other = self.folder / "other.db"
        with sqlite3.connect(other) as database:
            database.execute("CREATE TABLE t (a)")
        database.close()
        self.file("empty.db", "")
        for file, words, reason in (
                ("nowhere.db", (), "there is no history"), (".", (), "is no file"), (text, (), "is not a database"),
                ("other.db", (), "there is no history in it"), ("empty.db", (), "there is no history in it"),
                (self.path, ("--until", "2d", "--since", "3d"), "nothing was counted from"),
                (self.path, ("--client", "c_none"), "nothing is known of c_none"),
                (self.path, ("--since", "1h", "--until", "2h"), "is later than --until"),
                (self.path, ("--since", "often"), "neither a time ago"), (self.path, ("--by", "weather"), "is none of"),
                (self.path, ("--top", "0"), "--top"), (self.path, ("--csv", "--json"), "two forms"),
                (self.path, ("--time-zone", "Nowhere/Land"), "--time-zone")):
            done = self.run_it("usage", "--file", self.folder / file, *words)
            self.assertEqual(done.returncode, 1, (file, words, done.stdout))
            self.assertIn(reason, done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertFalse((self.folder / "nowhere.db").exists())
        self.change("PRAGMA user_version = 3")
        self.assertIn("was written by a newer classgate (schema 3; this one knows 2)", self.usage().stderr)

    def test_a_damaged_file_is_told(self):
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"x" * (self.path.stat().st_size - 4096))
        done = self.usage()
        self.assertEqual(done.returncode, 1)
        self.assertIn("malformed", done.stderr)

    def test_it_reads_while_another_process_writes(self):
        database = sqlite3.connect(self.path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM usage")
        self.assertGreater(self.told()["all"]["requests"], 0)
        database.execute("ROLLBACK")
        database.close()

    @unittest.skipIf(os.geteuid() != 0, "another user is needed")
    def test_a_copy_is_read_where_nothing_can_be_written(self):
        os.chmod(self.folder, 0o755)
        os.chmod(self.path, 0o644)
        try:
            done = self.usage(user=65534)
        except PermissionError:
            self.skipTest("nobody may not run this program")
        self.assertEqual(done.returncode, 0, done.stderr)
        # What stands in a journal cannot be left out.
        (self.folder / "copy.db-wal").write_bytes(b"x" * 4096)
        done = self.usage(user=65534)
        self.assertEqual(done.returncode, 1)
        self.assertIn("holds what is newer", done.stderr)

    def test_the_conf_and_systemd_say_where_it_is(self):
        shutil.move(self.path, self.folder / "history.db")
        conf = self.file("classgate.conf", f'state_dir = "{self.folder}"\n[upstream]\nservers = ["127.0.0.1:9"]\n')
        done = self.run_it("usage", "--conf", conf)
        self.assertEqual(done.returncode, 0, done.stderr)
        auto = self.file("auto.conf", '[upstream]\nservers = ["127.0.0.1:9"]\n')
        done = self.run_it("usage", "--conf", auto, environment={"STATE_DIRECTORY": f"{self.folder}:/elsewhere"})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_who_is_forgotten_is_nowhere_in_the_file_and_the_sums_stay(self):
        self.add_client("c_forgetme", 7)
        before = self.told("--since", "2d", "--top", "1000")
        self.assertIn(b"c_forgetme", self.path.read_bytes())
        done = self.run_it("forget", "c_forgetme", "--file", self.path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(b"c_forgetme", self.path.read_bytes())
        after = self.told("--since", "2d", "--top", "1000")
        self.assertEqual(after["all"], before["all"])
        self.assertEqual(after["others"]["requests"], before["others"]["requests"] + 7)
        again = self.run_it("forget", "c_forgetme", "--file", self.path)
        self.assertEqual(again.returncode, 1)
        self.assertIn("nothing is known of c_forgetme", again.stderr)


if __name__ == "__main__":
    unittest.main()
