"""Whatever a peer sends, and whatever is in a file, ends in an error of this package. HOSTILE_ROUNDS=20000 makes it a long test."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from mutations import ALL, filled, mutated, mutated_json

from partialfc import WeightError, import_weight
from partialfc import messages as m
from partialfc.configuration import configuration_of
from partialfc.errors import KeyFileError, MalformedMessage, PartialFCError
from partialfc.frames import Assembler, frames
from partialfc.head import PartialFC
from partialfc.job import torn_file
from partialfc.keys import Keys
from partialfc.messages import Header
from partialfc.ranges import Ranges
from partialfc.safetensors import write_rows

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "0")) or 1000


def survive(rounds: int, attempt: Callable[[random.Random], object]) -> int:
    """Tries so many rounds, each with numbers of its own; how many ended in an error of the package."""
    refused = 0
    for seed in range(rounds):
        try:
            attempt(random.Random(seed))
        except PartialFCError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"round {seed}: {error!r}") from error
    return refused


@pytest.fixture(autouse=True)
def _lists_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile.stand_in(monkeypatch)


@pytest.mark.parametrize("exchange", [m.FEATURES, m.ROWS])
def test_good_messages_train_a_step(exchange: int) -> None:
    session = hostile.as_rank(hostile.step(exchange))
    assert session._attempt is not None
    assert session._attempt.is_prepared
    assert session.class_count() == hostile.CLASSES + 5


def test_good_answers_are_read() -> None:
    hostile.as_operator({})


def test_every_message() -> None:
    def attempt(source: random.Random) -> None:
        body = filled(source.choice(ALL))
        for parts in frames(Header(request=1, body=body), [np.ones((2, 3), "<f4"), np.zeros((0, 4), "<i8")], 1):
            Assembler().take(mutated(source, [bytes(part) for part in parts]))

    for cls in ALL:
        assert Header.decode(Header(request=1, body=filled(cls)).encode()).body == filled(cls)
    assert survive(ROUNDS, attempt) > ROUNDS // 10


@pytest.mark.parametrize("exchange", [m.FEATURES, m.ROWS])
def test_a_rank(exchange: int) -> None:
    good, others = hostile.step(exchange), hostile.others()

    def attempt(source: random.Random) -> None:
        script = list(good)
        at = source.randrange(len(script))
        if source.random() < 0.3:
            script.insert(source.randrange(len(script) + 1), source.choice(others))
        script[at] = (script[at][0], mutated(source, script[at][1]))
        hostile.as_rank(script)

    assert survive(ROUNDS, attempt) > ROUNDS // 10


def test_an_operator() -> None:
    good = hostile.good_answers()

    def attempt(source: random.Random) -> None:
        name = source.choice(list(good))
        hostile.as_operator({name: mutated(source, good[name])})

    assert survive(ROUNDS, attempt) > ROUNDS // 10


def test_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.safetensors", "centers", (3, 2), [np.ones((3, 2), np.float32)])
    rows = (tmp_path / "rows.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", rows)
    header, after = rows[8 : 8 + length].decode(), rows[8 + length :]
    index = json.dumps({"metadata": {}, "weight_map": {"centers": "rows.safetensors"}})
    manifest = json.dumps({"body": {"jobFiles": [{"name": "job/a", "bytes": 3}]}})
    (tmp_path / "job").mkdir()
    (tmp_path / "job/a").write_text("abc")

    def attempt(source: random.Random) -> None:
        changed = mutated_json(source, header).encode(errors="replace")
        (tmp_path / "bad.safetensors").write_bytes(struct.pack("<Q", len(changed)) + changed + after)
        (tmp_path / "bad.index.json").write_bytes(mutated_json(source, index).encode(errors="replace"))
        (tmp_path / "manifest.json").write_bytes(mutated_json(source, manifest).encode(errors="replace"))
        assert isinstance(torn_file(tmp_path), str)
        import_weight(tmp_path / source.choice(["bad.safetensors", "bad.index.json"]), tmp_path / "out.safetensors")

    assert survive(ROUNDS, attempt) > ROUNDS // 10


def test_ranges() -> None:
    source = np.random.default_rng(1)
    for _ in range(50):
        lower = source.integers(0, 100, 20)
        upper = lower + source.integers(1, 10, 20)
        numbers = np.arange(-5, 120)
        expected = np.any([(numbers >= a) & (numbers < b) for a, b in zip(lower, upper, strict=True)], axis=0)
        assert np.array_equal(Ranges.joined(zip(lower.tolist(), upper.tolist(), strict=True)).have(numbers), expected)
    assert Ranges([(5, 7, 1), (0, 5, 0), (9, 10, 2)]).owners(np.asarray([-1, 0, 4, 5, 6, 7, 9, 10])).tolist() == [-1, 0, 0, 1, 1, -1, 2, -1]
    assert Ranges([]).owners(np.asarray([0])).tolist() == [-1]


def key_file(folder: Path, **values: str) -> Path:
    names = ["own-public-key", "own-secret-key", "bulk-secret-key", "coordinator-public-key", "shard-server-public-key"]
    content = {"version": "1", "role": "worker", "name": "w", **dict.fromkeys(names, "0" * 40), **values}
    (folder / "key").write_text("".join(f"{name} {value}\n" for name, value in content.items()))
    (folder / "key").chmod(0o600)
    return folder


def test_key_files_with_what_no_socket_takes(tmp_path: Path) -> None:
    Keys.read(key_file(tmp_path))
    for value in ("~" * 40, "é" * 40, "#" * 40):
        with pytest.raises(KeyFileError, match="40 characters of Z85"):
            Keys.read(key_file(tmp_path, **{"own-secret-key": value}))
    with pytest.raises(KeyFileError, match="name has more than 255 bytes"):
        Keys.read(key_file(tmp_path, name="n" * 256))


@pytest.mark.parametrize("change", [{"step": 1 << 60}, {"past": -1}, {"past": 1 << 64}])
def test_states_of_a_head_that_cannot_be_sent(change: dict[str, int]) -> None:
    head = PartialFC(None, hostile.SIZE, hostile.CLASSES, cluster="tcp://127.0.0.1:7000")
    with pytest.raises(PartialFCError, match="no state of a PartialFC head"):
        head.set_extra_state({"step": 5, "past": 3, "cluster": "c", "hash": "h"} | change)


# What the mutations found, and what they would find too seldom.


def frame(info: m.TensorInfo, data: bytes = b"") -> list[bytes]:
    return [Header(body=m.Rows(), tensors=[info]).encode(), data]


@pytest.mark.parametrize("shape", [[0, 1 << 62], [0, (1 << 64) - 1], [(1 << 48) + 1], [0, 1 << 30, 1 << 30], [1 << 40, 1 << 40]])
def test_impossible_shapes(shape: list[int]) -> None:
    for in_fragments in (False, True):
        with pytest.raises(MalformedMessage, match=r"too large|is allowed"):
            Assembler().take(frame(m.TensorInfo(0, shape, in_fragments)))


def test_an_empty_tensor_does_not_come_in_fragments() -> None:
    with pytest.raises(MalformedMessage, match="empty and cannot come in fragments"):
        Assembler().take(frame(m.TensorInfo(0, [0, 4], True)))
    assert Assembler().take(frame(m.TensorInfo(0, [0, 4]))) is not None


def test_all_tensors_of_a_message_count_together() -> None:
    header = Header(body=m.Rows(), series=1, tensors=[m.TensorInfo(4, [1 << 29], True)] * 3)
    with pytest.raises(MalformedMessage, match="the tensors of a message have"):
        Assembler().take([header.encode(), b"", b"", b""])


@pytest.mark.parametrize(("info", "data"), [(m.TensorInfo(0, [1]), b"abcd"), (m.TensorInfo(4, [5]), b"abcd"), (m.TensorInfo(4, [0]), b"")])
def test_a_fragment_is_one_tensor_of_bytes(info: m.TensorInfo, data: bytes) -> None:
    assembler = Assembler()
    assert assembler.take([Header(body=m.Rows(), series=1, tensors=[m.TensorInfo(4, [8], True)]).encode(), b""]) is None
    with pytest.raises(MalformedMessage, match="a fragment"):
        assembler.take([Header(body=m.Fragment(1, 0), tensors=[info]).encode(), data])
    with pytest.raises(MalformedMessage, match="a fragment"):
        assembler.take([Header(body=m.Fragment(1, 0), tensors=[]).encode()])


def test_a_header_that_would_take_much_memory() -> None:
    many = Header(body=m.SliceHashes()).encode()[:-1]
    inner = b"\x12\x00" * (1 << 20)
    with pytest.raises(MalformedMessage, match="more than 1048576 fields"):
        Header.decode(many + struct.pack("BBBB", 0x80, 0x80, 0x80, 0x01) + inner)
    with pytest.raises(MalformedMessage, match="17825793 bytes"):
        Header.decode(bytes((17 << 20) + 1))


@pytest.mark.parametrize(
    ("path", "value"),
    [(("data",), 5), (("data", "classes"), "10"), (("data", "classes"), 0), (("batch", "micro_batch"), 0), (("batch", "micro_batch"), 3),
     (("head", "scale"), float("nan")), (("head", "slices"), 1 << 60), (("head", "m1"), None), (("optimizer",), []), (("schedule",), 1)],
)  # fmt: skip
def test_configurations_that_nothing_can_be_computed_with(path: tuple[str, ...], value: Any) -> None:
    configuration = json.loads(json.dumps(hostile.CONFIGURATION))
    configuration_of(json.dumps(configuration))
    holder = configuration
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    with pytest.raises(MalformedMessage, match=path[-1]):
        hostile.as_rank([(False, hostile._frames(m.Welcome(4, "fake", m.Member(0, 7), json.dumps(configuration))))])


@pytest.mark.parametrize(
    "operations",
    ["[5]", "{}", "null", "[" * 50_000, '[{"add":5}]', '[{"add":{"count":1e999}}]',
     '[{"add":{"count":-5}}]', '[{"retire":{"ranges":[[5,1]]}}]',
     '[{"retire":{"_0":[99999999999999999999]}}]', '[{"merge":{"from":1,"into":10}}]', '[{"dance":{}}]', '[{"add":{"count":1}}]'],
)  # fmt: skip
def test_operations_on_the_classes_that_are_none(operations: str) -> None:
    script = hostile.step(m.FEATURES)[:2]
    with pytest.raises(MalformedMessage, match="list of operations on the classes"):
        hostile.as_rank([*script, (False, hostile._frames(m.Classes(4, operations)))])


def test_a_plan_with_other_samples_than_the_rank_has() -> None:
    good = hostile.step(m.FEATURES)
    plan = Header.decode(good[1][1][0]).body
    plan.ranks[0].micro_batches = m.Range(0, 1)
    good[1] = (False, hostile._frames(plan))
    with pytest.raises(MalformedMessage, match=r"micro-batches 0 to 1 .* 4 samples"):
        hostile.as_rank(good)


def test_a_code_that_is_none_does_not_reach_the_coordinator() -> None:
    good = hostile.step(m.FEATURES)
    good[5] = (True, hostile._frames(m.StepReply(hostile.ID, 0, m.BEGIN, refused=m.Refusal(999, "no"))))
    session = hostile.as_rank(good)
    attempt = session._attempt
    assert attempt is not None
    assert attempt.failure is not None
    assert session._speaker.failed(attempt, attempt.failure).code == 16


def test_rows_of_another_width() -> None:
    rows = [np.ones((hostile.CLASSES, 1), "<f4")] * 2 + [np.ones((hostile.CLASSES, 2), "<i8")]
    with pytest.raises(MalformedMessage, match="10 rows of 3 numbers"):
        hostile.as_operator({"ReadRows": hostile._frames(m.Rows(), rows)})


def test_an_index_names_files_beside_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.safetensors", "centers", (3, 2), [np.ones((3, 2), np.float32)])
    (tmp_path / "in").mkdir()
    (tmp_path / "in/centers.safetensors.index.json").write_text(json.dumps({"weight_map": {"centers": "../rows.safetensors"}}))
    with pytest.raises(WeightError, match="in the same directory"):
        import_weight(tmp_path / "in", tmp_path / "out.safetensors")
