"""One connection to ubusd as a state machine: bytes in, events out; verbs return the bytes to send. No IO.

It covers both roles, which real processes mix on one socket: caller (requests and their answers) and
publisher (calls, events and notifications to our objects).

    session = Session()
    session.receive_data(socket.recv(65536))
    event = session.next_event()              # Hello, then the others; None: more data needed
    request, data = session.lookup("system")  # send data; the request comes back as an event, answered

Whose fault an error is shows in its type: :class:`UsageError` out of a verb is the caller's (nothing is to be
sent, nothing changed), :class:`ProtocolError` out of :meth:`Session.next_event` is ubusd's. Any other
exception is a bug of this module.

Facts on which the correlation rests (ubus ``ubusd_proto.c``, ``libubus-req.c``):

- An answer carries the request's sequence number and, as peer, what the request was addressed to:
  0 for ubusd itself, else the object's id. ubusd writes that id itself, and only for an object that
  belongs to the sender, so another process cannot answer in an object's name.
- A status that ubusd made has no OBJID; one that the called process made has. So "not found" from
  ubusd (a stale id, the call was not delivered) differs from an object's own "not found".
- ubusd forwards the attributes of answers unread. A malformed answer fails its own request, not the
  connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from .blobmsg import Encodable, Int32, Table, encode_table
from .errors import ProtocolError, Status, UsageError
from .wire import (
    MAX_MESSAGE,
    MAX_RECEIVED,
    SYSTEM_OBJECT_EVENT,
    VERSION,
    Attr,
    AttrValue,
    Frame,
    FrameReader,
    Message,
    MessageType,
    attr_size,
    attr_word,
    decode_attrs,
    encode_attrs,
    encode_frame,
    last_attr,
)

MAX_ANSWER: Final = 16 << 20
"""How many bytes the data of one request may add up to, over all its DATA messages."""
MAX_ABANDONED: Final = 4096
"""How many sequence numbers of abandoned requests are kept from being used again."""
MAX_HEADS: Final = 256
LONGEST_HEAD: Final = 256
"""How many heads of calls are cached, and of how many bytes at most."""
_SEQUENCE_NUMBERS: Final = 1 << 16

# Plain numbers for what every served call passes: a look-up in an enumeration costs as much as a function.
_STATUS: Final = int(MessageType.STATUS)
_DATA_MESSAGE: Final = int(MessageType.DATA)
_OBJID, _METHOD, _DATA, _NO_REPLY, _USER, _GROUP = map(
    int, (Attr.OBJID, Attr.METHOD, Attr.DATA, Attr.NO_REPLY, Attr.USER, Attr.GROUP)
)

# The two frames of an answer, each packed in one step: by way of `encode_attrs` and `encode_frame` a served
# call costs a tenth more. Header, the blob's length, then each attribute's header word and number.
_STATUS_FRAME = Struct(">BBHIIIIII")
_STATUS_LENGTH: Final = 20
_DATA_FRAME = Struct(">BBHIIIII")
_DATA_LENGTH: Final = 16
"""Of the blob without the data."""
_STATUS_WORD: Final = attr_word(Attr.STATUS, 4)
_OBJID_WORD: Final = attr_word(Attr.OBJID, 4)
_DATA_WORD: Final = attr_word(Attr.DATA, 0)

_Head: TypeAlias = "tuple[int, str, str | None, str | None, bool]"
"""What a call says besides its arguments: object id, method, user, group, whether no reply is wanted."""

Data: TypeAlias = "Mapping[str, Encodable] | None"


class Request:
    """A request in progress. Comes out of :meth:`Session.next_event` when it is answered."""

    __slots__ = (
        "answers",
        "awaiting",
        "error",
        "from_ubusd",
        "peer",
        "replied",
        "seq",
        "size",
        "status",
        "type",
    )

    def __init__(self, type: int, seq: int, peer: int) -> None:  # noqa: A002
        self.type = type
        self.seq = seq
        self.peer = peer
        """What it is addressed to: 0 for ubusd itself, else an object's id."""
        self.answers: list[Message] = []
        """Each DATA message, in order."""
        self.size = 0
        """Bytes of the DATA messages so far."""
        self.status: int = Status.NO_DATA
        """The final status, once answered."""
        self.from_ubusd = True
        """Whether the status is ubusd's (the call was not delivered), not the called object's."""
        self.error: ProtocolError | None = None
        """Set when the answer was malformed; the status has no meaning then."""
        self.awaiting: set[int] | None = None
        """For a notification with replies: the subscribers that have not answered yet."""
        self.replied: dict[int, int] = {}
        """For a notification with replies: each subscriber's object id and status."""

    def tables(self) -> list[Table]:
        """Return the data of each DATA message. Raises :class:`ProtocolError`."""
        return [answer.data_table() for answer in self.answers if answer.data is not None]

    def object_id(self) -> int:
        """Return the id that ubusd gave a new object. Raises :class:`ProtocolError`."""
        for answer in reversed(self.answers):
            if answer.objid is not None:
                return answer.objid
        raise ProtocolError(f"ubusd answered {MessageType(self.type).name} without an object id")


