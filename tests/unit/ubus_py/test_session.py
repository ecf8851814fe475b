"""The state machine without a socket: whose answer is whose, and what a hostile bus can do (nothing)."""

from __future__ import annotations

import pytest

from ubus_py import ProtocolError, Status, UsageError
from ubus_py.blobmsg import decode_table, encode_table
from ubus_py.session import (
    MAX_ANSWER,
    MAX_HEADS,
    Hello,
    Invocation,
    Request,
    Session,
    SessionEvent,
    SubscribersChanged,
    TargetRemoved,
)
from ubus_py.wire import (
    MAX_MESSAGE,
    Attr,
    AttrValue,
    FrameReader,
    Message,
    MessageType,
    decode_attrs,
    encode_attrs,
    encode_frame,
    encode_message,
)


def greeted() -> Session:
    session = Session()
    session.receive_data(encode_message(Message(MessageType.HELLO, 0, 0xABCD)))
    assert session.next_event() == Hello(0xABCD)
    assert session.client_id == 0xABCD
    return session


def hear(
    session: Session, kind: int, seq: int, peer: int, attrs: dict[int, AttrValue]
) -> SessionEvent | None:
    session.receive_data(encode_message(Message(kind, seq, peer, attrs)))
    return session.next_event()


def said(data: bytes) -> Message:
    reader = FrameReader()
    reader.receive_data(data)
    frame = reader.next_frame()
    assert frame is not None
    return frame.message()


def test_nothing_comes_before_hello_and_hello_comes_once() -> None:
    session = Session()
    session.receive_data(encode_message(Message(MessageType.STATUS, 1, 0, {Attr.STATUS: 0})))
    with pytest.raises(ProtocolError):
        session.next_event()
    session = greeted()
    with pytest.raises(ProtocolError):
        hear(session, MessageType.HELLO, 0, 1, {})


def test_a_call_and_its_answer() -> None:
    session = greeted()
    request, data = session.invoke(77, "echo", encode_table({"a": 1}))
    message = said(data)
    assert (message.type, message.seq, message.peer) == (MessageType.INVOKE, 1, 77)
    assert list(message.attrs) == [Attr.OBJID, Attr.METHOD, Attr.DATA]
    answer: dict[int, AttrValue] = {Attr.OBJID: 77, Attr.DATA: encode_table({"b": 2})}
    assert hear(session, MessageType.DATA, 1, 77, answer) is None
    assert hear(session, MessageType.STATUS, 1, 77, {Attr.STATUS: 0, Attr.OBJID: 77}) is request
    assert (request.tables(), request.status, request.from_ubusd) == ([{"b": 2}], 0, False)
    assert session.pending == 0


def test_ubusds_own_refusal_differs_from_the_objects() -> None:
    session = greeted()
    one, _ = session.invoke(77, "get", b"")
    two, _ = session.invoke(77, "get", b"")
    hear(session, MessageType.STATUS, one.seq, 77, {Attr.STATUS: 4})
    hear(session, MessageType.STATUS, two.seq, 77, {Attr.STATUS: 4, Attr.OBJID: 77})
    assert (one.from_ubusd, two.from_ubusd) == (True, False)


def test_another_object_cannot_answer_in_its_place() -> None:
    session = greeted()
    request, _ = session.invoke(77, "login", b"")
    assert hear(session, MessageType.DATA, request.seq, 66, {Attr.OBJID: 66, Attr.DATA: b""}) is None
    assert hear(session, MessageType.STATUS, request.seq, 66, {Attr.STATUS: 0, Attr.OBJID: 66}) is None
    assert not request.answers
    assert session.pending == 1


def test_answers_in_any_order() -> None:
    session = greeted()
    requests = [session.invoke(77, "m", b"")[0] for _ in range(500)]
    for request in reversed(requests):
        assert hear(session, MessageType.STATUS, request.seq, 77, {Attr.STATUS: 0, Attr.OBJID: 77}) is request
    assert session.pending == 0


def test_a_late_answer_matches_no_call() -> None:
    session = greeted()
    request, _ = session.invoke(77, "slow", b"")
    session.forget(request)
    session.forget(request)
    assert session.pending == 0
    for _ in range(70_000):  # the numbers come round; the one in doubt is passed over
        other, _ = session.invoke(77, "m", b"")
        assert other.seq != request.seq
        hear(session, MessageType.STATUS, other.seq, 77, {Attr.STATUS: 0, Attr.OBJID: 77})
    assert hear(session, MessageType.STATUS, request.seq, 77, {Attr.STATUS: 0, Attr.OBJID: 77}) is None
    assert not session._abandoned


