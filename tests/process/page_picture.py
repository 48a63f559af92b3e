#!/usr/bin/env python3
"""Makes the pictures of README anew: the operators' page, seen with a real browser, and classgate status, in the middle of
the quickstart's rush.   page_picture.py [FOLDER]      default: build/pictures"""
import base64
import pathlib
import subprocess
import sys

from browser import Browser
from kit import CLASSGATE, ROOT, Gateway, Service, clean_environment, wait_until

SHOW = ROOT / "packaging/examples/quickstart"
WIDTH, HEIGHT = 1280, 800


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    service = Service("--concurrency", "8", "--service-time", "200ms")
    gateway = Gateway(service.address, (SHOW / "classgate.conf").read_text())
    browser = Browser()
    load = None
    try:
        browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        browser.call("Emulation.setScrollbarsHidden", hidden=True)
        browser.call("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": "light"}])
        # Three times the twelve seconds of the rush: the page draws what it has seen.
        workload = folder / "rush.toml"
        workload.write_text((SHOW / "rush.toml").read_text().replace('duration = "12s"', 'duration = "40s"'))
        load = subprocess.Popen([CLASSGATE, "load", "--to", gateway.address, "--workload", workload],
                                stdout=subprocess.DEVNULL, env=clean_environment())
        browser.visit(f"http://127.0.0.1:{gateway.ops_port}/#now")
        wait_until(lambda: gateway.health()["processed_requests"] > 1000, "half a minute of the rush", 120)
        picture = browser.call("Page.captureScreenshot", format="png")
        (folder / "page.png").write_bytes(base64.b64decode(picture["data"]))
        status = subprocess.run([CLASSGATE, "--socket", gateway.control, "status", "--clients"], capture_output=True, text=True,
                                timeout=20, check=True, env=clean_environment())
        (folder / "status.txt").write_text(status.stdout)
    finally:
        if load:
            load.kill()
            load.wait()
        browser.close()
        gateway.end()
        service.end()
    for name in ("page.png", "status.txt"):
        print(f"{folder / name}: {(folder / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