class Hello(NamedTuple):
    """ubusd's greeting: the connection is usable."""

    client_id: int


@dataclass(slots=True)
class Invocation:
    """A call of a method of one of our objects; also an event or notification to one."""

    objid: int
    method: str
    data: bytes
    """The arguments, not yet decoded: they come from another process."""
    seq: int
    peer: int
    """The caller's client id; 0 for an event."""
    user: str | None
    group: str | None
    no_reply: bool


class SubscribersChanged(NamedTuple):
    """One of our objects has subscribers now, or none any more."""

    objid: int
    active: bool


class TargetRemoved(NamedTuple):
    """An object to which our object ``objid`` had subscribed is gone."""

    objid: int
    target: int


SessionEvent: TypeAlias = "Request | Invocation | SubscribersChanged | TargetRemoved | Hello"


class Session:
    """See the module. Every verb returns the request and the bytes to send, or raises
    :class:`UsageError` having changed nothing."""

    def __init__(self) -> None:
        self._reader = FrameReader(MAX_RECEIVED)
        self._seq = 0
        self._pending: dict[int, Request] = {}
        self._abandoned: dict[int, None] = {}
        self._heads: dict[bytes, _Head] = {}
        self._head_length = 0
        """Of the last one: consecutive calls are often alike."""
        self.client_id: int | None = None
        """Our id on the bus, once ubusd said hello."""

    # --- bytes in, events out ------------------------------------------------------------------------

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes off the socket."""
        self._reader.receive_data(data)

    def next_event(self) -> SessionEvent | None:
        """Return the next event; ``None`` when more bytes are needed.

        :raises ProtocolError: ubusd broke the format; the connection is of no further use.
        """
        while (frame := self._reader.next_frame()) is not None:
            if self.client_id is None:
                return self._hello(frame)
            handler = _HANDLERS.get(
                frame.type
            )  # ubusd sends no other types to clients: ignored, as by libubus
            if handler is not None and (event := handler(self, frame)) is not None:
                return event
        return None

    def _hello(self, frame: Frame) -> Hello:
        if frame.type != MessageType.HELLO or self.client_id is not None:
            raise ProtocolError(f"message of type {frame.type}, where hello comes first, and once")
        self.client_id = frame.peer
        return Hello(frame.peer)

    def _answer(self, frame: Frame) -> Request | None:
        request = self._pending.get(frame.seq)
        if request is None:
            if frame.type == MessageType.STATUS:
                self._abandoned.pop(frame.seq, None)
            return None
        if frame.peer != request.peer and frame.peer not in (request.awaiting or ()):
            return None
        try:
            message = frame.message()
        except ProtocolError as error:
            return self._finish(request, error)
        if frame.type == MessageType.DATA:
            request.size += len(frame.body)
            if request.size > MAX_ANSWER:
                return self._finish(request, ProtocolError(f"an answer of more than {MAX_ANSWER} bytes"))
            request.answers.append(message)
            return None
        if request.awaiting is not None:
            return self._notified(request, request.awaiting, message)
        return self._completed(request, message)

    def _completed(self, request: Request, message: Message) -> Request:
        request.status = _status(message)
        request.from_ubusd = message.objid is None
        return self._finish(request)

    def _notified(self, request: Request, awaiting: set[int], message: Message) -> Request | None:
        """ubusd answers a notification with the list of subscribers, then each of them answers."""
        if message.peer == request.peer:
            if _status(message) == Status.OK:
                awaiting.update(message.subscribers or ())
            return None if awaiting else self._completed(request, message)
        awaiting.discard(message.peer)
        request.replied[message.peer] = _status(message)
        if awaiting:
            return None
        request.status = Status.OK
        return self._finish(request)

    def _finish(self, request: Request, error: ProtocolError | None = None) -> Request:
        del self._pending[request.seq]
        request.error = error
        return request

    def _invocation(self, frame: Frame) -> Invocation | None:
        body = frame.body
        head = self._heads.get(body[: self._head_length])
        data = None if head is None else last_attr(body, self._head_length, _DATA)
        if head is None or data is None:
            attrs = decode_attrs(body)
            head, data = _head(attrs), attrs.get(_DATA, b"")
            if head is None:
                return None
            self._cache_head(body, len(data))
        objid, method, user, group, no_reply = head
        return Invocation(objid, method, data, frame.seq, frame.peer, user, group, no_reply)

    def _cache_head(self, body: bytes, data_size: int) -> None:
        """ubusd writes a call's arguments last. What stands before them is the same in every call that one
        user makes of one method. Decoding it each time leaves no margin below the limit of 1.15 x the C
        binding's time: 1.14 to 1.16 instead of 1.10 to 1.12 (Python 3.11; 137,000 instructions a served call
        instead of 110,000).
        """
        length = len(body) - attr_size(data_size)
        if length > LONGEST_HEAD:
            return
        try:
            head = _head(decode_attrs(body[:length]))
        except ProtocolError:  # it ends within an attribute: the arguments were not the last
            return
        if head is not None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[body[:length]] = head
            self._head_length = length

    def _subscribers_changed(self, frame: Frame) -> SubscribersChanged | None:
        message = frame.message()
        if message.objid is None or message.active is None:
            return None
        return SubscribersChanged(message.objid, message.active)

    def _target_removed(self, frame: Frame) -> TargetRemoved | None:
        message = frame.message()
        if message.objid is None or message.target is None:
            return None
        return TargetRemoved(message.objid, message.target)

    # --- requests ------------------------------------------------------------------------------------

    def _request(self, kind: MessageType, peer: int, attrs: Mapping[int, AttrValue]) -> tuple[Request, bytes]:
        seq = self._free_number()
        data = encode_frame(kind, seq, peer, encode_attrs(attrs))
        self._seq = seq
        request = self._pending[seq] = Request(kind, seq, peer)
        return request, data

    def _free_number(self) -> int:
        for step in range(1, _SEQUENCE_NUMBERS + 1):
            seq = (self._seq + step) % _SEQUENCE_NUMBERS
            if seq not in self._pending and seq not in self._abandoned:
                return seq
        raise UsageError(f"{_SEQUENCE_NUMBERS} requests are waiting for an answer")

    def forget(self, request: Request) -> None:
        """Abandon a request: its answer, should it come, is ignored.

        Its number is not used again until that answer came, so that the answer cannot be taken for
        another request's; after :data:`MAX_ABANDONED` more that were abandoned it is used all the same.
        """
        if self._pending.get(request.seq) is not request:
            return
        del self._pending[request.seq]
        self._abandoned[request.seq] = None
        if len(self._abandoned) > MAX_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]

    @property
    def pending(self) -> int:
        """How many requests wait for their answer."""
        return len(self._pending)

    def lookup(self, pattern: str | None = None) -> tuple[Request, bytes]:
        """Look objects up: an exact name, a prefix with ``*`` at its end, ``None`` for all."""
        return self._request(MessageType.LOOKUP, 0, {} if pattern is None else {Attr.OBJPATH: pattern})

    def invoke(self, objid: int, method: str, data: bytes) -> tuple[Request, bytes]:
        """Call a method. ``data`` are the arguments, encoded by :func:`~ubus_py.blobmsg.encode_table`."""
        attrs: dict[int, AttrValue] = {Attr.OBJID: objid, Attr.METHOD: method, Attr.DATA: data}
        return self._request(MessageType.INVOKE, objid, attrs)

    def add_object(
        self, name: str | None = None, signature: Mapping[str, Mapping[str, int]] | None = None
    ) -> tuple[Request, bytes]:
        """Publish an object; without a name, one that only receives events and notifications."""
        attrs: dict[int, AttrValue] = {}
        if name is not None:
            attrs = {Attr.OBJPATH: name, Attr.SIGNATURE: encode_table(signature or {})}
        return self._request(MessageType.ADD_OBJECT, 0, attrs)

    def remove_object(self, objid: int) -> tuple[Request, bytes]:
        """Withdraw one of our objects."""
        return self._request(MessageType.REMOVE_OBJECT, 0, {Attr.OBJID: objid})

    def subscribe(self, objid: int, target: int) -> tuple[Request, bytes]:
        """Have our object ``objid`` receive the notifications of the object ``target``."""
        return self._request(MessageType.SUBSCRIBE, 0, {Attr.OBJID: objid, Attr.TARGET: target})

    def notify(self, objid: int, kind: str, data: bytes) -> tuple[Request, bytes]:
        """Notify our object's subscribers and have each of them answer."""
        attrs: dict[int, AttrValue] = {Attr.OBJID: objid, Attr.METHOD: kind, Attr.DATA: data}
        request, out = self._request(MessageType.NOTIFY, objid, attrs)
        request.awaiting = set()
        return request, out

    def notify_unanswered(self, objid: int, kind: str, data: bytes) -> bytes:
        """Notify our object's subscribers. Neither they nor ubusd answer."""
        attrs: dict[int, AttrValue] = {
            Attr.OBJID: objid, Attr.METHOD: kind, Attr.DATA: data, Attr.NO_REPLY: True,
        }  # fmt: skip
        request, out = self._request(MessageType.NOTIFY, objid, attrs)
        del self._pending[request.seq]
        return out

    def register_event(self, objid: int, pattern: str) -> tuple[Request, bytes]:
        """Have our object receive the events that match: an exact name, or a prefix with ``*``."""
        data = encode_table({"object": Int32(objid), "pattern": pattern})
        return self.invoke(SYSTEM_OBJECT_EVENT, "register", data)

    def send_event(self, name: str, data: Data = None) -> tuple[Request, bytes]:
        """Send an event to its listeners."""
        payload = encode_table({"id": name, "data": data or {}})
        return self.invoke(SYSTEM_OBJECT_EVENT, "send", payload)

    def ping(self) -> tuple[Request, bytes]:
        """Have ubusd answer."""
        return self._request(MessageType.PING, 0, {})

    # --- answers to calls ----------------------------------------------------------------------------

    @staticmethod
    def answer(call: Invocation, status: int, data: Data = None) -> bytes:
        """Encode the answer to a call: data, where given, and the status that ends it."""
        end = _STATUS_FRAME.pack(
            VERSION, _STATUS, call.seq, call.peer, _STATUS_LENGTH,
            _STATUS_WORD, status & 0xFFFFFFFF, _OBJID_WORD, call.objid,
        )  # fmt: skip
        if data is None:
            return end
        payload = encode_table(data)
        length = _DATA_LENGTH + len(payload)
        if length > MAX_MESSAGE:
            raise UsageError(f"an answer of {length} bytes; ubus takes at most {MAX_MESSAGE}")
        begin = _DATA_FRAME.pack(
            VERSION, _DATA_MESSAGE, call.seq, call.peer, length,
            _OBJID_WORD, call.objid, _DATA_WORD + len(payload),
        )  # fmt: skip
        return begin + payload + end


def _head(attrs: dict[int, Any]) -> _Head | None:
    if _OBJID not in attrs or _METHOD not in attrs:
        return None
    return attrs[_OBJID], attrs[_METHOD], attrs.get(_USER), attrs.get(_GROUP), attrs.get(_NO_REPLY, False)


def _status(message: Message) -> int:
    return Status.INVALID_ARGUMENT if message.status is None else message.status


_HANDLERS: dict[int, Callable[[Session, Frame], SessionEvent | None]] = {
    MessageType.HELLO: Session._hello,
    MessageType.STATUS: Session._answer,
    MessageType.DATA: Session._answer,
    MessageType.INVOKE: Session._invocation,
    MessageType.NOTIFY: Session._subscribers_changed,
    MessageType.UNSUBSCRIBE: Session._target_removed,
}
