#!/usr/bin/python3
"""A client library of Python's at work, as its documentation shows it: python_client.py LIBRARY WHAT URL.
Prints one line of JSON: `status`, `sees` (what the usual words show to whoever runs it), `body` (what can be read
beside that) and `events` of a stream. WHAT: ask, twice, stream (three events, then it leaves), listen, upload."""
import asyncio
import json
import sys

TEXT = {"text": "we bake bread and cakes for the whole town"}
PIECES = [b"x" * 65536] * 128  # an upload of 8 MiB whose length nobody knows
COPIED = (429, 500, 502, 503, 504)  # the list that most examples show
EVENTS = 3


def report(status, sees="", body="", events=0):
    print(json.dumps({"status": status, "sees": str(sees), "body": body, "events": events}))


class Requests:
    """requests, without a word about retries."""

    def __init__(self):
        import requests
        self.requests = requests
        self.session = requests.Session()

    def ask(self, url, **what):
        try:
            answer = self.session.post(url, timeout=60, **(what or {"json": TEXT}))
        except self.requests.RequestException as failure:
            return report(None, failure)
        try:
            answer.raise_for_status()
            report(answer.status_code, "", answer.text)
        except self.requests.HTTPError as failure:
            report(answer.status_code, failure, answer.text)

    def upload(self, url):
        self.ask(url, data=iter(PIECES))

    def listen(self, url, most=None):
        count = 0
        answer = self.session.get(url, stream=True, timeout=60)
        try:
            for line in answer.iter_lines(chunk_size=1):
                count += line.startswith(b"data:")
                if count == most:
                    break
            report(answer.status_code, events=count)
        except self.requests.RequestException as failure:
            report(answer.status_code, failure, events=count)
        answer.close()


class Urllib3Copied(Requests):
    """requests with urllib3's Retry for the statuses that most examples name."""
    statuses, raises = COPIED, True

    def __init__(self):
        super().__init__()
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry
        self.session.mount("http://", HTTPAdapter(max_retries=Retry(
            total=2, backoff_factor=0.1, status_forcelist=self.statuses, allowed_methods=None,
            raise_on_status=self.raises)))

    def upload(self, url):
        self.session = self.requests.Session()  # what is read once cannot be sent again
        super().upload(url)


class Urllib3(Urllib3Copied):
    """The same for 429 and 503 only, and with the last answer in the end, as we recommend."""
    statuses, raises = (429, 503), False


class Httpx:
    def __init__(self):
        import httpx
        self.httpx = httpx
        self.session = httpx.Client(timeout=60)

    def post(self, url):
        return self.session.post(url, json=TEXT)

    def ask(self, url):
        try:
            self.tell(self.post(url))
        except self.httpx.HTTPError as failure:
            report(None, failure)

    def tell(self, answer):
        try:
            answer.raise_for_status()
            report(answer.status_code, "", answer.text)
        except self.httpx.HTTPStatusError as failure:
            report(answer.status_code, str(failure).split("\n")[0], answer.text)

    def upload(self, url):
        try:
            self.tell(self.session.post(url, content=iter(PIECES)))
        except self.httpx.HTTPError as failure:
            report(None, failure)

    def listen(self, url, most=None):
        count = 0
        with self.session.stream("GET", url) as answer:
            try:
                for line in answer.iter_lines():
                    count += line.startswith("data:")
                    if count == most:
                        break
                report(answer.status_code, events=count)
            except self.httpx.HTTPError as failure:
                report(answer.status_code, failure, events=count)


class Tenacity(Httpx):
    """tenacity around httpx, with a back-off of its own and the statuses that most examples name."""

    def try_again(self, answer):
        return answer.status_code in COPIED

    def wait(self, state):
        return 0.1 * 2 ** state.attempt_number

    def post(self, url):
        import tenacity
        retrying = tenacity.Retrying(retry=tenacity.retry_if_result(self.try_again), wait=self.wait,
                                     stop=tenacity.stop_after_attempt(3),
                                     retry_error_callback=lambda state: state.outcome.result())
        return retrying(self.session.post, url, json=TEXT)


class TenacityObedient(Tenacity):
    """The same as we recommend: it comes back when it is told, and where that helps."""

    def try_again(self, answer):
        return answer.headers.get("X-Should-Retry") == "true"

    def wait(self, state):
        headers = state.outcome.result().headers
        return float(headers.get("Retry-After-Ms", 1000)) / 1000


class Aiohttp:
    def ask(self, url):
        asyncio.run(self.post([url], json=TEXT))

    def twice(self, url):
        asyncio.run(self.post([url, url], json=TEXT))

    def upload(self, url):
        async def pieces():
            for piece in PIECES:
                yield piece
        asyncio.run(self.post([url], data=pieces()))

    async def post(self, urls, **what):
        import aiohttp
        async with aiohttp.ClientSession() as session:
            for url in urls:
                try:
                    async with session.post(url, **what) as answer:
                        body = await answer.text()
                        try:
                            answer.raise_for_status()
                            report(answer.status, "", body)
                        except aiohttp.ClientResponseError as failure:
                            report(answer.status, failure, body)
                except aiohttp.ClientError as failure:
                    report(None, failure)

    def listen(self, url, most=None):
        asyncio.run(self.get(url, most))

    async def get(self, url, most):
        import aiohttp
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            count = 0
            try:
                async for line in answer.content:
                    count += line.startswith(b"data:")
                    if count == most:
                        break
                report(answer.status, events=count)
            except aiohttp.ClientError as failure:
                report(answer.status, failure, events=count)


LIBRARIES = {"requests": Requests, "urllib3-copied": Urllib3Copied, "urllib3": Urllib3, "httpx": Httpx,
             "aiohttp": Aiohttp, "tenacity": Tenacity, "tenacity-obedient": TenacityObedient}


def main():
    library, what, url = sys.argv[1:]
    client = LIBRARIES[library]()
    if what == "stream":
        client.listen(url, EVENTS)
    elif what == "twice" and not hasattr(client, "twice"):
        client.ask(url)
        client.ask(url)
    else:
        getattr(client, what)(url)


if __name__ == "__main__":
    main()
