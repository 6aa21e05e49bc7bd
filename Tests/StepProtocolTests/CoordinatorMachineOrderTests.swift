internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of docs/step-protocol.md for orders that are checked before they are decided, and for calling off.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineOrderTests {
    private var cluster = CoordinatorFixture()
    private static let order = ClassOperation.add(count: 2, path: "/new")

    init() { cluster.start() }

    private var state: CoordinatorStatus.ClassOrder.State? { cluster.machine.status(at: cluster.now).order?.state }

    @Test mutating func anOrderIsDecidedWhenEveryShardHasReadTheSame() {
        #expect(cluster.tell(.classes(Self.order)) == [])
        #expect(cluster.machine.operations.isEmpty, "not before it is checked")
        #expect(
            cluster.tell(.classes(Self.order))
                == ["no: another order is being checked (add 2 classes from /new): give this one again after it"])
        cluster.commit()
        #expect(cluster.task?.kind == .check(Self.order))
        cluster.acknowledge("s0", outcome: .done(detail: "0f"))
        #expect(state == .checking)
        cluster.acknowledge("s1", outcome: .done(detail: "0f"))
        #expect(state == .decided)
        #expect(cluster.task?.kind == .classes(.add(count: 2, path: "/new", hash: "0f")), "of the rows that were read")
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.classVersion == 1)
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func anOrderThatOneShardCannotFollowIsRefused() {
        cluster.tell(.classes(Self.order))
        cluster.commit()
        cluster.acknowledge("s1", outcome: .failed(message: "no such file"))
        #expect(cluster.task != nil, "everyone is heard")
        #expect(
            cluster.acknowledge("s0", outcome: .done(detail: "0f"))
                == ["error: the order to add 2 classes from /new is refused: shard-1: no such file"])
        #expect(state == .refused("shard-1: no such file"))
        #expect(cluster.machine.operations.isEmpty)
        #expect(cluster.machine.activity == .train, "and training goes on")
    }

    @Test mutating func shardsThatReadDifferentRowsAreNamed() {
        cluster.tell(.classes(Self.order))
        cluster.commit()
        cluster.acknowledge("s0", outcome: .done(detail: "0f"))
        cluster.acknowledge("s1", outcome: .done(detail: "1f"))
        #expect(state == .refused("shards have read different rows under that path: shard-0 0f; shard-1 1f"))
    }

    @Test mutating func aCheckGoesOnAfterARestart() {
        cluster.tell(.classes(Self.order))
        cluster.commit()
        cluster.restart()
        for shard in 0..<2 {
            cluster.join(
                "s\(shard)", incarnation: UInt64(100 + shard), previous: shard, state: CoordinatorFixture.holding(0))
        }
        #expect(cluster.task?.kind == .check(Self.order))
        cluster.acknowledge("s0", "s1", outcome: .done(detail: "0f"))
        #expect(cluster.machine.operations.map(\.operation) == [.add(count: 2, path: "/new", hash: "0f")])
    }

    /// A database of before orders were checked: the operation is decided, and one shard cannot do it.
    private mutating func getStuck() {
        cluster.tell(.classes(.retire([3])))
        cluster.commit()
        cluster.acknowledge("s0")
        cluster.acknowledge("s1", outcome: .failed(message: "no such file"))
        #expect(cluster.machine.status(at: cluster.now).taskFailures == [MemberID(.shard, 1): "no such file"])
    }

    @Test mutating func aChangeOfTheClassesIsCalledOffByGoingBack() {
        getStuck()
        #expect(
            cluster.tell(.cancel).first == "warning: the order to retire 3 is called off: the classes stay as they are")
        #expect(cluster.machine.operations.isEmpty)
        #expect(cluster.task?.kind == .restore(checkpoint: nil), "whoever has done it takes it back")
        #expect(cluster.task?.step == 0)
        #expect(cluster.machine.plan.classVersion == 0)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id.step == 1)
    }

    /// What they name would be other classes without it.
    @Test mutating func ordersThatCameAfterItAreCalledOffToo() {
        getStuck()
        cluster.tell(.classes(.retire([5])))
        #expect(cluster.machine.operations.count == 2)
        #expect(cluster.tell(.cancel).contains("warning: so are the orders that came after it: retire 5"))
        #expect(cluster.machine.operations.isEmpty)
    }

    @Test mutating func itIsCalledOffAfterARestartToo() {
        getStuck()
        cluster.restart()
        #expect(cluster.tell(.cancel).count > 0)
        for shard in 0..<2 {
            cluster.join(
                "s\(shard)", incarnation: UInt64(200 + shard), previous: shard, state: CoordinatorFixture.holding(0))
        }
        cluster.join("w5")
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        cluster.tell(
            .taskDone(
                "s0", MemberID(.shard, 0), incarnation: 200, number: cluster.task?.number ?? 0, .done(detail: "")))
        cluster.tell(
            .taskDone(
                "s1", MemberID(.shard, 1), incarnation: 201, number: cluster.task?.number ?? 0, .done(detail: "")))
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.operations.isEmpty)
    }

    @Test mutating func whatCannotBeCalledOffSaysWhatToDo() {
        #expect(cluster.tell(.cancel) == ["no: nothing is under way that could be called off"])
        cluster.tell(.restore(checkpoint: "", step: -1))
        cluster.acknowledge("s1", outcome: .failed(message: "no such file"))
        let refusal = cluster.tell(.cancel).first ?? ""
        #expect(refusal.contains("coordinator restore CHECKPOINT") && refusal.contains("shard-1: no such file"))
        #expect(cluster.machine.record.task != nil)
    }

    @Test mutating func anOrderThatWaitsIsCalledOff() {
        cluster.tell(.classes(Self.order))
        cluster.tell(.cancel)
        #expect(state == .refused("it was called off"))
        cluster.commit()
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func resultsAreGivenUp() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 1) { $0.writesResults = true })
        for shard in 0..<2 { cluster.join("s\(shard)") }
        cluster.join("w0", writesResults: true)
        cluster.commit()
        cluster.tell(.cancel)
        #expect(cluster.machine.activity == .finished)
    }
}
