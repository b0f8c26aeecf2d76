"""A server in the test process that speaks as much of the chat completions API as is used."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

SERVED = "small-model-2026-01-01"


@dataclass
class Answer:
    """What the server sends back; ``body`` None is a chat completion that says ``text``."""

    text: str = ""
    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def options_for(asked: dict[str, str], count: int) -> list[str]:
    """Options that are right for a question, and its own."""
    return [f"not {asked['correct_answer']}, but {n}" for n in range(count)]


def usual(body: dict[str, Any], number: int) -> Answer:
    """As many options as the prompt asks for."""
    return Answer(json.dumps({"options": options_for(asked_in(body), count_in(body))}))


def asked_in(body: dict[str, Any]) -> dict[str, str]:
    """Question and answer of a request."""
    asked: dict[str, str] = json.loads(body["messages"][1]["content"].splitlines()[0])
    return asked


def count_in(body: dict[str, Any]) -> int:
    """The number of options that a request wants."""
    found = re.search(r"exactly (\d+)", body["messages"][0]["content"])
    assert found is not None
    return int(found[1])


class FakeEndpoint:
    """Serves on a free local port while its block runs; ``behave`` makes an answer of a request.

    ``requests`` holds what came in, ``most_at_once`` how many requests it worked on together.
    """

    def __init__(self, behave: Callable[[dict[str, Any], int], Answer] = usual) -> None:
        self.behave = behave
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now, self._lock = 0, threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, headers: Iterable[tuple[str, str]], content: bytes) -> Answer:
        """Note a request and let ``behave`` answer it."""
        body = json.loads(content)
        with self._lock:
            self.requests.append({**body, "path": path})
            self.headers.append({name.lower(): value for name, value in headers})
            number = len(self.requests)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        answer = self.behave(body, number)
        time.sleep(answer.seconds)
        with self._lock:
            self._now -= 1
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                answer = fake.answer(self.path, self.headers.items(), content)
                choice = {"message": {"role": "assistant", "content": answer.text}}
                body = answer.body or json.dumps({"model": SERVED, "choices": [choice]})
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body.encode())))
                    self.end_headers()
                    self.wfile.write(body.encode())
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client did not wait for it

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the tests look at ``requests``."""

        return Handler
