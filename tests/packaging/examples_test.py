#!/usr/bin/env python3
"""The examples in packaging/ for places that can't be run here (containers, Kubernetes, a hosting platform):
parsed and held against the code, NOT run. And what can be run: bash completion, logrotate's own reading."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))
CLASSGATE = BUILD / "gateway/classgate"
PACKAGING = ROOT / "packaging"


def check(environment, conf="/dev/null"):
    """What classgate --check says of this environment."""
    done = subprocess.run([CLASSGATE, "--check", "--conf", conf], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], **environment})
    return done.returncode, done.stderr


class Container(unittest.TestCase):
    """Parsed; its root is made and run by tests/packaging/image_test.py."""

    def setUp(self):
        text = re.sub(r"\\\n\s*", " ", (PACKAGING / "Containerfile").read_text())
        self.lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]

    def values(self, instruction):
        return [value for name, value in self.lines if name == instruction]

    def test_two_stages_nobody_is_root_and_its_health_is_asked_for(self):
        self.assertEqual(len(self.values("FROM")), 2)
        last = [name for name, _ in self.lines][::-1].index("FROM")
        users = [value for name, value in self.lines[-last:] if name == "USER"]
        self.assertEqual(len(users), 1)
        self.assertNotIn(users[0], ("root", "0"))
        self.assertIn('["/usr/sbin/classgate", "status", "--live", "--quiet"]', self.values("HEALTHCHECK")[0])
        self.assertEqual(self.values("STOPSIGNAL"), ["SIGTERM"])
        self.assertEqual(self.values("ENV"), [], "a variable goes before the conf that is mounted")

    def test_what_it_copies_and_runs_is_there(self):
        for name in re.findall(r"packaging/[\w-]+", " ".join(self.values("RUN"))):
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)
        for value in self.values("COPY"):
            *sources, _ = [word for word in value.split() if not word.startswith("--")]
            if "--from=" not in value:
                for source in sources:
                    self.assertTrue((ROOT / source).exists(), source)


class Readme(unittest.TestCase):
    def setUp(self):
        self.text = (ROOT / "README.md").read_text()

    def test_its_commands_are_there_and_can_be_run_as_they_stand(self):
        lines = [line for block in re.findall(r"```sh\n(.*?)```", self.text, re.S) for line in block.splitlines()]
        commands = [line.split()[:2] for line in lines if re.match(r"(python3 )?(tests|packaging)/", line)]
        self.assertGreater(len(commands), 20)
        for first, *rest in commands:
            program = ROOT / (rest[0] if first == "python3" else first)
            self.assertTrue(program.is_file(), program)
            self.assertTrue(first == "python3" or os.access(program, os.X_OK), f"{program}: not executable")

    def test_its_conf_is_good(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write(re.search(r"```toml\n(.*?)```", self.text, re.S).group(1))
            conf.flush()
            self.assertEqual(check({}, conf.name)[0], 0, check({}, conf.name)[1])

    def test_every_reason_stands_in_its_table_with_its_status(self):
        told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", self.text, re.M))
        known = dict(re.findall(r'ReasonKind::\w+, "(\w+)", (\d+)', (ROOT / "conf/reason.h").read_text()))
        cut = {reason: "cut" for reason in ("stream_idle", "stream_too_long")}
        self.assertEqual(told, known | cut)


class Confs(unittest.TestCase):
    def test_before_a_service_and_the_quickstart_are_good(self):
        for name in ("before-a-service.conf", "quickstart/classgate.conf"):
            status, said = check({}, str(PACKAGING / "examples" / name))
            self.assertEqual(status, 0, said)


class Autoscaling(unittest.TestCase):
    """Held against the code; a hook is run by tests/process/forecast_live_test.py."""
    folder = PACKAGING / "examples/autoscaling"

    def test_what_keda_and_the_adapter_are_told_to_read_is_told(self):
        api, = [trigger["metadata"] for one in yaml.safe_load_all((self.folder / "keda.yaml").read_text())
                for trigger in one.get("spec", {}).get("triggers", []) if trigger["type"] == "metrics-api"]
        self.assertEqual(api["authMode"], "bearer")
        told = json.loads((PACKAGING / "openapi.json").read_text())
        self.assertTrue(any(api["url"].endswith(path) for path in told["paths"]), api["url"])
        schema = told["components"]["schemas"]["Forecast"]
        for part in api["valueLocation"].split("."):
            schema = schema["properties"][part]
        self.assertIn("integer", schema["type"])
        code = (ROOT / "gateway/ops/forecast_report.cpp").read_text()
        names = set(re.findall(r"classgate_\w+", (self.folder / "hpa.yaml").read_text()))
        self.assertTrue(names)
        for name in names:
            self.assertIn(f'"{name}"', code)

    def test_the_hook_names_what_it_is_given_and_is_good_shell(self):
        hook = self.folder / "hook"
        self.assertTrue(os.access(hook, os.X_OK))
        subprocess.run(["sh", "-n", hook], check=True)
        done = subprocess.run([hook], capture_output=True, text=True, env={"CLASSGATE_SERVERS_NEEDED": "3"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("3 servers", done.stderr)
        code = (ROOT / "gateway/ops/forecast_hook.cpp").read_text()
        for name in set(re.findall(r"CLASSGATE_(\w+)", hook.read_text())):
            self.assertIn(f'"{name}"', code)


class Completion(unittest.TestCase):
    def complete(self, *words):
        script = (f'source {PACKAGING}/completion/classgate; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_classgate; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script, "bash", "classgate", *words], capture_output=True, text=True,
                              check=True, env={"PATH": f"{CLASSGATE.parent}:{os.environ['PATH']}"})
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_it_knows_commands_options_and_keys(self):
        self.assertEqual(self.complete("st"), ["status"])
        self.assertEqual(self.complete("status", "--w"), ["--watch"])
        self.assertEqual(self.complete("set", "admission.w"), ["admission.workers", "admission.workers_per_server"])
        self.assertEqual(self.complete("set", "thr"), [], "what needs a restart can't be set")
        self.assertEqual(self.complete("--log-level", "w"), ["warning"])

    def test_it_knows_every_option_and_command_of_help(self):
        known = self.complete("")
        text = subprocess.run([CLASSGATE, "--help"], capture_output=True, text=True, check=True).stdout
        for option in re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", text, re.M):
            self.assertIn(option, known)
        for command in re.findall(r"^  ([a-z]+)\b", text.split("Commands,")[1].split("\n  with")[0], re.M):
            self.assertIn(command, known)


    def test_the_manual_and_it_have_every_option_of_every_command_and_no_other(self):
        help_text = subprocess.run([CLASSGATE, "--help"], capture_output=True, text=True, check=True).stdout
        manual = re.sub(r"\\f.", "", (PACKAGING / "classgate.8").read_text().replace("\\-", "-"))
        options = {name: set(re.findall(r"(?<![a-z-])--[a-z][a-z-]+", text)) for name, text in
                   (("help", help_text), ("manual", manual), ("completion", (PACKAGING / "completion/classgate").read_text()))}
        self.assertGreater(len(options["help"]), 40)
        self.assertEqual(options["manual"], options["help"])
        self.assertEqual(options["completion"], options["help"])
        for command in re.findall(r"^  ([a-z]+)\b", help_text.split("Commands,")[1].split("\n  with")[0], re.M):
            self.assertRegex(manual, rf'(?m)^\.B[IR]? "?{command}\b')


class Units(unittest.TestCase):
    def test_the_service_is_rated_well(self):
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager",
                               str(PACKAGING / "debian/classgate.service")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)

    def test_logrotate_understands_its_snippet(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            # The account does not exist here: who owns a new file is left out.
            conf.write((PACKAGING / "debian/classgate.logrotate").read_text().replace(" classgate classgate", ""))
            conf.flush()
            done = subprocess.run(["logrotate", "--debug", "--state", "/dev/null", conf.name], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("error:", done.stderr)


if __name__ == "__main__":
    unittest.main()
