"""One connection to ubusd as a state machine: bytes in, events out; verbs give the bytes to send. No IO.

It covers both roles, which real processes mix on one socket: caller (requests and their answers) and
publisher (calls, events and notifications to our objects).

    session = Session()
    session.receive_data(socket.recv(65536))
    event = session.next_event()              # Hello, then whatever comes; None: more data needed
    request, data = session.lookup("system")  # send data; the request comes back as an event, answered

Facts on which the correlation rests (ubus ``ubusd_proto.c``, ``libubus-req.c``):

- An answer carries the request's sequence number and, as peer, what the request was addressed to:
  0 for ubusd itself, else the object's id. ubusd writes that id itself, and only for an object that
  belongs to the sender, so another process cannot answer in an object's name.
- A status that ubusd made has no OBJID; one that the called process made has. So "not found" from
  ubusd (a stale id, the call was not delivered) differs from an object's own "not found".
- The attributes of answers are passed on by ubusd unread. What is wrong in them is that request's
  misfortune, not the connection's.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from .blobmsg import Encodable, Int32, Table, decode_table, encode_table
from .errors import ProtocolError, Status, UsageError
from .framing import FORWARD_GROWTH, MAX_MESSAGE, Frame, FrameReader, encode_frame
from .messages import (
    SYSTEM_OBJECT_EVENT,
    Attr,
    AttrValue,
    MessageType,
    decode_attrs,
    encode_attrs,
    table_payload,
)

MAX_ANSWER: Final = 16 << 20
"""How many bytes the data of one request may add up to, over all its DATA messages."""
_MAX_ABANDONED: Final = 4096
_MAX_HEADS: Final = 256
_LONGEST_HEAD: Final = 256
_Head: TypeAlias = "tuple[int, str, str | None, str | None]"

# The frames that make up a call, written out: header, blob length, then each attribute's word and number.
# A named tuple's own constructor takes its arguments by name, in Python: three times as long.
_new_tuple = tuple.__new__
_STATUS_FRAME = Struct(">BBHIIIIII")
_DATA_FRAME = Struct(">BBHIIIII")
_INVOKE_BEGIN = Struct(">II")
_WORD = Struct(">I")

Data: TypeAlias = "Mapping[str, Encodable] | None"


class Request:
    """A request on its way. Comes out of :meth:`Session.next_event` when it is answered."""

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
        self.answers: list[dict[int, AttrValue]] = []
        """The attributes of each DATA message, in order."""
        self.size = 0
        self.status: int = Status.NO_DATA
        """The final status, once answered."""
        self.from_ubusd = True
        """Whether ubusd itself gave the status (the call was not delivered), not the called object."""
        self.error: ProtocolError | None = None
        """Set when the answer broke the format; the status then means nothing."""
        self.awaiting: set[int] | None = None
        self.replied: dict[int, int] = {}
        """For a notification that asks for replies: each subscriber's object id and status."""

    def tables(self, *, errors: str = "surrogateescape") -> list[Table]:
        """The data of each DATA message. Raises :class:`ProtocolError`."""
        tables: list[Table] = []
        for attrs in self.answers:
            data = attrs.get(Attr.DATA)
            if isinstance(data, bytes):
                tables.append(decode_table(data, errors=errors))
        return tables

    def number(self, attr: Attr) -> int:
        """A number out of the last DATA message that has it. Raises :class:`ProtocolError`."""
        for attrs in reversed(self.answers):
            value = attrs.get(attr)
            if isinstance(value, int):
                return value
        raise ProtocolError(f"ubusd answered {MessageType(self.type).name} without {attr.name}")


class Hello(NamedTuple):
    """ubusd's greeting: the connection is usable."""

    client_id: int


