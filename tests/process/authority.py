"""A certificate authority for one test: keys and certificates in a folder, made by openssl."""
import datetime
import pathlib
import subprocess
import tempfile


class Authority:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="classgate-ca-")
        self.path = pathlib.Path(self.folder.name)
        self.ca = self.path / "ca.pem"
        self.openssl("req", "-x509", *self.new_key("ca"), "-out", self.ca, "-days", "2", "-subj", "/CN=test authority")

    def openssl(self, *words, stdin=None):
        done = subprocess.run(["openssl", *[str(word) for word in words]], capture_output=True, text=True,
                              input=stdin, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_key(self, name, kind="ec"):
        words = ("rsa:2048",) if kind == "rsa" else ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        return ("-newkey", *words, "-nodes", "-keyout", self.path / f"{name}.key")

    def issue(self, name, subject=None, names=(), is_expired=False, ends=None, kind="ec"):
        """NAME.pem and NAME.key, signed by the authority; `names` as in subjectAltName; `ends` in seconds since 1970."""
        request = self.openssl("req", *self.new_key(name, kind), "-subj", subject or f"/CN={name}")
        extensions = self.path / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\n" if names else "basicConstraints=CA:FALSE\n")
        certificate = self.path / f"{name}.pem"
        if is_expired or ends:
            self.issue_until(1609459200 if is_expired else ends, request, certificate)
        else:
            self.openssl("x509", "-req", "-CA", self.ca, "-CAkey", self.path / "ca.key", "-days", "2", "-extfile",
                         extensions, "-out", certificate, stdin=request)
        return certificate, self.path / f"{name}.key"

    def issue_until(self, ends, request, certificate):
        (self.path / "index.txt").write_text("")
        (self.path / "ca.conf").write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={self.path}/index.txt\nrand_serial=yes\ndefault_md=sha256\n"
            f"policy=p\nnew_certs_dir={self.path}\n[p]\ncommonName=supplied\n")
        self.openssl("ca", "-batch", "-config", self.path / "ca.conf", "-cert", self.ca, "-keyfile",
                     self.path / "ca.key", "-startdate", "20200101000000Z", "-enddate",
                     datetime.datetime.fromtimestamp(ends, datetime.timezone.utc).strftime("%Y%m%d%H%M%SZ"),
                     "-in", "/dev/stdin", "-out", certificate, "-notext", stdin=request)
