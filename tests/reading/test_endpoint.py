"""The client: what it sends and to whom, what it tries again, and what its errors say."""

import builtins
import json
import logging
import socket
from typing import Any

import pytest
from closing_cases import closing_settings
from fake_endpoint import SERVED, Answer, FakeEndpoint

from jomed.data.guard import AccessError
from jomed.reading.endpoint import BadReplyError, Endpoint, EndpointError, Reply

HELLO = [{"role": "user", "content": "hello"}]
KEY = "sk-very-secret"


def ask(url: str, access: str = "open", **change: Any) -> Reply:
    with Endpoint(closing_settings(endpoint=url, **change), access) as endpoint:
        return endpoint.ask(HELLO, None)


def refusing_url() -> str:
    """A local address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_a_reply_and_the_model_that_gave_it_come_back() -> None:
    schema = {"type": "object"}
    with FakeEndpoint(lambda body, number: Answer("hi")) as fake:
        settings = closing_settings(endpoint=fake.url)
        with Endpoint(settings, "open") as endpoint:
            assert endpoint.ask(HELLO, None) == Reply("hi", SERVED)
            endpoint.ask(HELLO, schema)
    plain, wanted = fake.requests
    assert plain == {"path": "/v1/chat/completions", "model": "small-model", "messages": HELLO}
    assert wanted["response_format"]["json_schema"]["schema"] == schema


def test_the_credential_is_that_of_the_named_variable_and_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "another")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://other.example")
    for name in ("openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, name)
    echo = Answer(status=418, body=json.dumps({"error": {"message": f"no tea for {KEY}"}}))
    with FakeEndpoint(lambda body, number: echo) as fake, pytest.raises(EndpointError) as caught:
        ask(fake.url, key_variable="MY_KEY")
    assert fake.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "another" not in str(fake.headers)
    assert "418" in str(caught.value)
    assert "no tea for ***" in str(caught.value)
    assert caplog.text
    assert KEY not in caplog.text


def test_a_missing_credential_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "")
    with pytest.raises(EndpointError, match=r"\$MY_KEY is empty or not set"):
        ask("http://127.0.0.1:1/v1", key_variable="MY_KEY")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "openai":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EndpointError, match=r"pip install 'jomed\[llm\]'"):
        ask("http://127.0.0.1:1/v1")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(status: int) -> None:
    def behave(body: dict[str, Any], number: int) -> Answer:
        wait = {"retry-after-ms": "10"}
        return Answer("hi") if number == 3 else Answer(status=status, body="{}", headers=wait)

    with FakeEndpoint(behave) as fake:
        assert ask(fake.url, tries=3).text == "hi"
        assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("status", "requests", "words"),
    [
        (400, 1, ["status 400", "too long"]),
        (401, 1, ["status 401", "$KEY"]),
        (404, 1, ["status 404", "'small-model'", "/v1"]),
        (429, 2, ["status 429", "in 2 tries", "closing.parallel"]),
        (500, 2, ["status 500", "too long"]),
    ],
)
def test_what_lasts_is_an_error_that_says_what_to_do(
    status: int, requests: int, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", KEY)
    body = json.dumps({"error": {"message": "too long"}})
    answer = Answer(status=status, body=body, headers={"retry-after-ms": "10"})
    with FakeEndpoint(lambda body, number: answer) as fake:
        with pytest.raises(EndpointError) as caught:
            ask(fake.url, key_variable="KEY")
        assert len(fake.requests) == requests
    for word in (fake.url, *words):
        assert word in str(caught.value)
    assert ("too long" in str(caught.value)) == (status != 401)


def test_errors_about_closed_data_repeat_no_word_of_the_server() -> None:
    answer = Answer(status=400, body=json.dumps({"error": {"message": "you said hello"}}))
    with FakeEndpoint(lambda body, number: answer) as fake:
        with pytest.raises(EndpointError, match="status 400") as caught:
            ask(fake.url, access="credentialed")
        assert "hello" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_slow_reply_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEndpoint(lambda body, number: Answer("hi", seconds=1.0)) as fake:
        with pytest.raises(EndpointError, match=r"within 0\.1 s in 2 tries"):
            ask(fake.url, timeout=0.1)
        assert len(fake.requests) == 2


def test_a_server_that_is_not_there_is_named() -> None:
    url = refusing_url()
    with pytest.raises(EndpointError, match="cannot be reached") as caught:
        ask(url)
    assert url in str(caught.value)


@pytest.mark.parametrize("body", ["{", "[]", '{"model": "m", "choices": []}', '{"choices": 3}'])
def test_what_is_no_chat_completion_is_a_bad_reply(body: str) -> None:
    refused = pytest.raises(BadReplyError, match="no chat completion")
    with FakeEndpoint(lambda asked, number: Answer(body=body)) as fake, refused:
        ask(fake.url)


def test_closed_data_go_to_no_other_host_and_nothing_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket.socket, "connect", None)
    for url in ("https://api.example.org/v1", "http://localhost.example.org/v1"):
        with pytest.raises(AccessError, match="not on this host"):
            ask(url, access="dua")


@pytest.mark.parametrize("status", [302, 307, 308])
def test_no_redirection_is_followed(status: int) -> None:
    """A server on this host must not be able to send closed data on."""
    with FakeEndpoint() as other:
        moved = Answer(status=status, headers={"Location": f"{other.url}/chat/completions"})
        refused = pytest.raises(EndpointError, match="redirections are not followed")
        with FakeEndpoint(lambda body, number: moved) as fake, refused:
            ask(fake.url, access="credentialed")
        assert other.requests == []


def test_no_proxy_stands_between_this_host_and_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEndpoint() as proxy, FakeEndpoint(lambda body, number: Answer("hi")) as fake:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert ask(fake.url, access="credentialed").text == "hi"
        assert proxy.requests == []
