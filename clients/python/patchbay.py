"""Patchbay for Python: calls, shouts, listens, serves and runs jobs over one WebSocket.

Speaks ``patchbay.json.v1`` (docs/json_protocol.md) with the package ``websockets`` (10 or later)
and nothing else besides the standard library. Python 3.9 or later.

    import asyncio, patchbay

    async def main():
        async with patchbay.connect("ws://127.0.0.1:4000", module="desk") as bay:
            print(await bay.call("arm/move", {"x": 1.5}))

    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import math
import os
import random
import ssl as tls
from collections import deque
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Optional, Set, Union

import websockets

__all__ = [
    "Bay", "Context", "Event", "Job", "JobContext", "Listener", "PatchbayError", "Registration",
    "connect",
]
__version__ = "0.1.0"

PROTOCOL = "patchbay.json.v1"
_log = logging.getLogger("patchbay")
#: What is kept of a job's feedback: at the owner until it is read, at the worker for who comes back.
_MAX_FEEDBACK = 1024
#: How long a job that has ended is kept for its owner, in seconds.
_KEPT_SECONDS = 60.0
#: How long a job goes on whose owner is gone, in seconds.
_ORPHAN_SECONDS = 10.0


class PatchbayError(Exception):
    """Every failure that Patchbay reports. ``code`` is for programs, the text for people.

    Codes: unavailable, not_found, closed, deadline_exceeded, too_large, invalid, protocol,
    overloaded, unauthenticated, forbidden, remote (the handler raised), internal.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Optional[dict] = None,
        retryable: Optional[bool] = None,
        remedy: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}
        if retryable is None:
            retryable = code in ("unavailable", "closed", "overloaded")
        self.retryable = retryable
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @staticmethod
    def _read(wire: Any) -> "PatchbayError":
        wire = wire if isinstance(wire, dict) else {}
        return PatchbayError(
            wire.get("code", "internal"),
            wire.get("message", "the peer sent an unreadable error"),
            wire.get("details"),
            wire.get("retryable"),
            wire.get("remedy"),
        )

    @staticmethod
    def _write(error: BaseException) -> dict:
        if not isinstance(error, PatchbayError):
            return {"code": "remote", "message": str(error), "details": {"name": type(error).__name__}}
        wire: Dict[str, Any] = {"code": error.code, "message": error.message}
        if error.details:
            wire["details"] = error.details
        if error.remedy is not None:
            wire["remedy"] = error.remedy
        return wire


@dataclass(frozen=True)
class Event:
    """One shout, as a listener has it."""

    address: str
    #: What was shouted: JSON, or ``bytes``.
    value: Any
    #: Counts the shouts of the address; a gap means that something was dropped.
    sequence: int
    #: Whether it is the last value that the speaker kept.
    retained: bool = False
    headers: Dict[str, str] = field(default_factory=dict)
    #: Who shouted: ``id`` and ``module``; ``None`` for the hub itself.
    peer: Optional[dict] = None


@dataclass(frozen=True)
class Context:
    """What a handler knows of the call besides its value."""

    address: str
    headers: Dict[str, str]
    #: Who calls: ``id`` and ``module``; ``None`` for the hub itself.
    peer: Optional[dict]
    #: How long the caller still waits, in seconds; ``None``: for ever.
    remaining: Optional[float]


#: ``handler(value, context)``, plain or ``async``.
Handler = Callable[[Any, Context], Union[Any, Awaitable[Any]]]


