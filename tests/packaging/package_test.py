#!/usr/bin/env python3
"""The Debian package in a booted machine, as an operator meets it (packaging/test-package).
package_test.py FOLDER [SUITE]      the Debian to boot, such as trixie; default: the one that this is"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from machine import Machine, host_suite  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))
SERVICE = BUILD / "tests/classify_service/classify_service"
CONF = "/etc/classgate/classgate.conf"
SECRET = "/var/lib/classgate/clients.secret"
QUOTAS = "/var/lib/classgate/quotas.db"
QUOTA_CONF = "/etc/classgate/conf.d/quota.conf"
SERVICE_UNIT = """[Service]
ExecStart=/opt/classify/classify_service --data /opt/classify/businesses.tsv --listen 127.0.0.1:9000 --service-time 5ms
"""

MODEL_UNIT = """[Service]
ExecStart=/opt/classify/classify_service --data /opt/classify/businesses.tsv --listen 127.0.0.1:9500 --service-time 50ms --concurrency 4
"""
# Behind what --find-knee proposes, an [admission] table.
OWN_CONF = """
[upstream]
servers = ["127.0.0.1:9500"]

[clients]
clients_file = "/etc/classgate/clients"
unknown = "refuse"

[fairness]
identity = ["header:X-Api-Key"]

