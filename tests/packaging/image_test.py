#!/usr/bin/env python3
"""The image's root, made by packaging/image-root on this machine and run: as another user, on a root that nobody can write, with
no network but its own. With crun, where it is installed and may run; else by the kernel's own means (unshare, chroot)."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/process"))
from kit import CLASSGATE, wait_until  # noqa: E402

# As a container is: $1 is its root, read-only but for /run/classgate and /var/lib/classgate.
BY_HAND = """set -eu
ip link set lo up
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
for volume in /run/classgate /var/lib/classgate; do mount -t tmpfs -o uid=10001,gid=10001,mode=0700 none "$1$volume"; done
mount -o remount,bind,ro "$1"
root=$1
run="setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid chroot --userspec=10001:10001 --groups=10001 $root"
"""


def may(*command):
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@unittest.skipUnless(may("unshare", "--mount", "--net", "true"), "needs root, for owners, mounts and a network of its own")
class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="classgate-image-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root = pathlib.Path(cls.folder.name) / "root"
        cls.root.mkdir()
        subprocess.run([ROOT / "packaging/image-root", CLASSGATE, cls.root], check=True, timeout=120)

    def run_in_it(self, script):
        """A shell of the host inside the container's namespaces, in which $run PROGRAM is one in the image."""
        (self.root / "proc").mkdir(exist_ok=True)
        done = subprocess.run(["unshare", "--mount", "--net", "--pid", "--kill-child", "sh", "-c",
                               BY_HAND + script, "sh", self.root],
                              capture_output=True, text=True, timeout=120, env={"PATH": os.environ["PATH"]})
        return done.returncode, done.stdout + done.stderr

    def test_it_is_small_and_holds_no_shell(self):
        files = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        self.assertLess(sum(path.stat().st_size for path in files), 60 << 20)
        self.assertEqual(sorted(path.name for path in (self.root / "bin").iterdir()), ["sleep"])
        self.assertEqual([path for path in files if path.stat().st_mode & 0o6000], [])

    def test_its_conf_listens_to_the_outside_and_is_that_of_the_package_else(self):
        before = (ROOT / "conf/classgate.conf").read_text().splitlines()
        after = (self.root / "etc/classgate/classgate.conf").read_text().splitlines()
        changed = [new.split("#")[0].strip() for old, new in zip(before, after, strict=True) if old != new]
        self.assertEqual(changed, ['listen = ["*:8080"]', 'listen = ["*:9190"]'])

    def test_what_it_is_made_of_is_told(self):
        sbom = (self.root / "usr/share/classgate/sbom.spdx").read_text()
        packages = re.findall(r"(?m)^PackageName: (\S+)$", sbom)
        self.assertTrue({"classgate", "libc6", "libssl3", "libevent-core-2.1-7", "ca-certificates", "tzdata"} <= set(packages), packages)
        self.assertEqual(len(packages), len(re.findall(r"(?m)^PackageVersion: \S+$", sbom)))
        ids = set(re.findall(r"(?m)^SPDXID: (\S+)$", sbom))
        for one in re.findall(r"DEPENDS_ON (\S+)", sbom):
            self.assertIn(one, ids)

    def test_it_starts_is_well_without_a_model_and_drains(self):
        status, said = self.run_in_it("""
$run /usr/sbin/classgate &
pid=$!
curl -fsS --max-time 30 --retry 6 --retry-connrefused http://127.0.0.1:9190/livez
curl -fsS 'http://127.0.0.1:9190/readyz?for=gateway'
curl -sS -o /dev/null -w 'answer %{http_code}\\n' http://127.0.0.1:8080/v1/classify
$run /usr/sbin/classgate status --live
if $run /usr/sbin/classgate status --quiet; then echo "it can serve"; else echo "status $?"; fi
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' $root/proc/$pid/status
kill -TERM $pid
wait $pid && echo ended well
""")
        self.assertEqual(status, 0, said)
        for line in ("every event loop turns\n", "ready\n", "answer 503\n", "status 1\n", "drained: ", "ended well\n",
                     "Uid:\t10001\t10001\t10001\t10001\n", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n"):
            self.assertIn(line, said)
        self.assertNotIn("conf history: nothing is kept", said)

    def test_a_conf_that_is_mounted_says_what_is_in_force(self):
        status, said = self.run_in_it("""
mount -t tmpfs none $root/etc/classgate
printf 'listen = ["127.0.0.1:7777"]\\n[ops]\\nlisten = []\\n' >$root/etc/classgate/classgate.conf
$run /usr/sbin/classgate --print-config | grep '^listen'
""")
        self.assertEqual(status, 0, said)
        self.assertEqual([line.split("#")[0].strip() for line in said.splitlines()], ['listen = ["127.0.0.1:7777"]', "listen = []"])

    @unittest.skipUnless(shutil.which("crun"), "crun is not installed")
    def test_an_engine_runs_it(self):
        bundle = pathlib.Path(self.folder.name)
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"].update(args=["/usr/sbin/classgate"], terminal=False, user={"uid": 10001, "gid": 10001}, noNewPrivileges=True,
                               capabilities={})
        spec["root"] = {"path": "root", "readonly": True}
        spec["linux"].pop("resources", None)
        spec["linux"]["namespaces"] = [one for one in spec["linux"]["namespaces"] if one["type"] in ("pid", "network", "mount", "ipc", "uts")]
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] in ("/proc", "/dev")] + [
            {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["uid=10001", "gid=10001", "mode=700"]}
            for place in ("/run/classgate", "/var/lib/classgate")]
        (bundle / "config.json").write_text(json.dumps(spec))
        name = f"classgate-test-{os.getpid()}"
        with open(bundle / "said", "w") as said:
            container = subprocess.Popen(["crun", "--cgroup-manager=disabled", "run", name], cwd=bundle, stdout=said, stderr=said,
                                         stdin=subprocess.DEVNULL)
        self.addCleanup(container.wait)
        self.addCleanup(container.kill)

        def tell():
            return (bundle / "said").read_text()
        wait_until(lambda: "listening on" in tell() or container.poll() is not None, "a container that serves, or ends", 30)
        if container.poll() is not None and "listening on" not in tell():
            self.skipTest("crun may not run a container here: " + tell().strip()[:200])
        live = subprocess.run(["crun", "--cgroup-manager=disabled", "exec", name, "/usr/sbin/classgate", "status", "--live"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((live.returncode, live.stdout), (0, "every event loop turns\n"), live.stderr)
        subprocess.run(["crun", "--cgroup-manager=disabled", "kill", name, "TERM"], check=True, timeout=60)
        self.assertEqual(container.wait(30), 0, tell())
        self.assertIn("drained: ", tell())


if __name__ == "__main__":
    unittest.main()
