"""A Debian machine that is really booted: systemd is PID 1, in a container without a network but its own."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import wait_until  # noqa: E402

PACKAGES = ("systemd", "systemd-sysv", "python3-minimal", "libpython3-stdlib", "curl", "logrotate", "procps")
# What the service of the tests is linked with, beside what classgate is.
SERVICE_PACKAGES = {"bookworm": ("libevent-core-2.1-7", "libevent-extra-2.1-7", "libfmt9"),
                    "trixie": ("libevent-core-2.1-7t64", "libevent-extra-2.1-7t64", "libfmt10")}


def host_suite():
    """The Debian that this is: what was built here runs there."""
    return re.search(r"(?m)^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text()).group(1)


def needed_by(deb):
    """The packages that a .deb depends on, the first of each choice; dpkg -i does not fetch them."""
    told = subprocess.run(["dpkg-deb", "--show", "--showformat", "${Pre-Depends}, ${Depends}", deb], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return [words.split()[0] for words in told.split(",") if words.strip()]


class Machine:
    def __init__(self, deb, suite):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="classgate-machine-"))
        self.root = self.folder / "root"
        self.boot = None
        packages = ",".join(sorted({*PACKAGES, *SERVICE_PACKAGES[suite], *needed_by(deb)}))
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", suite, self.root],
                       check=True, stdout=subprocess.DEVNULL)

    def start(self):
        # Whatever links the host has in its run folder is no business of the machine's.
        self.boot = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "-D", self.root, "--boot", "--register=no", "--keep-unit", "--private-network",
             "--kill-signal=SIGRTMIN+3"],
            stdin=subprocess.DEVNULL, stdout=open(self.folder / "console", "w"), stderr=subprocess.STDOUT)
        self.wait(lambda: self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded"),
                  "the machine to be up", 60)

    def pid_1(self):
        children = pathlib.Path(f"/proc/{self.boot.pid}/task/{self.boot.pid}/children").read_text().split()
        return children[0] if children else None

    def command(self, words):
        pid = self.pid_1()
        if not pid:
            raise RuntimeError("the machine does not run: " + (self.folder / "console").read_text()[-500:])
        return ["nsenter", "-t", pid, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *words]

    def run(self, *words, check=True, also_errors=False):
        done = subprocess.run(self.command(words), text=True, stdout=subprocess.PIPE, timeout=120,
                              stderr=subprocess.STDOUT if also_errors or check else subprocess.PIPE)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}")
        self.status = done.returncode
        return done.stdout

    def spawn(self, *words, stdout=subprocess.DEVNULL):
        return subprocess.Popen(self.command(words), stdin=subprocess.DEVNULL, stdout=stdout,
                                stderr=subprocess.DEVNULL, text=True)

    def put(self, source, target):
        target = self.root / target.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    def write(self, path, text):
        (self.root / path.lstrip("/")).write_text(text)

    def read(self, path):
        return (self.root / path.lstrip("/")).read_text()

    @staticmethod
    def wait(claim, what, seconds=30):
        """As wait_until; what can't be asked yet has not come true yet."""
        def holds():
            try:
                return claim()
            except (AssertionError, RuntimeError, OSError):
                return None
        return wait_until(holds, what, seconds)

    def end(self):
        if self.boot and self.boot.poll() is None:
            self.boot.terminate()
            try:
                self.boot.wait(30)
            except subprocess.TimeoutExpired:
                self.boot.kill()
                self.boot.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
