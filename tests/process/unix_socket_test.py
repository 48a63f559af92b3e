#!/usr/bin/env python3
"""A service on a path instead of a port."""
import http.server
import os
import socketserver
import tempfile
import threading
import unittest

from kit import ProcessTest, wait_until


class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class UnixSocket(ProcessTest):
    """A server on a path instead of a port."""

    def listen(self, path):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"unix")

            def log_message(self, *_):
                pass

        server = Listener(path, Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def test_it_is_asked_and_found_again_when_it_comes_back(self):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.sock"
            server = self.listen(path)
            gateway = self.gateway(f"unix:{path}", admission_rate=0, upstream_probe_interval="100ms")
            for _ in range(20):
                self.assertEqual(gateway.request("GET").body, b"unix")
            server.shutdown()
            server.server_close()
            os.unlink(path)
            # Connections that are kept live on with their threads; who needs another one finds nobody.
            crowd = [threading.Thread(target=gateway.request, args=("GET",)) for _ in range(8)]
            for one in crowd:
                one.start()
            for one in crowd:
                one.join()
            server = self.listen(path)
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            wait_until(lambda: gateway.request("GET").body == b"unix", "the server again")
            self.assert_balanced(gateway.health())


if __name__ == "__main__":
    unittest.main()
