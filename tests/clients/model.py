"""The service: counts what it is asked to compute, and answers when it is let."""
import http.server
import json
import select
import threading

from apis import CLASSIFY, api_of, stream_wanted
from kit import PAUSE

EVENTS_MOST = 1000


class Model(http.server.ThreadingHTTPServer):
    """POST is computed once `may_answer` is set, for `takes` seconds, and answered as the API at its path does. Where a
    GET's path, or what is posted, says events/N, the answer is a stream of N events; `left` is set when its reader is found
    to have gone."""
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, takes=0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.takes = takes
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
    disable_nagle_algorithm = True  # a body that waits until its head is acknowledged takes 40 ms

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        api = api_of(self.path)
        wanted = stream_wanted(body)
        if wanted and api.is_streamed:
            return self.stream(api, *wanted[:2])
        with self.server.lock:
            self.server.computed += 1
        assert self.server.may_answer.wait(60)
        PAUSE.wait(self.server.takes)
        here = f"http://{self.headers['Host']}/{wanted[2] if wanted else ''}"
        body = json.dumps(api.whole).replace("HERE", here).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.stream(CLASSIFY, *stream_wanted(self.path.encode())[:2])

    def stream(self, api, count, step):
        self.send_response(200)
        self.send_header("Content-Type", api.media_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.server.lock:
            self.server.computed += 1
        try:
            self.say(api.before)
            for number in range(min(count, EVENTS_MOST)):
                self.say(api.event.format(json.dumps(api.piece(number))))
                if self.has_left(step):
                    self.server.left.set()
                    self.close_connection = True
                    return
            self.say(api.after)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.left.set()

    def say(self, text):
        if text:
            self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    def has_left(self, seconds):
        """Whether the reader goes within that time: it says nothing while it is told."""
        poll = select.poll()  # a whole table has more descriptors than select() can name
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def log_message(self, *_):
        pass