class Invocation(NamedTuple):
    """Somebody calls a method of one of our objects; also an event or notification to one."""

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
        self._reader = FrameReader(MAX_MESSAGE + FORWARD_GROWTH)
        self._seq = 0
        self._pending: dict[int, Request] = {}
        self._abandoned: dict[int, None] = {}
        self._methods: dict[str, bytes] = {}  # METHOD attributes, encoded: names repeat
        self._heads: dict[bytes, _Head] = {}  # what stands before a call's arguments, decoded: it repeats
        self._head_length = 0  # the last one's: calls often come in runs of alike ones
        self.client_id: int | None = None
        """Our id on the bus, once ubusd said hello."""

    # --- bytes in, events out ------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take bytes off the socket."""
        self._reader.receive_data(data)

    def next_event(self) -> SessionEvent | None:
        """The next event; ``None`` when more bytes are needed.

        :raises ProtocolError: ubusd broke the format; the connection is of no further use.
        """
        next_frame = self._reader.next_frame
        while (frame := next_frame()) is not None:
            kind = frame.type
            if self.client_id is None:
                if kind != 0:
                    raise ProtocolError(f"message of type {kind} before hello")
                self.client_id = frame.peer
                return Hello(frame.peer)
            event: SessionEvent | None
            if kind == 1 or kind == 2:
                event = self._answer(frame)
            elif kind == 5:
                event = self._invocation(frame)
            elif kind == 10 or kind == 9:
                event = self._change(frame)
            elif kind == 0:
                raise ProtocolError("a second hello")
            else:
                event = None  # types that ubusd does not send to clients: as libubus does
            if event is not None:
                return event
        return None

    def _answer(self, frame: Frame) -> Request | None:
        request = self._pending.get(frame.seq)
        if request is None:
            if frame.type == 1:
                self._abandoned.pop(frame.seq, None)
            return None
        awaiting = request.awaiting
        if frame.peer != request.peer and (awaiting is None or frame.peer not in awaiting):
            return None
        try:
            attrs = decode_attrs(frame.body)
        except ProtocolError as error:
            return self._finish(request, error)
        if frame.type == 2:
            request.size += len(frame.body)
            if request.size > MAX_ANSWER:
                return self._finish(request, ProtocolError(f"an answer of more than {MAX_ANSWER} bytes"))
            request.answers.append(attrs)
            return None
        status = attrs.get(1, Status.INVALID_ARGUMENT)
        if awaiting is not None:
            if frame.peer != request.peer:
                awaiting.discard(frame.peer)
                request.replied[frame.peer] = status
            elif status == 0:
                awaiting.update(attrs.get(11, ()))
            if awaiting:
                return None
            if frame.peer != request.peer:
                status = 0
        request.status = status
        request.from_ubusd = 3 not in attrs
        return self._finish(request)

    def _finish(self, request: Request, error: ProtocolError | None = None) -> Request:
        del self._pending[request.seq]
        request.error = error
        return request

    def _invocation(self, frame: Frame) -> Invocation | None:
        body = frame.body
        length = self._head_length
        known = self._heads.get(body[:length])
        if known is not None and len(body) > length + 3:
            (word,) = _WORD.unpack_from(body, length)
            size = word & 0xFFFFFF
            if (word >> 24) & 0x7F == 7 and size > 3 and length + ((size + 3) & ~3) == len(body):
                its_object, called, user, group = known
                arguments = body[length + 4 : length + size]
                return _new_tuple(
                    Invocation, (its_object, called, arguments, frame.seq, frame.peer, user, group, False)
                )
        get = decode_attrs(body).get
        objid, method, data, no_reply = get(3), get(4), get(7, b""), get(10, False)
        if objid is None or method is None:
            return None
        if not no_reply:
            self._remember_head(body, len(data))
        return _new_tuple(
            Invocation, (objid, method, data, frame.seq, frame.peer, get(12), get(13), no_reply)
        )

    def _remember_head(self, body: bytes, size: int) -> None:
        """ubusd writes a call's arguments last. What stands before them is the same in every call that one
        user makes of one method.
        """
        length = len(body) - ((size + 7) & ~3)
        head = body[:length]
        if head not in self._heads:
            if length > _LONGEST_HEAD:
                return
            try:
                attrs = decode_attrs(head)
            except ProtocolError:  # it ends in the middle of an attribute: the arguments were not the last
                return
            if Attr.OBJID not in attrs or Attr.METHOD not in attrs:
                return
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[head] = (attrs[3], attrs[4], attrs.get(12), attrs.get(13))
        self._head_length = length

    @staticmethod
    def _change(frame: Frame) -> SubscribersChanged | TargetRemoved | None:
        attrs = decode_attrs(frame.body)
        objid = attrs.get(Attr.OBJID)
        if objid is None:
            return None
        if frame.type == MessageType.NOTIFY:
            active = attrs.get(Attr.ACTIVE)
            return None if active is None else SubscribersChanged(objid, active)
        target = attrs.get(Attr.TARGET)
        return None if target is None else TargetRemoved(objid, target)

    # --- requests ------------------------------------------------------------------------------------

    def _request(self, kind: int, peer: int, body: bytes) -> tuple[Request, bytes]:
        seq = self._seq
        for _ in range(0x10000):
            seq = (seq + 1) & 0xFFFF
            if seq not in self._pending and seq not in self._abandoned:
                break
        else:
            raise UsageError("65536 requests are waiting for an answer")
        data = encode_frame(kind, seq, peer, body)
        self._seq = seq
        request = self._pending[seq] = Request(kind, seq, peer)
        return request, data

    def forget(self, request: Request) -> None:
        """Give a request up: its answer, should it come, is ignored.

        Its number is not used again until that answer came, so that it cannot be taken for another's;
        after 4096 more that were given up it is anyway.
        """
        if self._pending.get(request.seq) is not request:
            return
        del self._pending[request.seq]
        self._abandoned[request.seq] = None
        if len(self._abandoned) > _MAX_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]

    @property
    def pending(self) -> int:
        """How many requests wait for their answer."""
        return len(self._pending)

    def lookup(self, pattern: str | None = None) -> tuple[Request, bytes]:
        """Look objects up: an exact name, a prefix with ``*`` at its end, ``None`` for all."""
        return self._request(4, 0, encode_attrs({2: pattern}) if pattern is not None else b"")

    def invoke(self, objid: int, method: str, data: bytes) -> tuple[Request, bytes]:
        """Call a method. ``data`` are the encoded arguments (:func:`~ubus_py.messages.table_payload`)."""
        begin = _INVOKE_BEGIN.pack(0x03000008, objid)
        name = self._methods.get(method)
        if name is None:
            name = encode_attrs({4: method})
            if len(self._methods) >= 256:
                self._methods.clear()
            self._methods[method] = name
        if len(data) > MAX_MESSAGE:
            raise UsageError(f"arguments of {len(data)} bytes; ubus takes at most {MAX_MESSAGE}")
        return self._request(5, objid, begin + name + _WORD.pack(0x07000004 + len(data)) + data)

    def add_object(
        self, name: str | None = None, signature: Mapping[str, Mapping[str, int]] | None = None
    ) -> tuple[Request, bytes]:
        """Publish an object; without a name, one that only receives events and notifications."""
        attrs: dict[int, AttrValue] = {}
        if name is not None:
            attrs[Attr.OBJPATH] = name
            attrs[Attr.SIGNATURE] = table_payload(signature)
        return self._request(6, 0, encode_attrs(attrs))

    def remove_object(self, objid: int) -> tuple[Request, bytes]:
        """Withdraw one of our objects."""
        return self._request(7, 0, encode_attrs({Attr.OBJID: objid}))

    def subscribe(self, objid: int, target: int) -> tuple[Request, bytes]:
        """Have our object ``objid`` receive the notifications of the object ``target``."""
        return self._request(8, 0, encode_attrs({Attr.OBJID: objid, Attr.TARGET: target}))

    def unsubscribe(self, objid: int, target: int) -> tuple[Request, bytes]:
        """The reverse of :meth:`subscribe`."""
        return self._request(9, 0, encode_attrs({Attr.OBJID: objid, Attr.TARGET: target}))

    def notify(self, objid: int, kind: str, data: bytes) -> tuple[Request, bytes]:
        """Notify our object's subscribers and have each of them answer."""
        request, out = self._request(10, objid, encode_attrs({3: objid, 4: kind, 7: data}))
        request.awaiting = set()
        return request, out

    def notify_unanswered(self, objid: int, kind: str, data: bytes) -> bytes:
        """Notify our object's subscribers. Neither they nor ubusd answer."""
        request, out = self._request(10, objid, encode_attrs({3: objid, 4: kind, 7: data, 10: True}))
        del self._pending[request.seq]
        return out

    def register_event(self, objid: int, pattern: str) -> tuple[Request, bytes]:
        """Have our object receive the events that match: an exact name, or a prefix with ``*``."""
        data = table_payload({"object": Int32(objid), "pattern": pattern})
        return self.invoke(SYSTEM_OBJECT_EVENT, "register", data)

    def send_event(self, name: str, data: Data = None) -> tuple[Request, bytes]:
        """Send an event to whoever listens."""
        payload = table_payload({"id": name, "data": data or {}})
        return self.invoke(SYSTEM_OBJECT_EVENT, "send", payload)

    def ping(self) -> tuple[Request, bytes]:
        """Have ubusd answer."""
        return self._request(3, 0, b"")

    # --- answers to calls ----------------------------------------------------------------------------

    @staticmethod
    def answer(call: Invocation, status: int, data: Data = None) -> bytes:
        """The answer to a call: data, where given, and the status that ends it."""
        end = _STATUS_FRAME.pack(
            0, 1, call.seq, call.peer, 20, 0x01000008, status & 0xFFFFFFFF, 0x03000008, call.objid
        )
        if data is None:
            return end
        payload = encode_table(data)
        length = 16 + len(payload)
        if length > MAX_MESSAGE:
            raise UsageError(f"an answer of {length} bytes; ubus takes at most {MAX_MESSAGE}")
        begin = _DATA_FRAME.pack(
            0, 2, call.seq, call.peer, length, 0x03000008, call.objid, 0x07000000 | length - 12
        )
        return begin + payload + end