def test_requests_given_up_leave_only_so_much() -> None:
    session = greeted()
    for _ in range(20_000):
        session.forget(session.invoke(77, "void", b"")[0])
    assert session.pending == 0
    assert len(session._abandoned) <= 4096


def test_numbers_in_use_are_not_used_twice_and_run_out() -> None:
    session = greeted()
    seqs = {session.ping()[0].seq for _ in range(0x10000)}
    assert len(seqs) == 0x10000
    with pytest.raises(UsageError):
        session.ping()


def test_a_malformed_answer_ends_its_request_alone() -> None:
    session = greeted()
    bad, _ = session.invoke(77, "m", b"")
    good, _ = session.invoke(77, "m", b"")
    session.receive_data(encode_frame(MessageType.DATA, bad.seq, 77, bytes.fromhex("0700ffff00000000")))
    assert session.next_event() is bad
    assert isinstance(bad.error, ProtocolError)
    assert hear(session, MessageType.STATUS, good.seq, 77, {Attr.STATUS: 0, Attr.OBJID: 77}) is good


def test_an_answer_without_end_is_cut_off() -> None:
    session = greeted()
    request, _ = session.invoke(77, "flood", b"")
    piece = encode_frame(MessageType.DATA, request.seq, 77, b"\x07\x0f\xff\xfc" + bytes(MAX_MESSAGE - 8))
    for _ in range(MAX_ANSWER // MAX_MESSAGE + 1):
        session.receive_data(piece)
        event = session.next_event()
        if event is not None:
            break
    assert event is request
    assert isinstance(request.error, ProtocolError)


def test_a_notification_collects_every_subscriber_s_status() -> None:
    session = greeted()
    request, data = session.notify(77, "tick", b"")
    assert Attr.NO_REPLY not in said(data).attrs
    first: dict[int, AttrValue] = {Attr.OBJID: 77, Attr.SUBSCRIBERS: (5, 6), Attr.STATUS: 0}
    assert hear(session, MessageType.STATUS, request.seq, 77, first) is None
    assert hear(session, MessageType.STATUS, request.seq, 9, {Attr.STATUS: 0, Attr.OBJID: 9}) is None
    assert hear(session, MessageType.STATUS, request.seq, 6, {Attr.STATUS: 3, Attr.OBJID: 6}) is None
    assert hear(session, MessageType.STATUS, request.seq, 5, {Attr.STATUS: 0, Attr.OBJID: 5}) is request
    assert (request.status, request.replied) == (0, {6: 3, 5: 0})


def test_a_notification_without_subscribers_is_done_at_once() -> None:
    session = greeted()
    request, _ = session.notify(77, "tick", b"")
    answer: dict[int, AttrValue] = {Attr.OBJID: 77, Attr.SUBSCRIBERS: (), Attr.STATUS: 0}
    assert hear(session, MessageType.STATUS, request.seq, 77, answer) is request
    refused, _ = session.notify(78, "tick", b"")
    assert hear(session, MessageType.STATUS, refused.seq, 78, {Attr.STATUS: 4}) is refused
    assert refused.status == Status.NOT_FOUND


def test_what_ubusd_sends_unrequested() -> None:
    session = greeted()
    assert hear(session, MessageType.NOTIFY, 1, 0, {Attr.OBJID: 7, Attr.ACTIVE: True}) == SubscribersChanged(
        7, True
    )
    assert hear(session, MessageType.UNSUBSCRIBE, 1, 0, {Attr.OBJID: 7, Attr.TARGET: 8}) == TargetRemoved(
        7, 8
    )
    call: dict[int, AttrValue] = {
        Attr.NO_REPLY: True, Attr.OBJID: 7, Attr.METHOD: "m",
        Attr.USER: "root", Attr.GROUP: "root", Attr.DATA: b"",
    }  # fmt: skip
    assert hear(session, MessageType.INVOKE, 9, 3, call) == Invocation(
        7, "m", b"", 9, 3, "root", "root", True
    )


_ARGUMENTS = encode_table({"a": 1})
_HEADS: tuple[dict[int, AttrValue], ...] = (
    {Attr.OBJID: 7, Attr.METHOD: "m"},
    {Attr.OBJID: 8, Attr.METHOD: "m"},
    {Attr.OBJID: 7, Attr.METHOD: "m", Attr.USER: "root", Attr.GROUP: "root"},
    {Attr.OBJID: 7, Attr.METHOD: "m", Attr.NO_REPLY: True},
    {Attr.OBJID: 7, Attr.METHOD: "m", Attr.DATA: b"abc"},
    {Attr.METHOD: "m"},
    {Attr.OBJID: 7},
)
_TAILS = (
    *(encode_attrs({Attr.DATA: data}) for data in (b"", b"abc", _ARGUMENTS, b"\4\0\0\6n\0\0\0")),
    encode_attrs({Attr.DATA: _ARGUMENTS, Attr.NO_REPLY: True}),
    encode_attrs({Attr.DATA: _ARGUMENTS, Attr.USER: "a user with a name"}),
    encode_attrs({Attr.METHOD: "other", Attr.DATA: _ARGUMENTS}),
    encode_attrs({Attr.SIGNATURE: _ARGUMENTS}),
    encode_attrs({Attr.OBJID: 9}),
    encode_attrs({Attr.DATA: b"abcd", Attr.OBJID: 9}),
    encode_attrs({Attr.DATA: b"abcd", Attr.METHOD: "abc"}),
    b"",
    b"\x07",
    b"\x07\0\0\3",
    b"\x07\0\0\x10",
    b"\x07\0\0\6ab",
)


def test_how_a_call_is_read_does_not_depend_on_those_before() -> None:
    """What repeats from call to call is read once only. Whatever stands in whatever order, and repeated."""

    def heard(session: Session, body: bytes) -> object:
        session.receive_data(encode_frame(MessageType.INVOKE, 9, 3, body))
        try:
            return session.next_event()
        except ProtocolError as error:
            return str(error)

    def there(body: bytes) -> object:
        try:
            get = decode_attrs(body).get
        except ProtocolError as error:
            return str(error)
        if get(Attr.OBJID) is None or get(Attr.METHOD) is None:
            return None
        callers = get(Attr.USER), get(Attr.GROUP), get(Attr.NO_REPLY, False)
        return Invocation(get(Attr.OBJID, 0), get(Attr.METHOD, ""), get(Attr.DATA, b""), 9, 3, *callers)

    bodies = [encode_attrs(head) + tail for head in _HEADS for tail in _TAILS]
    for before in bodies:
        for body in bodies:
            session = greeted()
            heard(session, before)
            assert heard(session, body) == there(body)


def test_what_callers_send_does_not_pile_up() -> None:
    session = greeted()
    for number in range(1000):
        call: dict[int, AttrValue] = {Attr.OBJID: 7, Attr.METHOD: f"m{number}" * 4, Attr.DATA: b""}
        assert hear(session, MessageType.INVOKE, 1, 3, call) is not None
    assert 0 < len(session._heads) <= MAX_HEADS


@pytest.mark.parametrize("kind", [MessageType.PING, MessageType.LOOKUP, MessageType.MONITOR, 200])
def test_types_that_are_not_for_clients_are_passed_over(kind: int) -> None:
    assert hear(greeted(), kind, 1, 0, {}) is None


@pytest.mark.parametrize("kind", [MessageType.INVOKE, MessageType.NOTIFY, MessageType.UNSUBSCRIBE])
def test_messages_without_an_object_are_passed_over(kind: int) -> None:
    assert hear(greeted(), kind, 1, 0, {}) is None


def test_too_long_a_message_is_refused_and_changes_nothing() -> None:
    session = greeted()
    with pytest.raises(UsageError):
        session.invoke(77, "m", bytes(MAX_MESSAGE))
    with pytest.raises(UsageError):
        session.invoke(77, "m", bytes(MAX_MESSAGE - 20))
    assert session.pending == 0
    request, data = session.lookup("system")
    assert said(data).seq == request.seq == 1
    call = Invocation(7, "m", b"", 9, 3, None, None, False)
    with pytest.raises(UsageError):
        session.answer(call, 0, {"x": "x" * MAX_MESSAGE})


def test_an_answer_with_a_body_and_a_status() -> None:
    call = Invocation(7, "m", b"", 9, 3, None, None, False)
    reader = FrameReader()
    reader.receive_data(Session.answer(call, Status.NOT_FOUND, {"error": {"code": "x"}}))
    body, status = reader.next_frame(), reader.next_frame()
    assert body is not None
    assert status is not None
    assert (body.type, body.seq, body.peer) == (MessageType.DATA, 9, 3)
    assert decode_table(body.message().data or b"") == {"error": {"code": "x"}}
    assert list(body.message().attrs) == [Attr.OBJID, Attr.DATA]
    assert status.message().attrs == {Attr.STATUS: 4, Attr.OBJID: 7}


def test_event_registration_carries_an_unsigned_id_in_32_bits() -> None:
    session = greeted()
    _, data = session.register_event(0xEC09911A, "a.*")
    assert decode_table(said(data).data or b"") == {"object": 0xEC09911A - (1 << 32), "pattern": "a.*"}


def test_a_missing_number_in_an_answer_is_ubusd_s_fault() -> None:
    with pytest.raises(ProtocolError):
        Request(MessageType.ADD_OBJECT, 1, 0).object_id()
