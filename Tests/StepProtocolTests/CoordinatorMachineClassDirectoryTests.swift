internal import Cluster
internal import Determinism
internal import StepProtocol
import TestSupport
import Testing

/// Directories from before an operation on the classes: the step is the same, the rows are not.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineClassDirectoryTests {
    private var cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 100))

    init() {
        cluster.start()
        cluster.commit(through: 2)
    }

    /// What shard 0 has on its disk.
    private func holding(_ change: (inout ShardHoldings) -> Void = { _ in }) -> ShardState {
        var state = CoordinatorFixture.holding(cluster.machine.committed)
        var held = ShardHoldings(
            place: "host:/s0", identity: 1, slices: [0, 1, 2, 3], denseSlices: [0, 1],
            mapVersion: cluster.database.mapVersion, classVersion: cluster.database.classVersion,
            past: cluster.database.pasts.present)
        change(&held)
        state.holdings = held
        return state
    }

    private mutating func changeClasses() {
        cluster.tell(.classes(.retire([5])))
        cluster.commit()
        cluster.acknowledge("s0", "s1")
        #expect(cluster.database.classVersion == 1)
        cluster.tell(.left(MemberID(.shard, 0), incarnation: 100))
    }

    private mutating func join(_ incarnation: UInt64, _ state: ShardState) -> String {
        cluster.join("s7", incarnation: incarnation, previous: 0, state: state).last ?? "no answer"
    }

    @Test mutating func whatHasNotSeenAnOperationIsRefused() {
        changeClasses()
        let words = join(900, holding { $0.classVersion = 0 })
        #expect(words.contains("it has seen 0 operations on the classes, and shard-0 has done 1"), "\(words)")
        #expect(join(901, holding()) == "s7 is shard-0")
    }

    @Test mutating func aCopyOfASliceFromBeforeAnOperationDoesNotCount() {
        changeClasses()
        let old = holding { ($0.slices, $0.received, $0.receivedClassVersion) = ([0, 1, 2], [3], 0) }
        let words = join(900, old)
        #expect(words.contains("its copy of slice 3 is from before an operation on the classes"), "\(words)")
        let alone = holding {
            ($0.slices, $0.denseSlices, $0.received, $0.receivedDense) = ([], [], [0, 1, 2, 3], [0, 1])
            ($0.classVersion, $0.receivedClassVersion) = (0, 0)
        }
        #expect(join(901, alone).contains("its copy of slice 0 and 5 more is from before"))
        let new = holding { ($0.slices, $0.received, $0.receivedClassVersion) = ([0, 1, 2], [3], 1) }
        #expect(join(902, new) == "s7 is shard-0")
    }

    @Test mutating func aShardThatDoesNotSayOfWhichClassesItsCopiesAreIsBelieved() {
        changeClasses()
        let state = holding { ($0.slices, $0.received) = ([0, 1, 2], [3]) }
        #expect(join(900, state) == "s7 is shard-0")
    }

    @Test mutating func whoHasDoneTheOperationBeforeTheRecordHadItIsNoCopy() {
        cluster.tell(.classes(.retire([5])))
        cluster.commit()
        cluster.acknowledge("s0")
        cluster.tell(.left(MemberID(.shard, 0), incarnation: 100))
        #expect(join(900, holding { $0.classVersion = 1 }) == "s7 is shard-0")
    }
}