def _content(value: Any) -> dict:
    """The member of a message that carries a value."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    return {} if value is None else {"value": value}


def _value(message: dict) -> Any:
    if "bytes" in message:
        return base64.b64decode(message["bytes"])
    return message.get("value")


def _milliseconds(seconds: Optional[float]) -> Optional[float]:
    return None if seconds is None or math.isinf(seconds) else seconds * 1000


class Listener:
    """A subscription: ``async for event in listener``. End it with :meth:`close` or ``async with``."""

    def __init__(self, bay: "Bay", terms: dict) -> None:
        self._bay = bay
        self._terms = terms
        self._id = 0
        self._queue: deque = deque()
        self._arrived = asyncio.Event()
        self._ended: Optional[PatchbayError] = None
        self._closed = False
        #: How many events were dropped here because nobody read them.
        self.dropped = 0

    def _take(self, event: Event) -> None:
        if self._terms["overflow"] != "block" and len(self._queue) >= self._terms["maxQueue"]:
            self.dropped += 1
            if self._terms["overflow"] == "drop_newest":
                return
            if self._terms["overflow"] == "fail":
                error = PatchbayError("overloaded", "the listener did not keep up")
                asyncio.ensure_future(self.close())
                return self._end(error)
            self._queue.popleft()
        self._queue.append(event)
        self._arrived.set()

    def _end(self, error: Optional[PatchbayError]) -> None:
        self._ended = self._ended or error
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._ended is not None:
                raise self._ended
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._queue.popleft()
        if self._terms["overflow"] == "block":
            await self._bay._say({"type": "credit", "id": self._id, "count": 1})
        return event

    async def close(self) -> None:
        """Ends the subscription. May be called twice."""
        if self._bay._listeners.pop(self._id, None) is not None:
            await self._bay._say({"type": "unsubscribe", "id": self._id})
        self._end(None)

    async def __aenter__(self) -> "Listener":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


class Registration:
    """Something that is served. End it with :meth:`close` or ``async with``."""

    def __init__(self, bay: "Bay", offer: dict, handler: Callable) -> None:
        self._bay = bay
        self._offer = offer
        self._handler = handler

    async def close(self) -> None:
        """Serves no longer; resolves when the address is free. May be called twice."""
        if self._bay._offers.pop(self._offer["id"], None) is not None:
            await self._bay._ask({**self._offer, "type": "unregister"}, self._offer["id"])

    async def __aenter__(self) -> "Registration":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


class Job:
    """A job that runs somewhere else, as its owner has it."""

    def __init__(self, bay: "Bay", address: str, job: str) -> None:
        self._bay = bay
        self._number = 0
        self._last = 0
        self._queue: deque = deque(maxlen=_MAX_FEEDBACK)
        self._arrived = asyncio.Event()
        self._accepted: asyncio.Future = asyncio.get_running_loop().create_future()
        self._outcome: asyncio.Future = asyncio.get_running_loop().create_future()
        # Nobody may ever ask for the outcome.
        self._outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.address = address
        #: The job's id: 32 hexadecimal digits.
        self.id = job
        #: How far it is, from 0 to 1, if the worker has said so.
        self.progress: Optional[float] = None
        #: How much feedback was dropped because nobody read it.
        self.dropped = 0

    async def feedback(self) -> AsyncIterator[Any]:
        """Yields the feedback until the job has ended; does not raise what the job ended with."""
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._outcome.done():
                return
            self._arrived.clear()
            await self._arrived.wait()

    async def result(self) -> Any:
        """Waits for the result; raises :class:`PatchbayError` if it failed or was cancelled."""
        return await asyncio.shield(self._outcome)

    async def cancel(self, reason: Optional[str] = None) -> None:
        """Asks the worker to stop; :meth:`result` tells what came of it."""
        if not self._outcome.done():
            await self._bay._say({"type": "cancel-job", "id": self._number, "reason": reason})

    def _receive(self, message: dict) -> None:
        kind = message["type"]
        if kind == "accepted":
            if not self._accepted.done():
                self._accepted.set_result(None)
        elif kind == "progress":
            self._last, self.progress = message["sequence"], message["fraction"]
        elif kind == "feedback":
            self._last = message["sequence"]
            if len(self._queue) == _MAX_FEEDBACK:
                self.dropped += 1
            self._queue.append(_value(message))
        elif kind == "result":
            self._settle(None, _value(message))
        self._arrived.set()

    def _settle(self, error: Optional[BaseException], value: Any = None) -> None:
        if error is not None and not self._accepted.done():
            self._accepted.set_exception(error)
        if not self._outcome.done():
            if error is not None:
                self._outcome.set_exception(error)
            else:
                self._outcome.set_result(value)
        self._bay._jobs.pop(self._number, None)
        self._arrived.set()


class JobContext:
    """What a job's handler knows and may say. It is cancelled as any task is."""

    def __init__(self, bay: "Bay", message: dict) -> None:
        self._bay = bay
        self._number: Optional[int] = message["id"]
        self._sequence = 0
        self._said: deque = deque(maxlen=256)
        self._outcome: Optional[dict] = None
        self._task: Optional[asyncio.Task] = None
        self._orphan: Optional[asyncio.TimerHandle] = None
        self.address: str = message["address"]
        self.headers: Dict[str, str] = message.get("headers", {})
        #: Who wants it: ``id`` and ``module``; ``None`` for the hub itself.
        self.peer: Optional[dict] = message.get("peer")
        #: The job's id.
        self.job: str = message["job"]
        #: Why it was cancelled, if somebody has said so.
        self.cancel_reason: Optional[str] = None

    async def feedback(self, value: Any) -> None:
        """Tells the owner how it goes."""
        self._sequence += 1
        await self._tell({"type": "feedback", "sequence": self._sequence, **_content(value)})

    async def progress(self, fraction: float) -> None:
        """Tells the owner how far it is, from 0 to 1."""
        self._sequence += 1
        await self._tell({"type": "progress", "sequence": self._sequence, "fraction": fraction})

    async def _tell(self, message: dict) -> None:
        self._said.append(message)
        await self._bay._tell(self, message)


