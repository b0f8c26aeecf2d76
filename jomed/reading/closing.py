"""Open questions closed by a language model: (question, gold answer) -> wrong options.

The question keeps its wording. The reader is trained on it and asked it at inference, and a pair's
key in the score table stays sample, record and answer set; only the set comes from the model.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from jomed.catalogue import Access
from jomed.progress import track
from jomed.reading.closing_prompt import (
    PROMPT,
    REPLY_SCHEMA,
    OpenQuestion,
    checked_options,
    messages,
    parse_options,
)
from jomed.reading.closing_store import Line, appending, locked_store, read_store
from jomed.reading.endpoint import BadReplyError, Endpoint, EndpointError
from jomed.settings import ClosingConfig

_NAMED = 10


class ClosingError(RuntimeError):
    """Open questions have no usable wrong options; says how many, which, and what to do."""


@dataclass(frozen=True, slots=True)
class Closer:
    """Whose wrong options close the questions of which benchmark, ``count`` to each.

    ``access`` is that of the samples. Where it is not open, they go to no other host, and neither
    the store nor a message repeats an id or a text of theirs.
    """

    settings: ClosingConfig
    store: Path
    count: int
    benchmark: str
    access: Access

    def close(self, questions: Sequence[OpenQuestion]) -> dict[str, tuple[str, ...]]:
        """Return the wrong options of every question by sample id.

        The store is read first; what it lacks is asked of the endpoint, once for all samples of
        the same question and answer, and appended as it comes in. Raises ClosingError where
        options are missing and nobody may be asked, or where no reply was usable; EndpointError
        where the endpoint failed; AccessError where the data must not go there. What came in until
        then is kept.
        """
        missing = self._missing(questions, read_store(self.store))
        if missing and self.settings.endpoint is None:
            raise ClosingError(self._nobody_to_ask(missing, len(questions)))
        if missing:
            with (
                Endpoint(self.settings, self.access) as endpoint,
                locked_store(self.store),
                appending(self.store) as append,
            ):
                # Read again: another process may have asked while this one waited for the lock.
                missing = self._missing(questions, read_store(self.store))
                refused = self._ask(missing, endpoint, append)
            if refused:
                raise ClosingError(self._unusable(refused))
        return self._kept(questions, read_store(self.store))

    def _missing(
        self, questions: Iterable[OpenQuestion], lines: Mapping[str, Line]
    ) -> dict[str, OpenQuestion]:
        """The first question of every key that the store lacks."""
        first: dict[str, OpenQuestion] = {}
        for question in questions:
            first.setdefault(self.key(question), question)
        return {key: question for key, question in first.items() if key not in lines}

    def key(self, question: OpenQuestion) -> str:
        """Hash of all that decides a reply: prompt, model, question, gold answer and number."""
        asked = [PROMPT, self.settings.model, question.question, question.gold, self.count]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _ask(
        self,
        missing: Mapping[str, OpenQuestion],
        endpoint: Endpoint,
        append: Callable[[Line], None],
    ) -> dict[str, str]:
        """Ask for all, append what is usable, and return why the others are not, by their name.

        When the endpoint fails, nothing new is asked, what is under way is awaited and kept, and
        its error is raised.
        """
        refused: dict[str, str] = {}
        failure: EndpointError | None = None
        stop = Event()
        with ThreadPoolExecutor(self.settings.parallel) as pool:
            asked = {
                pool.submit(self._reply_unless, stop, question, endpoint): key
                for key, question in missing.items()
            }
            try:
                for done in track(as_completed(asked), "closing open questions", len(asked)):
                    question = missing[asked[done]]
                    try:
                        found = done.result()
                    except BadReplyError as problem:
                        refused[self._name(question)] = str(problem)
                    except EndpointError as error:
                        failure = failure or error
                    else:
                        if found is not None:
                            append(self._line(asked[done], question, *found))
            finally:
                stop.set()
        if failure is not None:
            raise failure
        return refused

    def _reply_unless(
        self, stop: Event, question: OpenQuestion, endpoint: Endpoint
    ) -> tuple[tuple[str, ...], str] | None:
        """What `_reply` returns; None once some question has found the endpoint failing."""
        if stop.is_set():
            return None
        try:
            return self._reply(question, endpoint)
        except EndpointError:
            stop.set()
            raise

    def _reply(self, question: OpenQuestion, endpoint: Endpoint) -> tuple[tuple[str, ...], str]:
        """The options and the model that they come from; an unusable reply is asked for again."""
        problem: BadReplyError | None = None
        for _ in range(self.settings.tries):
            try:
                reply = endpoint.ask(
                    messages(question, self.count, problem),
                    REPLY_SCHEMA if self.settings.enforce_schema else None,
                )
                return parse_options(reply.text, question.gold, self.count), reply.model
            except BadReplyError as error:
                problem = error
        assert problem is not None  # tries is at least 1
        raise problem

    def _line(
        self, key: str, question: OpenQuestion, options: tuple[str, ...], served: str
    ) -> Line:
        return Line(
            version=1,
            benchmark=self.benchmark,
            access=self.access,
            sample=self._name(question),
            key=key,
            model=str(self.settings.model),
            served=served,
            options=options,
        )

    def _kept(
        self, questions: Iterable[OpenQuestion], lines: Mapping[str, Line]
    ) -> dict[str, tuple[str, ...]]:
        """The options of all questions, checked again: a store can come from anywhere."""
        kept = {}
        for question in questions:
            options = lines[self.key(question)].options
            try:
                kept[question.sample_id] = checked_options(options, question.gold, self.count)
            except BadReplyError as problem:
                raise ClosingError(
                    f"{self.store}: the options for {self._name(question)} cannot be used "
                    f"({problem}); remove the line, and they are asked for again"
                ) from None
        return kept

    def _name(self, question: OpenQuestion) -> str:
        """How a question is called in the store and in messages."""
        if self.access == "open":
            return question.sample_id
        return hashlib.sha256(question.sample_id.encode()).hexdigest()[:16]

    def _nobody_to_ask(self, missing: Mapping[str, OpenQuestion], total: int) -> str:
        names = [self._name(question) for question in missing.values()]
        return (
            f"{self.benchmark}: {self.store} lacks {self.count} options by model "
            f"{self.settings.model!r} for {len(names)} distinct questions (of {total} open "
            f"samples): {_listed(names)}. Set closing.endpoint to ask for them, closing.store to "
            "a file that holds them, or closing.method to distractors"
        )

    def _unusable(self, refused: Mapping[str, str]) -> str:
        named = [f"{name} ({reason})" for name, reason in refused.items()]
        return (
            f"{self.benchmark}: no usable reply to {len(named)} open questions, each asked "
            f"{self.settings.tries} times: {_listed(named)}. All others are kept in {self.store}. "
            "Run again to ask for these alone, with a larger closing.tries if need be; if they "
            "stay, use another closing.model or closing.method distractors"
        )


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
