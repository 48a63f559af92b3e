#!/usr/bin/env python3
"""The command line, observed from outside: what is printed where, and with which exit status."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from kit import CLASSGATE, ProcessTest, Program, clean_environment, free_port, get_json

HELP = "; see classgate --help"


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr


def run(*arguments, environment=None, cwd=None):
    """A run that must end by itself: a gateway that started would be killed by the timeout."""
    return Result(subprocess.run([CLASSGATE, *arguments], env=clean_environment(environment), cwd=cwd,
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60))


class CommandLineTest(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def conf(self, text, name="test.conf"):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def assert_result(self, result, status, out="", err=""):
        self.assertEqual((result.status, result.out, result.err), (status, out, err))


BAD_CONF = """\
threads = 0
wat = 1
[admision]
workers = 5
[log]
level =
format = "xml"
[[route]]
path = "x"
priority = 1
"""
BAD_CONF_MISTAKES = """\
{path}:1:1: threads: 0 is out of range: 1 to 64
{path}:2:1: unknown key wat
{path}:3:2: unknown table [admision]; did you mean [admission]?
{path}:6:8: this is not TOML: expected value, saw '\\n'
{path}:7:1: log.format: "xml" is none of "text", "json"
{path}:9:1: route path "x" must begin with '/', such as "/v1/classify"
"""


class Check(CommandLineTest):
    def test_check_of_a_good_conf_says_so_and_exits_0(self):
        path = self.conf("threads = 2\n")
        good = f"classgate: {path}: the configuration is good\n"
        for arguments in (["-t", "-c", path], ["--check", f"--conf={path}"], ["-tc", path]):
            self.assert_result(run(*arguments), 0, err=good)

    def test_check_prints_every_mistake_with_line_and_column_and_exits_1(self):
        path = self.conf(BAD_CONF)
        expected = BAD_CONF_MISTAKES.format(path=path) + "classgate: 6 mistakes in the configuration\n"
        for flag in ("-t", "--check", "-T", "--print-config"):
            self.assert_result(run(flag, "-c", path), 1, err=expected)

    def test_mistakes_that_are_not_told_are_counted_too(self):
        clients = self.conf("what is this\n" * 150, "clients")
        path = self.conf(f'[fairness]\nidentity = ["bearer"]\n[clients]\nclients_file = "{clients}"\n')
        done = run("--check", "-c", path)
        more = re.search(r": (\d+) more mistakes\n", done.err)
        self.assertTrue(done.err.endswith(f"classgate: {100 + int(more.group(1))} mistakes in the configuration\n"))

    def test_check_reads_the_environment_and_the_command_line_too(self):
        path = self.conf("wat = 1\n")
        result = run("-t", "-c", path, "--workers", "x",
                     environment={"CLASSGATE_THREADS": "many", "CLASSGATE_LISTENN": "*:1"})
        self.assertEqual(result.status, 1)
        lines = result.err.splitlines()
        self.assertEqual(lines[0], f"{path}:1:1: unknown key wat")
        self.assertEqual(sorted(lines[1:3]), [  # the order of the environment is not ours
            "environment CLASSGATE_LISTENN: unknown variable; did you mean CLASSGATE_LISTEN?",
            'environment CLASSGATE_THREADS: threads: "many" is not a whole number'])
        self.assertEqual(lines[3:], [
            'command line --workers: admission.workers: "x" is not a whole number',
            "classgate: 4 mistakes in the configuration"])

    def test_what_a_key_names_and_cannot_be_used_is_told_with_the_place_of_the_key(self):
        (self.folder / "short").write_text("not long enough")
        plan = '[fairness]\nidentity = ["address"]\n[[plan]]\nname = "a"\nquota_day = 1\n'
        at_check_too = [("clients", "secret", self.folder), ("clients", "secret", self.folder / "short"),
                        ("clients", "quota_file", self.folder), ("clients", "quota_file", "/nowhere/quotas.db"),
                        ("clients", "quota_file", self.folder / "short"), ("clients", "clients_file", self.folder),
                        ("log", "error", None), ("log", "access", None), ("ops", "control", None)]
        for table, key, path in at_check_too:
            is_at_check = path is not None
            path = path or "/nowhere/x"
            before = 'listen = ["127.0.0.1:0"]\n'
            before += "" if key == "secret" else f'[clients]\nsecret = "{self.folder}/secret"\n'
            if table == "clients" and key != "secret":
                text = before + f'{key} = "{path}"\n'
            else:
                text = before + f'[{table}]\n{key} = "{path}"\n'
            line = len(text.splitlines())
            conf = self.conf(text + (plan if key == "quota_file" else '[fairness]\nidentity = ["bearer"]\n'))
            for mode in (["--check"],) if is_at_check else ([],):
                with self.subTest(key=key, path=path, mode=mode):
                    if key == "control":
                        gateway = self.gateway("127.0.0.1:9", conf=text, environment={"CLASSGATE_OPS_CONTROL": str(path)})
                        gateway.wait_for_text("environment CLASSGATE_OPS_CONTROL: cannot listen on", gateway.err)
                        continue
                    result = run(*mode, "-c", conf)
                    self.assertNotEqual(result.status, 0)
                    self.assertRegex(result.err, rf"(?m)(^|error |classgate: ){conf}:{line}:1: .*{path}")

    def test_check_opens_no_port(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            path = self.conf(f'listen = ["{address}"]\n')
            self.assertEqual(run("-t", "-c", path).status, 0)

    def test_a_conf_that_cannot_be_read_is_one_line_and_no_start(self):
        missing = str(self.folder / "missing.conf")
        loop = self.folder / "loop.conf"
        loop.symlink_to(loop)
        for path, why in ((missing, "No such file or directory"), (str(self.folder), "Is a directory"),
                          (str(loop), "Too many levels of symbolic links")):
            for mode in (["-t"], ["-T"], []):
                self.assert_result(
                    run("-c", path, *mode), 1 if mode else 78,
                    err=f"{path}: cannot be read: {why} (name another with --conf)\n"
                        "classgate: 1 mistake in the configuration\n")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_a_conf_without_permission_is_one_line_and_exit_1(self):
        path = self.conf("")
        os.chmod(path, 0)
        self.assert_result(run("-t", "-c", path), 1,
                           err=f"{path}: cannot be read: Permission denied (name another with --conf)\n"
                               "classgate: 1 mistake in the configuration\n")

    def test_a_relative_path_is_named_as_it_was_given(self):
        self.conf("wat = 1\n", "relative.conf")
        result = run("-t", "-c", "relative.conf", cwd=self.folder)
        self.assertEqual(result.err.splitlines()[0], "relative.conf:1:1: unknown key wat")


class PrintConfig(CommandLineTest):
    def test_print_config_prints_what_is_in_force_and_where_it_came_from(self):
        path = self.conf("threads = 3\n[admission]\nworkers = 4\nrate = 5\n")
        for flag in ("-T", "--print-config"):
            result = run(flag, "-c", path, "--rate", "7",
                         environment={"PORT": "1234", "CLASSGATE_ADMISSION_WORKERS": "6"})
            self.assertEqual((result.status, result.err), (0, ""))
            for line in (r'listen = \["127\.0\.0\.1:1234"\] +# environment PORT', rf"threads = 3 +# {path}:1:1",
                         r"workers = 6 +# environment CLASSGATE_ADMISSION_WORKERS",
                         r"rate = 7 +# command line --rate", r"burst = 200 +# default"):
                self.assertRegex(result.out, rf"(?m)^{line}$")

    def test_what_print_config_prints_gives_the_same_settings_again(self):
        first = run("-T", "-c", self.conf('[client]\nbody_bytes = "1KiB"\n[log]\nerror = \'/a"b\\c\'\n'),
                    "--threads", "5", environment={"CLASSGATE_ROUTE": "/a*=2:unlimited,/health=5"})
        self.assertEqual((first.status, first.err), (0, ""))
        again = run("-T", "-c", self.conf(first.out, "again.conf"))
        self.assertEqual((again.status, again.err), (0, ""))

        def without_origins(text):
            return re.sub(r" *# .*", "", text)
        self.assertEqual(without_origins(again.out), without_origins(first.out))
        self.assertNotIn("# default", again.out)
        self.assertIn('path = "/a*"\npriority = 2\nrate_limited = false\n', again.out)


class Texts(CommandLineTest):
    def test_version_is_one_line_on_stdout(self):
        for flag in ("-v", "--version"):
            result = run(flag)
            self.assertRegex(result.out, r"\Aclassgate \d+\.\d+\.\d+\n\Z")
            self.assertEqual((result.status, result.err), (0, ""))

    def test_build_tells_how_it_was_built(self):
        for flag in ("-V", "--build"):
            result = run(flag)
            self.assertRegex(result.out, r"\Aclassgate \d+\.\d+\.\d+\nbuilt with (g\+\+|clang) .+\n\Z")
            self.assertEqual((result.status, result.err), (0, ""))

    def test_help_names_the_options_on_stdout(self):
        for flag in ("-h", "--help"):
            result = run(flag)
            self.assertEqual((result.status, result.err), (0, ""))
            for text in ("-c, --conf FILE", "-t, --check", "-T, --print-config", "-v, --version",
                         "-V, --build", "-h, --help", "--workers VALUE", "CLASSGATE_ADMISSION_WORKERS"):
                self.assertIn(text, result.out)

    def test_the_texts_need_no_good_conf(self):
        path = self.conf(BAD_CONF)
        for flag in ("-v", "-V", "-h"):
            self.assertEqual(run("-c", path, flag, environment={"CLASSGATE_WAT": "1"}).status, 0)


class Mistaken(CommandLineTest):
    def test_a_mistaken_argument_is_one_line_that_names_it_and_exit_1(self):
        for arguments, named, hint in (
                (["--wrokers", "3"], "wrokers", "; did you mean --workers?"),
                (["--log-levle=info"], "log-levle", "; did you mean --log-level?"),
                (["--chekc"], "chekc", "; did you mean --check?"),
                (["--something-else"], "something-else", HELP),
                (["-x"], "x", HELP),
                (["test.conf"], '"test.conf"', HELP),
                (["--workers"], "workers", HELP),
                (["-t", "--conf"], "conf", HELP),
                (["-t", "-c"], "c", HELP)):
            with self.subTest(arguments=arguments):
                result = run(*arguments)
                self.assertEqual((result.status, result.out), (1, ""))
                self.assertEqual(result.err.count("\n"), 1)
                self.assertTrue(result.err.startswith("classgate: "), result.err)
                self.assertIn(named, result.err)
                self.assertTrue(result.err.endswith(hint + "\n"), result.err)


class Start(CommandLineTest):
    """Each of these must end by itself before anything is served: run() waits for the end."""

    def assert_port_is_free(self, port):
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)

    def test_a_bad_conf_never_starts(self):
        port = free_port()
        path = self.conf(f'listen = ["127.0.0.1:{port}"]\nwat = 1\n')
        self.assert_result(run("-c", path), 78, err=f"{path}:2:1: unknown key wat\n"
                                                    "classgate: 1 mistake in the configuration\n")
        self.assert_port_is_free(port)

    def test_a_bad_environment_never_starts(self):
        port = free_port()
        path = self.conf(f'listen = ["127.0.0.1:{port}"]\n')
        for name, value, text in (
                ("CLASSGATE_ADMISSION_WORKERS", "0", "admission.workers: 0 is out of range: 1 to 100000"),
                ("CLASSGATE_ROUTE", "/a=9", '"/a=9": write PATH=PRIORITY or PATH=PRIORITY:unlimited, '
                                            'such as "/v1/classify=3"'),
                ("CLASSGATE_WAT", "1", "unknown variable"),
                ("PORT", "http", '"http" is not a port')):
            self.assert_result(run("-c", path, environment={name: value}), 78,
                               err=f"environment {name}: {text}\n"
                                   "classgate: 1 mistake in the configuration\n")
        self.assert_port_is_free(port)

    def one_line_of(self, *arguments, status=1):
        result = run("-c", self.conf(""), *arguments)
        self.assertEqual((result.status, result.out), (status, ""), result.err)
        self.assertEqual(result.err.count("\n"), 1, result.err)
        return result.err

    def test_a_port_in_use_is_one_line_that_names_the_address(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            line = self.one_line_of("--listen", address)
            self.assertIn(address, line)
            self.assertIn("Address already in use", line)

    def test_when_one_of_two_addresses_is_in_use_none_is_served(self):
        port = free_port()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            line = self.one_line_of("--listen", f"127.0.0.1:{port},{address}")
            self.assertIn(address, line)
        self.assert_port_is_free(port)

    def test_an_address_that_is_not_local_is_one_line_that_names_it(self):
        line = self.one_line_of("--listen", "192.0.2.1:8080")  # RFC 5737: nobody's
        self.assertIn("192.0.2.1:8080", line)
        self.assertIn("Cannot assign requested address", line)

    def test_a_name_that_is_no_address_is_one_line_that_names_it(self):
        line = self.one_line_of("--listen", "no-such-host.invalid:8080")  # a service's may come to be known
        self.assertIn("no-such-host.invalid:8080", line)

    def test_a_log_that_cannot_be_written_is_one_line_that_names_it(self):
        port = free_port()
        for key in ("error", "access"):
            for path in (str(self.folder), "/dev/null/log"):  # a folder, and under what is none
                conf = self.conf(f'listen = ["127.0.0.1:{port}"]\n[clients]\nsecret = "off"\n[log]\n{key} = "{path}"\n')
                result = run("-c", conf)
                self.assertEqual((result.status, result.out), (1, ""), result.err)
                self.assertEqual(result.err.count("\n"), 1, result.err)
                self.assertIn(path, result.err)
                self.assertIn(f"log.{key}", result.err)
        self.assert_port_is_free(port)


class GoodStart(CommandLineTest):
    def test_a_running_gateway_has_the_command_line_over_the_environment_over_the_file(self):
        path = self.conf("[admission]\nworkers = 3\nqueue_size = 3\nrate = 3\n")
        gateway = self.start(Program(
            [CLASSGATE, "-c", path, "--listen", "127.0.0.1:0", "--workers", "5"],
            {"CLASSGATE_ADMISSION_WORKERS": "4", "CLASSGATE_ADMISSION_QUEUE_SIZE": "4",
             "CLASSGATE_LISTEN": "192.0.2.1:1"}))
        port = int(gateway.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", gateway.err).group(1))
        limits = get_json(port, "/queue/health", any_status=True)["limits"]
        self.assertEqual([limits[key] for key in ("workers", "queue_size", "rate", "burst")],
                         [5, 4, 3, 200])
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
