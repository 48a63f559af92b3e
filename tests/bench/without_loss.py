#!/usr/bin/env python3
"""1,000 requests a second, half on kept connections, half on new ones, while the gateway is changed: what was
sent, answered and failed, and the longest time in which nobody was answered.   without_loss.py [SECONDS]"""
import json
import os
import pathlib
import signal
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from changeable import BASE, Changeable  # noqa: E402
from kit import PAUSE, Service  # noqa: E402
from traffic import Traffic  # noqa: E402
from upgrade_test import SocketActivation  # noqa: E402


def measure(name, port, change, seconds):
    with Traffic(port, rate=1000) as traffic:
        for _ in range(int(seconds / 2)):
            PAUSE.wait(2)
            change()
        PAUSE.wait(2)
    print(name, json.dumps(traffic.report()), flush=True)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    service = Service("--service-time", "5ms")
    gateways = [Changeable(service.address, conf=BASE.format(workers=50, queue=1000))]
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)

    def reload():
        gateways[0].signal(signal.SIGHUP)

    def upgrade():
        os.kill(gateways[0].pids()[-1], signal.SIGUSR2)

    def activated():
        test = SocketActivation()
        return test.activated(service, listener)

    def restart():
        gateways[-1].signal(signal.SIGTERM)
        gateways[-1].wait()
        gateways.append(activated())

    try:
        measure("reload            ", gateways[0].port, reload, seconds)
        measure("upgrade           ", gateways[0].port, upgrade, seconds)
        gateways.append(activated())
        measure("restart, activated", listener.getsockname()[1], restart, seconds)
    finally:
        for gateway in gateways:
            gateway.end()
        service.end()


if __name__ == "__main__":
    main()