class Bay:
    """One connection to a hub. Made by :func:`connect`."""

    def __init__(self, url: str, options: dict) -> None:
        self._url = url
        self._options = options
        self._bay_id = os.urandom(8).hex()
        # Without it nobody else comes in under this id.
        self._resume = os.urandom(16).hex()
        self._last_id = 0
        self._socket: Any = None
        self._reader: Optional[asyncio.Task] = None
        self._closing = False
        self._farewell: Optional[PatchbayError] = None
        self._open = asyncio.Event()
        self._pending: Dict[int, asyncio.Future] = {}
        self._listeners: Dict[int, Listener] = {}
        self._offers: Dict[int, Registration] = {}
        self._jobs: Dict[int, Job] = {}
        self._calls: Dict[int, asyncio.Task] = {}
        self._running: Dict[str, JobContext] = {}
        self._tasks: Set[asyncio.Task] = set()
        #: Who is at the other end, as it says: ``id``, ``module``, ``instance``.
        self.hub: dict = {}

    # ----- the three patterns -----

    async def call(
        self,
        address: str,
        value: Any = None,
        *,
        timeout: Optional[float] = 5.0,
        headers: Optional[Dict[str, str]] = None,
        priority: int = 128,
    ) -> Any:
        """Calls, and returns the answer.

        :param timeout: seconds; ``None`` waits for ever.
        :raises PatchbayError: what the handler raised is ``remote``; nobody there is ``not_found``.
        """
        id = self._id()
        message = {
            "type": "request", "id": id, "address": address, "timeoutMs": _milliseconds(timeout),
            "priority": priority, **({"headers": headers} if headers else {}), **_content(value),
        }
        try:
            return _value(await asyncio.wait_for(self._ask(message, id), timeout))
        except asyncio.TimeoutError:
            await self._say({"type": "cancel", "id": id})
            raise PatchbayError(
                "deadline_exceeded", f"{address}: no answer within {timeout} s"
            ) from None
        except asyncio.CancelledError:
            self._later({"type": "cancel", "id": id})
            raise

    async def shout(
        self,
        address: str,
        value: Any = None,
        *,
        retain: bool = False,
        headers: Optional[Dict[str, str]] = None,
        priority: int = 128,
    ) -> int:
        """Tells everybody who listens; returns how many that are.

        :param retain: keep the last value for those who come later; the first shout decides.
        :raises PatchbayError: ``forbidden``; ``overloaded``: a blocking listener is full.
        """
        id = self._id()
        answer = await self._ask({
            "type": "shout", "id": id, "address": address, "retain": retain, "priority": priority,
            **({"headers": headers} if headers else {}), **_content(value),
        }, id)
        return answer.get("listeners", 0)

    async def listen(
        self,
        pattern: str,
        *,
        overflow: str = "drop_oldest",
        max_queue: int = 1024,
        retained: bool = False,
    ) -> Listener:
        """Listens; resolves when every speaker known now has acknowledged.

        :param pattern: an address; ``*`` stands for one segment, a last ``**`` for the rest.
        :param overflow: what happens to an event that finds the queue full: ``drop_oldest``,
            ``drop_newest``, ``fail``, or ``block``, which holds the speaker back.
        :param retained: get the last value of each speaker that keeps it, first.
        """
        listener = Listener(self, {
            "pattern": pattern, "overflow": overflow, "maxQueue": max_queue, "retained": retained,
        })
        await self._subscribe(listener)
        return listener

    async def serve(self, address: str, handler: Handler, *, shared: bool = False) -> Registration:
        """Serves calls: ``handler(value, context)`` returns the answer, or raises.

        :param shared: others may serve the same address; calls are spread.
        :raises PatchbayError: ``unavailable``: somebody serves it already.
        """
        return await self._offer("callable", address, shared, handler)

    async def perform(
        self,
        address: str,
        handler: Callable[[Any, JobContext], Awaitable[Any]],
        *,
        shared: bool = False,
    ) -> Registration:
        """Performs jobs: ``await handler(goal, context)`` returns the result, or raises."""
        return await self._offer("job", address, shared, handler)

    async def execute(
        self,
        address: str,
        goal: Any = None,
        *,
        timeout: Optional[float] = 30.0,
        headers: Optional[Dict[str, str]] = None,
        priority: int = 128,
    ) -> Job:
        """Has a job done; returns when it was accepted.

        :param timeout: seconds without a word of the worker after which it is given up.
        """
        job = Job(self, address, os.urandom(16).hex())
        job._number = self._id()
        self._jobs[job._number] = job
        await self._say({
            "type": "goal", "id": job._number, "address": address, "job": job.id,
            "timeoutMs": _milliseconds(timeout), "priority": priority,
            **({"headers": headers} if headers else {}), **_content(goal),
        })
        await asyncio.shield(job._accepted)
        return job

    async def close(self) -> None:
        """Ends the connection; what is pending fails with ``closed``. May be called twice."""
        self._closing = True
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._over(PatchbayError("closed", "the bay was closed"), final=True)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "Bay":
        await self._begin()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    # ----- the connection -----

    async def _begin(self) -> None:
        await self._dial()
        self._reader = asyncio.ensure_future(self._keep())

    async def _dial(self) -> None:
        options = self._options
        self._farewell = None
        try:
            socket = await websockets.connect(
                self._url, subprotocols=[PROTOCOL], max_size=options["max_message_bytes"] * 2 + 65536,
                ssl=options["ssl"], open_timeout=options["open_timeout"],
            )
        except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            raise _refusal(self._url, error) from error
        await socket.send(json.dumps({
            "type": "hello", "module": options["module"], "id": self._bay_id,
            "resume": self._resume, "maxMessageBytes": options["max_message_bytes"],
            **({} if options["token"] is None else {"credentials": options["token"]}),
        }))
        try:
            ack = json.loads(await asyncio.wait_for(socket.recv(), options["open_timeout"]))
        except (asyncio.TimeoutError, websockets.ConnectionClosed) as error:
            raise PatchbayError("unavailable", f"{self._url}: no hello-ack: {error}") from error
        if ack["type"] != "hello-ack":
            await socket.close()
            raise PatchbayError._read(ack.get("error"))
        self.hub = ack["bay"]
        self._socket = socket
        self._open.set()

    async def _keep(self) -> None:
        """Reads until it is closed, and connects anew when the connection is lost."""
        while True:
            await self._read(self._socket)
            if self._closing:
                return
            self._socket = None
            self._open.clear()
            why = self._farewell or PatchbayError("closed", "the connection was lost")
            self._over(why, final=not self._options["reconnect"])
            if not self._options["reconnect"] or not await self._again():
                return

    async def _again(self) -> bool:
        pause = self._options["reconnect_min"]
        attempts = 0
        while not self._closing:
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(pause * 2, self._options["reconnect_max"])
            attempts += 1
            try:
                await self._dial()
            except PatchbayError as error:
                _log.info("%s: attempt %d: %s", self._url, attempts, error)
                limit = self._options["max_attempts"]
                if error.code in ("unauthenticated", "forbidden") or (limit and attempts >= limit):
                    self._over(error, final=True)
                    return False
                continue
            self._spawn(self._restore())
            return True
        return False

    async def _restore(self) -> None:
        """The connection is back: what is served and listened to is told again, jobs go on."""
        for registration in list(self._offers.values()):
            try:
                await self._ask({**registration._offer, "type": "register"}, registration._offer["id"])
            except PatchbayError as error:
                _log.warning("%s: %s", registration._offer["address"], error)
        for listener in list(self._listeners.values()):
            self._listeners.pop(listener._id, None)
            try:
                await self._subscribe(listener)
            except PatchbayError as error:
                listener._end(error)
        for job in list(self._jobs.values()):
            self._jobs.pop(job._number, None)
            job._number = self._id()
            self._jobs[job._number] = job
            await self._say({
                "type": "attach", "id": job._number, "address": job.address, "job": job.id,
                "after": job._last,
            })

    def _over(self, error: PatchbayError, final: bool) -> None:
        """The connection is lost: what was pending fails; the rest waits, unless this is the end."""
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(error)
        for task in list(self._calls.values()):
            task.cancel()
        for context in self._running.values():
            self._detach(context)
        for job in list(self._jobs.values()):
            # Whether the worker has a goal that was not accepted is not known.
            if final or not job._accepted.done():
                job._settle(error)
        if final:
            for listener in list(self._listeners.values()):
                listener._end(None if self._closing else error)
            self._listeners.clear()
            self._offers.clear()
            self._open.set()

    async def _read(self, socket: Any) -> None:
        try:
            async for text in socket:
                message = json.loads(text)
                try:
                    self._receive(message)
                except Exception:  # A defect here must not end the connection.
                    _log.exception("a message of type %s", message.get("type"))
        except websockets.ConnectionClosed:
            pass

    def _id(self) -> int:
        self._last_id = self._last_id % (2**31 - 1) + 1
        return self._last_id

    async def _say(self, message: dict) -> None:
        socket = self._socket
        if socket is None:
            raise PatchbayError("closed", "there is no connection now")
        try:
            await socket.send(json.dumps(message, allow_nan=False))
        except (ValueError, TypeError) as error:
            raise PatchbayError("invalid", f"the value is no JSON: {error}") from error
        except websockets.ConnectionClosed as error:
            raise PatchbayError("closed", "the connection was lost") from error

    def _later(self, message: dict) -> None:
        async def quietly() -> None:
            try:
                await self._say(message)
            except PatchbayError:
                pass  # What it was about is gone as well.

        self._spawn(quietly())

    async def _ask(self, message: dict, id: int) -> dict:
        """Sends a message, and waits for what answers its id."""
        future = asyncio.get_running_loop().create_future()
        self._pending[id] = future
        try:
            await self._say(message)
            return await future
        finally:
            self._pending.pop(id, None)

    def _spawn(self, work: Awaitable) -> asyncio.Task:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _subscribe(self, listener: Listener) -> None:
        listener._id = self._id()
        self._listeners[listener._id] = listener
        try:
            await self._ask({"type": "subscribe", "id": listener._id, **listener._terms}, listener._id)
        except BaseException:
            self._listeners.pop(listener._id, None)
            raise

    async def _offer(self, pattern: str, address: str, shared: bool, handler: Any) -> Registration:
        id = self._id()
        offer = {"id": id, "pattern": pattern, "address": address, "shared": shared}
        registration = Registration(self, offer, handler)
        self._offers[id] = registration
        try:
            await self._ask({**offer, "type": "register"}, id)
        except BaseException:
            self._offers.pop(id, None)
            raise
        return registration

    # ----- what comes -----

    def _receive(self, message: dict) -> None:
        kind, id = message["type"], message.get("id")
        if kind in ("response", "subscribe-ack", "register-ack", "shout-ack"):
            self._answered(id, message, message.get("error"))
        elif kind == "error":
            self._failed(id, message)
        elif kind == "event":
            self._heard(id, message)
        elif kind in ("accepted", "feedback", "progress", "result"):
            if id in self._jobs:
                self._jobs[id]._receive(message)
        elif kind in ("request", "send"):
            self._calls[id] = task = self._spawn(self._serve(message))
            task.add_done_callback(lambda _: self._calls.pop(id, None))
        elif kind == "cancel":
            if id in self._calls:
                self._calls[id].cancel()
        elif kind == "goal":
            self._start(message)
        elif kind in ("cancel-job", "detach", "attach"):
            self._steer(kind, id, message)
        elif kind == "goodbye":
            self._farewell = PatchbayError._read(message.get("error"))
        # Whatever else comes is news for others, or for later versions.

    def _answered(self, id: Any, message: dict, error: Any) -> None:
        future = self._pending.get(id)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(message)
        else:
            future.set_exception(PatchbayError._read(error))

    def _failed(self, id: Any, message: dict) -> None:
        error = PatchbayError._read(message.get("error"))
        if id in self._jobs:
            self._jobs[id]._settle(error)
        elif id in self._pending:
            self._answered(id, message, message.get("error"))
        elif id in self._listeners:
            self._listeners.pop(id)._end(error)
        else:
            _log.warning("%s: %s", message.get("address", "the hub"), error)

    def _heard(self, id: Any, message: dict) -> None:
        listener = self._listeners.get(id)
        if listener is None:
            return
        if "error" in message:
            _log.warning("%s: %s", message["address"], PatchbayError._read(message["error"]))
            return
        listener._take(Event(
            message["address"], _value(message), message["sequence"], message.get("retained", False),
            message.get("headers", {}), message.get("peer"),
        ))

    async def _serve(self, message: dict) -> None:
        handler = self._handler("callable", message["address"])
        remaining = message.get("remainingMs")
        context = Context(
            message["address"], message.get("headers", {}), message.get("peer"),
            None if remaining is None else remaining / 1000,
        )
        try:
            answer = handler(_value(message), context)
            if inspect.isawaitable(answer):
                answer = await answer
            reply = {"type": "response", **_content(answer)}
        except Exception as error:
            reply = {"type": "error", "error": PatchbayError._write(error)}
        if message["type"] == "send":
            return
        try:
            await self._say({**reply, "id": message["id"]})
        except PatchbayError as error:
            if error.code == "invalid":
                refusal = {"type": "error", "error": PatchbayError._write(error)}
                await self._say({**refusal, "id": message["id"]})

    def _handler(self, pattern: str, address: str) -> Callable:
        for registration in self._offers.values():
            offer = registration._offer
            if offer["pattern"] == pattern and offer["address"] == address:
                return registration._handler

        def nobody(*_: Any) -> Any:
            raise PatchbayError("not_found", f"{address}: nobody serves it there any longer")

        return nobody

    # ----- jobs that are performed here -----

    def _start(self, message: dict) -> None:
        context = JobContext(self, message)
        self._running[context.job] = context
        context._task = self._spawn(self._run(context, _value(message)))

    async def _run(self, context: JobContext, goal: Any) -> None:
        handler = self._handler("job", context.address)
        try:
            await self._tell(context, {"type": "accepted"})
            result = handler(goal, context)
            if inspect.isawaitable(result):
                result = await result
            outcome = {"type": "result", **_content(result)}
        except asyncio.CancelledError:
            reason = context.cancel_reason or "the job was cancelled"
            outcome = {"type": "error", "error": {"code": "remote", "message": reason,
                                                  "details": {"name": "AbortError"}}}
        except Exception as error:
            outcome = {"type": "error", "error": PatchbayError._write(error)}
        context._outcome = outcome
        asyncio.get_running_loop().call_later(
            _KEPT_SECONDS, lambda: self._running.pop(context.job, None)
        )
        await self._tell(context, outcome)

    async def _tell(self, context: JobContext, message: dict) -> None:
        if context._number is None:
            return
        try:
            await self._say({**message, "id": context._number})
        except PatchbayError as error:
            # Lost connections are taken up again by attach.
            if error.code == "invalid":
                raise

    def _detach(self, context: JobContext) -> None:
        context._number = None
        if context._task is not None and not context._task.done() and context._orphan is None:
            context._orphan = asyncio.get_running_loop().call_later(
                _ORPHAN_SECONDS, context._task.cancel
            )

    def _steer(self, kind: str, id: Any, message: dict) -> None:
        if kind == "attach":
            context = self._running.get(message["job"])
            if context is not None:
                self._spawn(self._attach(context, id, message["after"]))
            else:
                error = PatchbayError("closed", "the worker has lost the job")
                self._later({"type": "error", "id": id, "error": PatchbayError._write(error)})
            return
        context = next((one for one in self._running.values() if one._number == id), None)
        if context is None:
            return
        if kind == "detach":
            self._detach(context)
        elif context._task is not None:
            context.cancel_reason = message.get("reason")
            context._task.cancel()

    async def _attach(self, context: JobContext, id: int, after: int) -> None:
        if context._orphan is not None:
            context._orphan.cancel()
            context._orphan = None
        missed: List[dict] = [said for said in context._said if said["sequence"] > after]
        context._number = id
        for message in [{"type": "accepted"}, *missed]:
            await self._tell(context, message)
        if context._outcome is not None:
            await self._tell(context, context._outcome)


