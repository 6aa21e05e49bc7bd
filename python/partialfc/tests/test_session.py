"""What a rank does when shards and the coordinator do what they do only on bad days."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import PATIENCE, wait_until
from fake import BATCH, JOB, SIZE, FakeCluster

import partialfc
from partialfc import messages as m
from partialfc.kept import KeptTurns
from partialfc.messages import JobID, StepID, StepReply
from partialfc.session import Session
from partialfc.turn import Turn


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    one = FakeCluster()
    yield one
    one.close()


@pytest.fixture
def session(fake: FakeCluster) -> Iterator[Session]:
    one = Session(fake.endpoint, None, JobID(JOB, 0, 1, -1, 0), embedding_size=SIZE, timeout=PATIENCE)
    yield one
    one.close("done")


def turn(step: int) -> Turn:
    """Inputs that differ from step to step."""
    source = np.random.default_rng(step)
    features = source.standard_normal((BATCH, SIZE)).astype("f4")
    margins, weights = source.random((BATCH, 3)).astype("f4"), source.random(BATCH).astype("f4")
    one = Turn(step, source.integers(0, 10, BATCH), 0.1 + step)
    one.give(features, margins, weights, 0, BATCH)
    return one


def train(session: Session, steps: range) -> list[Turn]:
    turns = [turn(step) for step in steps]
    for one in turns:
        session.submit(one)
        session.result(one)
        session.keep(one)
    return turns


def test_lost_steps_are_given_again_with_the_same_inputs(fake: FakeCluster, session: Session) -> None:
    turns = train(session, range(4))
    fake.requests.clear()
    fake.tell(fake.train(1, 0, term=2))
    wait_until(lambda: fake.plan.id == StepID(4, 0, 2))
    for step in (1, 2, 3):
        ((begin, labels),) = fake.of(step, m.BEGIN)
        ((_, forward),) = fake.of(step, m.FORWARD)
        ((_, backward),) = fake.of(step, m.BACKWARD)
        assert begin.learning_rate == np.float32(turns[step].rate)
        assert np.array_equal(labels[0], turns[step].labels)
        assert np.array_equal(forward[0], turns[step].features)
        assert np.array_equal(forward[1], turns[step].margins)
        assert np.array_equal(backward[1], turns[step].weights)
        assert np.array_equal(backward[0], turns[step].result.log_z)
    train(session, range(4, 6))


def test_going_back_before_what_is_kept_ends_the_job(fake: FakeCluster, session: Session) -> None:
    train(session, range(3))
    fake.tell(fake.train(3, 2, safe=1))
    wait_until(lambda: len(session._turns) == 1)
    fake.tell(fake.train(1, 0, term=2))
    with pytest.raises(partialfc.WentBack, match="step 0") as back:
        train(session, range(3, 5))
    assert back.value.step == 0


def test_another_attempt_gets_the_same_inputs_and_gives_no_second_result(fake: FakeCluster, session: Session) -> None:
    one = turn(0)
    session.submit(one)
    session.result(one)
    first = one.result
    fake.tell(fake.train(0, -1, attempt=1))
    wait_until(lambda: len(fake.of(0, m.BACKWARD)) == 2)
    assert one.result is first
    session.keep(one)
    assert [body.id.attempt for body in fake.told if isinstance(body, m.StepDone)] == [1]


def test_what_is_not_kept_is_never_reported_as_done(fake: FakeCluster, session: Session) -> None:
    one = turn(0)
    session.submit(one)
    session.result(one)
    wait_until(lambda: fake.of(0, m.BACKWARD))
    time.sleep(0.3)
    assert not [body for body in fake.told if isinstance(body, m.StepDone)]
    session.throw_away(one)
    wait_until(lambda: [body.code for body in fake.told if isinstance(body, m.StepFailed)] == [24])
    other = turn(100)
    other.step = 0
    session.submit(other)
    time.sleep(0.3)
    assert len(fake.of(0, m.BEGIN)) == 1
    fake.tell(fake.train(0, -1, attempt=1))
    session.result(other)
    assert np.array_equal(fake.of(0, m.BEGIN)[-1][1][0], other.labels)


def test_new_inputs_wait_for_an_attempt_that_no_rank_has_given_old_ones(fake: FakeCluster, session: Session) -> None:
    one = turn(0)
    session.submit(one)
    session.result(one)
    session.throw_away(one)
    # Another rank has given its old inputs to attempt 1 already.
    session.begin_after((1, 0, 1))
    session.submit(turn(0))
    fake.tell(fake.train(0, -1, attempt=1))
    time.sleep(0.3)
    assert len(fake.of(0, m.BEGIN)) == 1
    fake.tell(fake.train(0, -1, attempt=2))
    wait_until(lambda: [request.id.attempt for request, _ in fake.of(0, m.BEGIN)] == [0, 2])


def test_an_unanswered_request_is_asked_about_and_sent_again_if_missing(fake: FakeCluster, session: Session) -> None:
    dropped: list[int] = []

    def answer(request: m.StepRequest) -> StepReply | None:
        if request.phase == m.FORWARD and not dropped and not request.query:
            dropped.append(1)
            return None
        if request.query == 1:
            return StepReply(request.id, request.rank, request.phase, missing=m.Empty())
        return fake.usual(request)

    fake.answer = answer
    train(session, range(1))
    assert len(fake.of(0, m.FORWARD, 1)) == 1
    assert len(fake.of(0, m.FORWARD, 1)[0][1]) == 0
    assert [len(tensors) for _, tensors in fake.of(0, m.FORWARD)] == [2, 2]


def test_parts_are_sent_one_by_one_and_again_in_another_attempt(fake: FakeCluster, session: Session) -> None:
    whole, one = turn(0), Turn(0, turn(0).labels, 0.1)
    session.submit(one)
    first, second = m.Range(0, 1), m.Range(1, 2)
    for lower in (0, 2):
        here = slice(lower, lower + 2)
        one.give(whole.features[here], whole.margins[here], whole.weights[here], lower, lower + 2)
        session.give_features()
        session.result(one)
    fake.tell(fake.train(0, -1, attempt=1))
    wait_until(lambda: len(fake.of(0, m.BACKWARD)) == 2)
    session.keep(one)
    sent = fake.of(0, m.FORWARD)
    assert [request.part for request, _ in sent] == [first, second, first, second]
    for (_, tensors), lower in zip(sent, (0, 2, 0, 2), strict=True):
        assert np.array_equal(tensors[0], whole.features[lower : lower + 2])
        assert np.array_equal(tensors[1], whole.margins[lower : lower + 2])
    assert np.array_equal(fake.of(0, m.BACKWARD)[0][1][1], whole.weights)
    assert [len(part.losses) for part in one.results] == [2, 2]


def test_an_answer_to_an_earlier_part_is_not_taken_for_that_to_the_next(fake: FakeCluster, session: Session) -> None:
    def answer(request: m.StepRequest) -> StepReply:
        reply = fake.usual(request)
        if request.part == m.Range(1, 2) and not request.query:
            reply.part = m.Range(0, 1)
        return reply

    fake.answer = answer
    whole, one = turn(0), Turn(0, turn(0).labels, 0.1)
    session.submit(one)
    for lower in (0, 2):
        one.give(whole.features[lower : lower + 2], None, None, lower, lower + 2)
        session.give_features()
        session.result(one)
    assert [request.query for request, _ in fake.of(0, m.FORWARD, 1)] == [1]


def test_a_lost_answer_is_asked_for_again(fake: FakeCluster, session: Session) -> None:
    def answer(request: m.StepRequest) -> StepReply | None:
        if request.phase != m.BACKWARD or request.query == 2:
            return fake.usual(request)
        return StepReply(request.id, request.rank, request.phase, answered=m.Empty()) if request.query == 1 else None

    fake.answer = answer
    train(session, range(1))
    assert len(fake.of(0, m.BACKWARD)) == 1
    assert len(fake.of(0, m.BACKWARD, 2)) == 1


def test_not_ready_is_tried_again_soon_but_after_begin_it_is_reported(fake: FakeCluster, session: Session) -> None:
    count = 0

    def answer(request: m.StepRequest) -> StepReply:
        nonlocal count
        count += 1
        late = request.phase == m.FORWARD and request.id.attempt == 0
        if count <= 3 or late:
            return StepReply(request.id, request.rank, request.phase, not_ready=m.Position(StepID(), -1))
        return fake.usual(request)

    fake.answer = answer
    one = turn(0)
    session.submit(one)
    wait_until(lambda: [body.code for body in fake.told if isinstance(body, m.StepFailed)] == [17])
    assert len(fake.of(0, m.BEGIN)) == 4
    fake.tell(fake.train(0, -1, attempt=1))
    session.result(one)
    session.keep(one)


def test_stale_asks_for_the_plan(fake: FakeCluster, session: Session) -> None:
    def answer(request: m.StepRequest) -> StepReply:
        if request.id.attempt == 0:
            fake.plan = fake.train(0, -1, attempt=1)
            return StepReply(request.id, request.rank, request.phase, stale=m.Position(StepID(0, 1, 1), -1))
        return fake.usual(request)

    fake.answer = answer
    train(session, range(1))
    assert any(isinstance(body, m.Ready) for body in fake.told)


@pytest.mark.parametrize(
    ("code", "error"), [(21, partialfc.Superseded), (22, partialfc.JobDisagrees), (23, partialfc.StepGone), (7, partialfc.Refused)]
)
def test_refusals_end_the_job_with_their_words(fake: FakeCluster, session: Session, code: int, error: type[Exception]) -> None:
    train(session, range(1))
    fake.refuse(code, "because of this")
    with pytest.raises(error, match="because of this"):
        train(session, range(1, 20))


def test_a_shard_that_has_forgotten_the_rank_is_greeted_again(fake: FakeCluster, session: Session) -> None:
    forgotten: list[int] = []

    def answer(request: m.StepRequest) -> StepReply | m.Refusal:
        if request.phase == m.FORWARD and not forgotten:
            forgotten.append(1)
            return m.Refusal(12, "say hello")
        return fake.usual(request)

    fake.answer = answer
    train(session, range(2))
    assert len(fake.of(0, m.FORWARD)) == 2


def test_a_configuration_that_was_decided_later_is_fetched(fake: FakeCluster) -> None:
    fake.shard_hash = "decided"
    session = Session(fake.endpoint, None, JobID(JOB, 0, 1, -1, 0), embedding_size=SIZE, timeout=PATIENCE)
    train(session, range(2))
    session.close("done")


def test_inputs_are_dropped_beyond_their_limit() -> None:
    kept = KeptTurns(limit=3 * turn(0).byte_count)
    for step in range(5):
        one = turn(step)
        one.is_kept = True
        kept.put(one)
        kept.follow(m.Plan(id=StepID(step + 1, 0, 1), committed=step, safe=-1))
    assert [one.step for one in kept] == [2, 3, 4]
