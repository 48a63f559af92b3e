"""The service: counts what it is asked to compute, and answers when it is let."""
import http.server
import json
import threading

from kit import PAUSE

EVENTS_MOST = 1000
STEP = 0.02  # seconds between two events of a stream


class Model(http.server.ThreadingHTTPServer):
    """POST is computed once `may_answer` is set. GET /events/N is a stream of N events; `left` is set when its reader
    is found to have gone."""
    daemon_threads = True
    request_queue_size = 100

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.left = threading.Event()
        self.computed = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_):
        pass  # a gateway that closes

    def end(self):
        self.may_answer.set()
        self.left.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        with self.server.lock:
            self.server.computed += 1
        assert self.server.may_answer.wait(60)
        body = json.dumps({"label": "bakery"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.server.lock:
            self.server.computed += 1
        try:
            for number in range(min(int(self.path.rsplit("/", 1)[1]), EVENTS_MOST)):
                event = f"data: {number}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                PAUSE.wait(STEP)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.left.set()

    def log_message(self, *_):
        pass
