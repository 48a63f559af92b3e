"""A headless Chromium, driven through its pipe (the Chrome DevTools protocol)."""
import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

WAIT = 60  # seconds: for any one answer


class Browser:
    """One page. What goes wrong on it is in `complaints`, what it asks of a network in `requests`."""

    def __init__(self):
        if shutil.which("chromium") is None:
            why = "chromium is not installed: nobody has looked at the page"
            print(why, file=sys.stderr)  # unittest says how many were skipped, and not why
            raise unittest.SkipTest(why)
        self.folder = tempfile.TemporaryDirectory(prefix="classgate-test-", ignore_cleanup_errors=True)
        to_browser, self.to_browser = os.pipe()
        self.from_browser, from_browser = os.pipe()

        def connect():  # it reads commands from 3 and writes answers to 4
            read_end, write_end = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read_end, 3)
            os.dup2(write_end, 4)

        # As root it has no sandbox; the page is our own.
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions", "--disable-background-networking",
             f"--user-data-dir={self.folder.name}", "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=connect, pass_fds=(3, 4), close_fds=True)
        os.close(to_browser)
        os.close(from_browser)
        self.unread = b""
        self.count = 0
        self.session = None
        self.complaints, self.requests, self.loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.folder.cleanup()

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        return self._await(lambda heard: heard.get("id") == self.count, method)["result"]

    def open(self, path, width, height, scheme="light", media="screen"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.visit(f"file://{path}")

    def visit(self, url):
        self.loaded = False
        self.call("Page.navigate", url=url)
        if not self.loaded:
            self._await(lambda heard: heard.get("method") == "Page.loadEventFired", "the page to load")

    def shoot(self, path):
        """A picture of all of the page, as PNG."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def point(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def ask(self, script):
        """What an expression is worth on the page; of a promise, what it comes to."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    def _await(self, is_it, what):
        end = time.monotonic() + WAIT
        while True:
            while b"\0" in self.unread:
                text, self.unread = self.unread.split(b"\0", 1)
                heard = json.loads(text)
                self._note(heard)
                if is_it(heard):
                    if "error" in heard:
                        raise AssertionError(f"{what}: {heard['error']}")
                    return heard
            ready, _, _ = select.select([self.from_browser], [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"waited {WAIT} s in vain for the browser: {what}")
            part = os.read(self.from_browser, 1 << 20)
            if not part:
                raise AssertionError(f"the browser has ended: {what}")
            self.unread += part

    def _note(self, heard):
        method, parameters = heard.get("method"), heard.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"])
