"""One message to a language model behind an OpenAI-compatible endpoint, one reply back.

Data that are not open never leave this host: not by the address (`jomed.data.guard`), not by a
redirection (none is followed), not by a proxy (none is used for this host).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field, ValidationError

from jomed.data.guard import is_local, require_local
from jomed.settings import ClosingConfig

if TYPE_CHECKING:
    import openai

_NO_KEY = "none"
_SHOWN = 300


class EndpointError(RuntimeError):
    """The endpoint cannot be used: no package, credential, connection, model or good status."""


class BadReplyError(ValueError):
    """A reply that is of no use; the message is a phrase of ours that repeats no word of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The text of a reply and the model that gave it, in the endpoint's own words."""

    text: str
    model: str


class _Message(BaseModel):
    content: str | None


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    """What is read of a chat completion; servers add more."""

    model: str
    choices: list[_Choice] = Field(min_length=1)


class Endpoint:
    """The chat completions of one model; several threads may ask at once.

    Raises AccessError where data of this ``access`` may not be sent there, and EndpointError where
    the package or the credential is missing.
    """

    def __init__(self, settings: ClosingConfig, access: str) -> None:
        if settings.endpoint is None or settings.model is None:
            raise EndpointError("closing.endpoint and closing.model say whom to ask: set both")
        require_local(settings.endpoint, [access])
        self._settings, self._open, self._model = settings, access == "open", settings.model
        self._key = _credential(settings.key_variable)
        self._client = _client(settings, settings.endpoint, self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, object] | None
    ) -> Reply:
        """The model's reply to a conversation; ``schema`` (JSON schema) is what it has to obey.

        Timeouts, lost connections and the statuses 408, 409, 429 and 5xx are tried again, with
        growing pauses or the one that the server asks for. Raises EndpointError when they last or
        for any other status, BadReplyError for an answer that is no chat completion.
        """
        import openai

        wanted: dict[str, Any] = {"model": self._model, "messages": list(messages)}
        if schema is not None:
            form = {"name": "reply", "strict": True, "schema": dict(schema)}
            wanted["response_format"] = {"type": "json_schema", "json_schema": form}
        try:
            raw = self._client.chat.completions.with_raw_response.create(**wanted)
        except openai.APIError as error:
            # Not chained: the error holds the request, and its text may repeat data or credential.
            raise EndpointError(self._explained(error)) from None
        try:
            found = _Completion.model_validate_json(raw.http_response.content)
        except ValidationError:
            raise BadReplyError("the endpoint's answer is no chat completion") from None
        return Reply(found.choices[0].message.content or "", found.model)

    def _explained(self, error: "openai.APIError") -> str:
        import openai

        settings = self._settings
        where, tries = settings.endpoint, f"in {settings.tries} tries"
        if isinstance(error, openai.APITimeoutError):
            return (
                f"{where} gave no reply within {settings.timeout:g} s {tries}: raise "
                "closing.timeout, lower closing.parallel, or look after the server"
            )
        if not isinstance(error, openai.APIStatusError):
            return f"{where} cannot be reached ({tries}): is the server running, is the port right?"
        remedy = {
            401: f"is the credential in ${settings.key_variable} right?",
            403: f"may the credential in ${settings.key_variable} use this model?",
            404: f"does it serve {self._model!r}, and does closing.endpoint end in /v1?",
            429: f"still too many requests ({tries}): lower closing.parallel, or go on later",
        }.get(error.status_code, "")
        if 300 <= error.status_code < 400:
            remedy = "redirections are not followed: give the address that it leads to"
        said = ""
        # A server may repeat what it was sent; credentials and closed data stay out of messages.
        if self._open and error.status_code not in (401, 403):
            said = f" ({str(error.message)[:_SHOWN].replace(self._key, '***')})"
        return f"{where} answered with status {error.status_code}: {remedy}{said}".rstrip(": ")


def _credential(variable: str | None) -> str:
    if variable is None:
        return _NO_KEY
    key = os.environ.get(variable)
    if not key:
        raise EndpointError(
            f"${variable} is empty or not set: put the endpoint's credential there, or set "
            "closing.key_variable to null for a server that wants none"
        )
    return key


def _client(settings: ClosingConfig, address: str, key: str) -> "openai.OpenAI":
    try:
        import openai
    except ImportError:
        raise EndpointError(
            "to ask an endpoint, the package openai is needed: pip install 'jomed[llm]'"
        ) from None
    return openai.OpenAI(
        api_key=key,
        base_url=address,
        timeout=settings.timeout,
        max_retries=settings.tries - 1,
        http_client=openai.DefaultHttpxClient(
            trust_env=not is_local(address), follow_redirects=False
        ),
    )