def _refusal(url: str, error: BaseException) -> PatchbayError:
    # Named differently by the versions of the package: the number is what counts.
    text = str(error)
    for status, code in (("401", "unauthenticated"), ("403", "forbidden")):
        if f"HTTP {status}" in text:
            return PatchbayError(code, f"{url} refuses the connection: {text}")
    return PatchbayError("unavailable", f"{url} cannot be reached: {text or type(error).__name__}")


def connect(
    url: str,
    *,
    module: str = "python",
    token: Optional[str] = None,
    ssl: Optional[tls.SSLContext] = None,
    reconnect: bool = True,
    reconnect_min: float = 0.1,
    reconnect_max: float = 30.0,
    max_attempts: int = 0,
    max_message_bytes: int = 10 * 1024 * 1024,
    open_timeout: float = 5.0,
) -> Bay:
    """Connects to a hub: ``async with patchbay.connect("ws://host:port") as bay``.

    :param module: what this program is called.
    :param token: the secret that the hub asks for.
    :param ssl: for ``wss://`` with a certificate authority or a certificate of one's own.
    :param reconnect: connect anew when the connection is lost: listeners, servers and jobs are
        restored, what was pending fails with ``closed``.
    :param reconnect_min: seconds before the first attempt at most; doubled each time, full jitter.
    :param reconnect_max: seconds before any attempt at most.
    :param max_attempts: so many failures in a row, and it is given up; 0: never.
    :raises PatchbayError: on entering: ``unavailable``, ``unauthenticated``, ``forbidden``.
    """
    return Bay(url, {
        "module": module, "token": token, "ssl": ssl, "reconnect": reconnect,
        "reconnect_min": reconnect_min, "reconnect_max": reconnect_max,
        "max_attempts": max_attempts, "max_message_bytes": max_message_bytes,
        "open_timeout": open_timeout,
    })
