"""The codec against the examples of PROTOCOL.md, and against garbage."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from conftest import REPOSITORY

from partialfc import _version, protobuf
from partialfc.errors import MalformedMessage, PartialFCError
from partialfc.frames import Assembler, frames
from partialfc.messages import Header, Hello, Member, StepReply, StepRequest

PAGE = REPOSITORY / "Sources/Wire/PROTOCOL.md"
HEADERS = ["hello", "welcome", "begin", "begun", "checkpoint", "task done", "announcement", "fragment"]


def examples() -> dict[str, bytes]:
    """The hexadecimal examples of the page, by name."""
    if not PAGE.exists():
        return {}
    found = {}
    for name, text in re.findall(r"```hex ([^\n]*)\n(.*?)```", PAGE.read_text(), re.S):
        rows = [re.match(r"\s*((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:\s{2,}|$)", line) for line in text.splitlines()]
        found[name] = b"".join(bytes.fromhex(row.group(1)) for row in rows if row)
    return found


@pytest.mark.parametrize("name", HEADERS)
def test_examples_of_the_page_byte_for_byte(name: str) -> None:
    found = examples()
    if not found:
        pytest.skip("the page is not here")
    assert Header.decode(found[name]).encode() == found[name]


def test_numbers_of_the_example() -> None:
    found = examples()
    if not found:
        pytest.skip("the page is not here")
    body = Header.decode(found["hello"]).body
    assert isinstance(body, Hello)
    assert (body.previous_number, body.cluster_id, body.class_count, body.incarnation) == (-1, "glyphs", 5530, 300)
    begin = Header.decode(found["begin"])
    assert isinstance(begin.body, StepRequest)
    assert begin.body.learning_rate == 0.5
    assert begin.body.committed == 11
    reply = Header.decode(found["begun"]).body
    assert isinstance(reply, StepReply)
    assert reply.done is not None
    assert reply.stale is None


def test_the_version_is_that_of_the_programs() -> None:
    constant = REPOSITORY / "Sources/Core/ProcessSupport/ProgramVersion.swift"
    if not constant.exists():
        pytest.skip("the sources are not here")
    assert f'"{_version.__version__}"' in constant.read_text()


def test_garbage_is_refused_in_words() -> None:
    source = random.Random(1)
    good = Header(request=7, body=Hello(name="x", previous_number=-1)).encode()
    refused = 0
    for _ in range(20000):
        data = bytearray(good)
        for _ in range(source.randint(1, 3)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            Header.decode(bytes(data[: source.randint(0, len(data))]))
        except MalformedMessage:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize("data", [b"\xff" * 11, b"\x08", b"\x12\x05\x08", b"\x00\x00", b"\x0f"])
def test_broken_headers(data: bytes) -> None:
    with pytest.raises(PartialFCError):
        Header.decode(data)


def test_signed_numbers() -> None:
    for value in (0, -1, 1, (1 << 47)):
        assert protobuf.decode(Hello, protobuf.encode(Hello(previous_number=value))).previous_number == value
    for value in (-2, -(1 << 47), (1 << 48) + 1):
        with pytest.raises(MalformedMessage, match=f"previous_number in the header is {value}; -1 to"):
            protobuf.decode(Hello, protobuf.encode(Hello(previous_number=value)))
    with pytest.raises(ValueError, match="64 bits"):
        protobuf.encode(Member(number=1 << 64))


def test_large_tensors_travel_in_fragments() -> None:
    large = np.arange(700_000, dtype="<f4").reshape(7, -1)
    small, none = np.asarray([5], "<i8"), np.zeros((0, 3), "<f4")
    sent = list(frames(Header(request=3, body=Hello()), [small, large, none], 9))
    assert len(sent) == 1 + 3
    assembler = Assembler()
    received = [assembler.take([bytes(part) for part in parts]) for parts in sent]
    assert received[:-1] == [None] * 3
    assert received[-1] is not None
    header, tensors = received[-1]
    assert header.request == 3
    assert np.array_equal(tensors[0], small)
    assert np.array_equal(tensors[1], large)
    assert tensors[2].shape == (0, 3)


def test_a_lost_fragment_ends_the_message() -> None:
    sent = list(frames(Header(request=3, body=Hello()), [np.zeros(700_000, "<f4")], 9))
    assembler = Assembler()
    for parts in (sent[0], sent[2], sent[1], sent[3]):
        assert assembler.take([bytes(part) for part in parts]) is None
    assert not assembler.is_receiving


def test_tensors_must_be_as_described() -> None:
    parts = [bytes(part) for part in next(frames(Header(body=Hello()), [np.zeros(4, "<f4")], 1))]
    with pytest.raises(MalformedMessage, match="15 bytes"):
        Assembler().take([parts[0], parts[1][:-1]])
    with pytest.raises(MalformedMessage, match="0 frames"):
        Assembler().take(parts[:1])