[[plan]]
name = "gold"
rate = 0.01
burst = 3
"""


def newer(deb, folder):
    """The same package with a higher version, and another program in it: what an upgrade brings."""
    tree = pathlib.Path(folder) / "tree"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", "Version: 9.0.0", control.read_text(), flags=re.M))
    conf = tree / "etc/classgate/classgate.conf"
    conf.write_text(conf.read_text() + "\n# a line that only the newer version has\n")
    out = pathlib.Path(folder) / "classgate_9.0.0.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, out], check=True, stdout=subprocess.DEVNULL)
    return out


class PackageTest:
    def __init__(self, machine, deb):
        self.m = machine
        self.deb = deb
        self.checks = 0

    def check(self, claim, what):
        assert claim, what
        self.checks += 1
        print(f"ok    {what}", flush=True)

    def main_pid(self):
        return int(self.m.run("systemctl", "show", "-P", "MainPID", "classgate"))

    def classify(self):
        return json.loads(self.m.run("curl", "-sS", "--max-time", "10", "-d", '{"text": "we bake bread and cakes"}',
                                     "http://127.0.0.1:8080/v1/classify"))

    def under_load(self, name, change):
        """1,000 requests a second, half on kept connections, while `change` happens."""
        report = self.load_during(name, change)
        self.check(report["failed"] == 0 and report["sent"] == report["answered"] > 4000, f"{name}: nothing lost")

    def load_during(self, name, change):
        load = self.m.spawn("python3", "/opt/classify/load.py", "8080", "1000", "8", stdout=subprocess.PIPE)
        self.m.wait(lambda: int(self.health()["connections"]) > 5, "load")
        change()
        report = json.loads(load.communicate(timeout=60)[0])
        print(f"      {name}: {json.dumps(report)}")
        return report

    def kill(self, name):
        """Three times under load. What is in flight is lost, and no connection is refused."""
        m = self.m

        def change():
            for _ in range(3):
                before = self.main_pid()
                m.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "classgate")
                m.wait(lambda: self.main_pid() not in (0, before) and "label" in self.classify(), "the next process")
        report = self.load_during(name, change)
        self.check(report["refused"] == 0 and report["answered"] > 4000, f"{name}: no connection is refused")
        self.check(int(m.run("systemctl", "show", "-P", "NRestarts", "classgate")) >= 3, f"{name}: systemd started it again")

    def health(self):
        return json.loads(self.m.run("curl", "-sS", "http://127.0.0.1:9190/queue/health"))

    def files(self):
        listing = self.m.run("find", "/etc", "/usr", "/var", "/run", "/lib", "-xdev", "(", "-name", "*classgate*", "-o",
                             "-path", "*classgate*", ")", check=False).split("\n")
        return sorted(f for f in listing if f and not f.startswith(("/var/log/journal", "/var/cache", "/run/systemd")))

    def run(self):
        m = self.m
        m.put(SERVICE, "/opt/classify/classify_service")
        m.put(ROOT / "tests/classify_service/businesses.tsv", "/opt/classify/businesses.tsv")
        for name in ("traffic.py", "kit.py"):
            m.put(ROOT / "tests/process" / name, f"/opt/classify/{name}")
        m.write("/opt/classify/load.py", LOAD)
        m.write("/etc/systemd/system/classify.service", SERVICE_UNIT)
        m.start()
        m.run("systemctl", "start", "classify")
        self.check(not self.files(), "a clean machine: nothing of classgate")
        self.install()
        self.as_installed()
        self.stranger()
        self.reload()
        self.bad_conf()
        self.quotas()
        self.rotate()
        self.upgrade()
        self.kill("kill -9 under load")
        self.socket_activation()
        self.remove_and_purge()
        print(f"{self.checks} checks passed")

    def install(self):
        m = self.m
        m.put(self.deb, "/root/classgate.deb")
        m.run("dpkg", "-i", "/root/classgate.deb")
        self.check("classgate" in m.run("getent", "passwd", "classgate"), "install makes the user")
        m.wait(lambda: m.run("systemctl", "is-active", "classgate").strip() == "active", "the service", 15)
        self.check(True, "the service is up after the installation")
        self.check(m.run("stat", "-c", "%U:%G %a", CONF).strip() == "root:classgate 640", "the conf is root:classgate 0640")
        self.check("label" in self.classify(), "a classification through it")
        status = m.run("systemctl", "show", "-P", "StatusText", "classgate")
        self.check("listening on 127.0.0.1:8080" in status or "workers busy" in status, "STATUS tells what it does")
        self.check(m.run("stat", "-c", "%U:%G %a", "/run/classgate/control.sock").strip() == "classgate:classgate 660",
                   "the control socket is for root and the group")
        self.check(m.run("stat", "-c", "%U:%G %a", SECRET).strip() == "classgate:classgate 600",
                   "the secret of the clients' ids is the service's alone")
        self.check("ok" in m.run("classgate", "status"), "classgate status")
        self.check("classgate_build_info" in m.run("curl", "-sS", "http://127.0.0.1:9190/metrics"), "/metrics")
        self.check(m.run("cat", f"/proc/{self.main_pid()}/status").split("Uid:")[1].split()[0] != "0", "it is not root")

    def as_installed(self):
        """What autopkgtest(1) would run, which has a service of its own at the same address."""
        m = self.m
        m.run("systemctl", "stop", "classify")
        m.put(ROOT / "packaging/debian/tests/as-installed", "/root/as-installed")
        m.run("sh", "/root/as-installed", also_errors=True)
        self.check(True, "the package's own test (autopkgtest) passes")
        m.run("systemctl", "start", "classify")
        m.wait(lambda: "label" in self.classify(), "the service")

    def stranger(self):
        """From the package to an own model with a plan, by what README and manual pages say: measured, written, checked,
        reloaded, asked, explained, taken back."""
        m = self.m
        begun = time.monotonic()
        m.write("/etc/systemd/system/model.service", MODEL_UNIT)
        m.run("systemctl", "start", "model")
        m.wait(lambda: m.run("curl", "-sS", "http://127.0.0.1:9500/health"), "the model")
        for longest in ("20s", "60s"):
            measured = m.run("classgate", "load", "--find-knee", "--to", "http://127.0.0.1:9500", "--time", longest, check=False,
                             also_errors=True)
            if self.m.status == 0:
                break
        if self.m.status == 0:
            proposed = measured.split("# A conf for it\n")[1]
            self.check(re.search(r"(?m)^workers = [345]\b", proposed), "--find-knee finds the four that the model computes at once")
        else:  # on a machine that has other things to do
            self.check("can't be told" in measured and "computes" in measured, f"--find-knee says so when it cannot tell: {measured[:200]}")
            proposed = "[admission]\nworkers = 4\n"
        key, line = re.search(r"(cgk_\w+)\n.*\n\s+(alice key=sha256:\w+)", m.run("classgate", "key", "new", "alice")).groups()
        m.write("/etc/classgate/clients", line + " plan=gold\n")
        m.run("chown", "root:classgate", "/etc/classgate/clients")
        m.run("chmod", "0640", "/etc/classgate/clients")
        m.write("/etc/classgate/conf.d/own.conf", proposed + OWN_CONF)
        self.check("the configuration is good" in m.run("classgate", "--check", also_errors=True), "--check finds the conf good")
        said = m.run("classgate", "reload")
        self.check('plan "gold" is new' in said, f"the reload says what is different: {said.splitlines()[0]} ...")

        def ask(*fields):
            out = m.run("curl", "-sS", "-i", "-d", '{"text": "bread"}', *fields, "http://127.0.0.1:8080/v1/classify")
            return int(out.split()[1]), out
        self.check(ask()[0] == 401, "without a key nobody is served")
        answers = [ask("-H", f"X-Api-Key: {key}") for _ in range(4)]
        self.check([status for status, _ in answers] == [200, 200, 200, 429], "the plan has a burst of three")
        refused = re.search(r"(?i)^x-request-id: (\S+)", answers[-1][1], re.M).group(1)
        self.check("client_rate" in m.run("classgate", "why", refused), "classgate why tells what that rested on")
        self.check("gold" in m.run("classgate", "explain", "POST", "/v1/classify", "-H", f"X-Api-Key: {key}", check=False),
                   "classgate explain knows the plan")
        m.wait(lambda: 'plan "gold" is new' in m.run("classgate", "conf", "history"), "the conf to be kept")
        newest = max(map(int, re.findall(r"(?m)^ *(\d+)  \d{4}-", m.run("classgate", "conf", "history"))))
        shown = m.run("classgate", "conf", "show", str(newest))
        self.check('name = "gold"' in shown, "classgate conf show tells what it said")
        m.run("classgate", "conf", "rollback")
        self.check(ask()[0] == 200, "classgate conf rollback takes it back")
        m.run("systemctl", "stop", "model")
        print(f"      a stranger's commands took {time.monotonic() - begun:.0f} s of the machine's time")

    def reload(self):
        m = self.m
        m.write(CONF, m.read(CONF).replace("rate = 100 ", "rate = 0 ").replace("workers = 50 ", "workers = 40 "))
        m.run("systemctl", "reload", "classgate")
        self.check(self.health()["limits"]["workers"] == 40, "systemctl reload applies the conf")
        before = self.main_pid()

        def change():
            for workers in (41, 42, 43, 44):
                m.write(CONF, re.sub(r"workers = \d+ ", f"workers = {workers} ", m.read(CONF)))
                m.run("systemctl", "reload", "classgate")
        self.under_load("reload under load", change)
        self.check(self.health()["limits"]["workers"] == 44 and self.main_pid() == before, "the last reload is in force")

    def bad_conf(self):
        m = self.m
        good = m.read(CONF)
        m.write(CONF, good.replace("workers = 44", "wrokers = 44"))
        text = m.run("systemctl", "reload", "classgate", check=False, also_errors=True)
        self.check(m.status != 0, f"a reload of a bad conf fails: {text.strip().splitlines()[0]}")
        journal = m.run("journalctl", "-u", "classgate", "-o", "cat", "--no-pager")
        self.check(re.search(rf"{CONF}:\d+:\d+: unknown key admission.wrokers; did you mean admission.workers", journal),
                   "the journal has the place of the mistake")
        m.wait(lambda: "the last reload was refused" in m.run("systemctl", "show", "-P", "StatusText", "classgate"), "STATUS")
        self.check("label" in self.classify(), "and the service serves on")
        m.run("systemctl", "restart", "classgate", check=False, also_errors=True)
        self.check(m.status != 0, "a restart with a bad conf is refused")
        m.write(CONF, good)
        m.run("systemctl", "restart", "classgate")
        self.check("label" in self.classify(), "mended, it starts")

    def quotas(self):
        """The unit lets SQLite write its file, and nobody else read it."""
        m = self.m

        def statuses(count):
            return [m.run("curl", "-sS", "--interface", "127.0.0.2", "-o", "/dev/null", "-w", "%{http_code}", "-d",
                          '{"text": "bread"}', "http://127.0.0.1:8080/v1/classify") for _ in range(count)]
        m.write(QUOTA_CONF, '[[plan]]\nname = "free"\nquota_month = 2\nclients = ["address:127.0.0.2"]\n')
        m.run("systemctl", "reload", "classgate")
        self.check(statuses(3) == ["200", "200", "429"], "a quota of two is two")
        self.check(m.run("stat", "-c", "%U:%G %a", QUOTAS).strip() == "classgate:classgate 600", "its file is the service's alone")
        m.run("systemctl", "restart", "classgate")
        self.check(statuses(1) == ["429"], "a restart gives nobody another")
        (m.root / QUOTA_CONF.lstrip("/")).unlink()
        m.run("systemctl", "reload", "classgate")

    def rotate(self):
        m = self.m
        good = m.read(CONF)
        m.write(CONF, good.replace('access = "stdout"', 'access = "/var/log/classgate/access.log"'))
        m.run("systemctl", "reload", "classgate")
        self.classify()
        m.wait(lambda: "verdict=admitted" in m.read("/var/log/classgate/access.log"), "an access line")
        m.run("logrotate", "--force", "/etc/logrotate.d/classgate")
        self.classify()
        m.wait(lambda: "verdict=admitted" in m.read("/var/log/classgate/access.log"), "a line in the new file")
        self.check("verdict=admitted" in m.read("/var/log/classgate/access.log.1"), "logrotate: the old file is kept, "
                   "the new one is written")

    def upgrade(self):
        m = self.m
        with tempfile.TemporaryDirectory() as folder:
            m.put(newer(self.deb, folder), "/root/newer.deb")
        before = self.main_pid()
        edited = m.read(CONF)
        secret = m.run("sha256sum", SECRET)
        self.under_load("upgrade of the package under load",
                        lambda: m.run("dpkg", "--force-confold", "-i", "/root/newer.deb"))
        after = self.main_pid()
        self.check(after != before, f"the main process is another one ({before}, {after})")
        self.check(m.run("systemctl", "is-active", "classgate").strip() == "active", "the service has been up all the time")
        self.check(m.read(CONF) == edited, "the edited conf survives the upgrade")
        self.check(m.run("sha256sum", SECRET) == secret, "and the secret of the clients' ids")
        m.wait(lambda: m.run("cat", f"/proc/{before}/comm", check=False) == "", "the old process to end", 40)
        m.run("systemctl", "reload", "classgate")
        self.check(True, "reload works with the new main process")
        self.under_load("SIGUSR2 under load",
                        lambda: m.run("systemctl", "kill", "--signal=USR2", "--kill-who=main", "classgate"))
        m.wait(lambda: self.main_pid() not in (0, after), "another main process")
        self.check(True, "SIGUSR2 by systemctl hands over")

    def socket_activation(self):
        m = self.m
        m.run("systemctl", "stop", "classgate")
        self.check(m.run("systemctl", "show", "-P", "Result", "classgate").strip() == "success", "stop drains and succeeds")
        m.run("systemctl", "start", "classgate.socket")
        m.run("systemctl", "start", "classgate.service")
        self.check("label" in self.classify(), "with the socket unit")
        self.under_load("restart with socket activation under load", lambda: m.run("systemctl", "restart", "classgate"))
        self.kill("kill -9 with socket activation under load")
        m.run("systemctl", "stop", "classgate.socket", "classgate.service", check=False)

    def remove_and_purge(self):
        m = self.m
        m.run("dpkg", "-r", "classgate")
        self.check((m.root / CONF.lstrip("/")).exists(), "remove keeps the conf")
        self.check((m.root / SECRET.lstrip("/")).exists(), "and the secret of the clients' ids")
        m.run("dpkg", "-P", "classgate")
        left = self.files()
        self.check(not left, f"purge leaves nothing {left or ''}")
        self.check(m.run("getent", "passwd", "classgate", check=False) == "", "purge removes the user")


LOAD = """import json, sys
sys.path.insert(0, "/opt/classify")
from kit import PAUSE
from traffic import Traffic
with Traffic(int(sys.argv[1]), rate=int(sys.argv[2])) as traffic:
    PAUSE.wait(float(sys.argv[3]))
print(json.dumps(traffic.report()))
"""


def main():
    debs = sorted(p for p in pathlib.Path(sys.argv[1]).glob("classgate_*.deb"))
    machine = Machine(debs[-1], sys.argv[2] if len(sys.argv) > 2 else host_suite())
    try:
        PackageTest(machine, debs[-1]).run()
    except AssertionError as failure:
        print(f"FAIL  {failure}")
        if machine.boot:
            print(machine.run("journalctl", "-u", "classgate", "-o", "cat", "--no-pager", "-n", "40", check=False))
        sys.exit(1)
    finally:
        machine.end()


if __name__ == "__main__":
    main()
