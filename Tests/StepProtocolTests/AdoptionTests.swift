import Cluster
import Foundation
import StepProtocol
import TestSupport
import Testing

/// What is made of the copies of a record that shards keep.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct AdoptionTests {
    /// Four slices and two of the backbone: shard 0 owns half of each, shard 1 the rest.
    private func record(term: Int = 3, committed: Int = 10, classVersion: Int = 0) -> CoordinatorRecord {
        var record = CoordinatorRecord()
        record.apply(.term(term, committed: committed))
        for number in 0..<2 {
            record.apply(
                .member(
                    MemberID(.shard, number), .init(incarnation: 7, endpoint: "e\(number)", place: "host:/d\(number)")))
        }
        let owners = (0..<4).map { (SliceName.centers($0), $0 / 2) } + (0..<2).map { (.dense($0), $0) }
        record.apply(.map(version: 2, owners: Dictionary(uniqueKeysWithValues: owners)))
        record.apply(.pasts([Past(term: 1, incarnation: 9, since: -1)]))
        let operations = (0..<classVersion).map {
            CoordinatorRecord.ClassChange(operation: .retire([$0]), afterStep: $0)
        }
        record.apply(.operations(operations, classVersion: classVersion))
        return record
    }

    private func claim(
        _ number: Int, _ copy: CoordinatorRecord?, copyNumber: Int = 1, newest: Int = 20, classVersion: Int = 0,
        cluster: String = "c", owns: Bool = true, lastTask: Int = 0, applied: [Adoption.Applied] = []
    ) -> Adoption.Claim {
        var held = ShardHoldings(
            place: "host:/d\(number)", mapVersion: 2, classVersion: classVersion,
            past: Past(term: 1, incarnation: 9, since: -1).name, lastTask: lastTask)
        if owns { (held.slices, held.denseSlices) = (SliceSet(2 * number..<2 * number + 2), [number]) }
        return Adoption.Claim(
            cluster: cluster, number: number, term: 5,
            state: ShardState(newest: newest, oldest: 0, hasSlices: owns, holdings: held),
            copy: copy.map { .init(number: copyNumber, record: $0) }, applied: applied)
    }

    private func outcome(_ claims: Adoption.Claim...) -> (record: CoordinatorRecord?, text: String) {
        var adoption = Adoption(sliceCount: 4, denseSliceCount: 2)
        for claim in claims { adoption.hear(claim) }
        switch adoption.outcome() {
        case .waiting(let reason): return (nil, reason)
        case .complete(let newest, let record, _): return (record, "\(newest)")
        }
    }

    /// A copy may come from anybody: what nobody can have decided is found before anyone counts on it.
    @Test func recordsThatCannotBe() {
        #expect(record(classVersion: 2).problem(sliceCount: 4, denseSliceCount: 2) == nil)
        let changes: [(String, (inout CoordinatorRecord) -> Void)] = [
            ("term", { $0.term = .max }), ("term", { $0.term = -1 }), ("step", { $0.committed = .max }),
            ("step", { $0.committed = -2 }), ("step", { $0.safe = 1 << 50 }), ("number", { $0.nextTask = .max }),
            ("number", { $0.nextShard = .min }), ("number", { $0.mapVersion = -1 }),
            ("operations", { $0.classVersion = 3 }), ("operations", { $0.classVersion = -1 }),
            ("slice 4", { $0.owners[.centers(4)] = 0 }), ("dense", { $0.keepers[.dense(2)] = 0 }),
            ("number", { $0.owners[.centers(0)] = -1 }),
            ("step", { $0.task = BoundaryTask(number: 1, step: .max, kind: .skip) }),
            ("number", { $0.task = BoundaryTask(number: .max, step: 1, kind: .skip) }),
            ("step", { $0.rates = [.init(fromStep: .min, rule: .schedule)] }),
            ("step", { $0.checkpoints = [.init(step: .max, directory: "d", classVersion: 0)] }),
            ("number", { $0.checkpoints = [.init(step: 1, directory: "d", classVersion: -4)] }),
            ("term", { $0.attempts = [StepID(term: .max, step: 1, attempt: 0)] }),
            ("number", { $0.members[MemberID(.shard, .max)] = .init(incarnation: 1, endpoint: "e") }),
            (
                "slice 9",
                {
                    let move = SliceMove(slice: .centers(9), from: MemberID(.shard, 0), to: MemberID(.shard, 1))
                    $0.task = BoundaryTask(number: 1, step: 1, kind: .promote([move]))
                }
            ),
        ]
        for (word, change) in changes {
            var record = record(classVersion: 2)
            change(&record)
            let problem = record.problem(sliceCount: 4, denseSliceCount: 2)
            #expect(problem?.contains(word) == true, "\(word): \(problem ?? "nothing is wrong")")
        }
    }

    /// Log records and copies of the coordinator's record have them as JSON, which may say anything.
    @Test func setsOfFilesHaveOneForm() throws {
        let set = SliceSet([0..<3, 5..<9])
        #expect(try JSONDecoder().decode(SliceSet.self, from: JSONEncoder().encode(set)) == set)
        #expect(String(decoding: try JSONEncoder().encode(set), as: UTF8.self) == #"{"ranges":[[0,3],[5,9]]}"#)
        for ranges in ["[[5,9],[0,2]]", "[[0,2],[2,3]]", "[[1,1]]", "[[-1,2]]", "[[0,9223372036854775807]]", "[[3,1]]"]
        {
            #expect(throws: DecodingError.self) {
                try JSONDecoder().decode(SliceSet.self, from: Data(#"{"ranges":\#(ranges)}"#.utf8))
            }
        }
    }

    /// What a standby is told step by step, before it is applied.
    @Test func decisionsThatCannotBeCountedOn() {
        let good: [CoordinatorRecord.Decision] = [
            .committed(StepID(term: 1, step: 0, attempt: 0)), .task(nil), .paused(true),
            .gone(MemberID(.worker, 3)), .task(BoundaryTask(number: 1, step: 0, kind: .skip)),
        ]
        #expect(good.count { $0.isCountable } == good.count)
        let bad: [CoordinatorRecord.Decision] = [
            .committed(StepID(term: 1, step: .min, attempt: 0)), .committed(StepID(term: 1, step: .max, attempt: 0)),
            .member(MemberID(.shard, .max), .init(incarnation: 1, endpoint: "e")), .gone(MemberID(.worker, -1)),
            .task(BoundaryTask(number: .max, step: 0, kind: .skip)),
        ]
        #expect(bad.count { $0.isCountable } == 0)
        #expect(StepID(code: "9223372036854775807.5.0") == nil && StepID(code: "3.5.0") != nil)
    }

    @Test func shardsThatNameWhatCannotBeAreNotBelieved() throws {
        var liar = claim(1, record())
        liar.term = 1 << 40
        #expect(outcome(claim(0, record()), liar).text.contains("shard-1 is missing"))
        let applied = Adoption.Applied(version: 1, step: .max, operation: .retire([1]))
        let text = outcome(
            claim(0, record(), classVersion: 1, applied: [applied]), claim(1, record(), classVersion: 1))
        #expect(try #require(text.record).committed < 1 << 40)
    }

    @Test func whatIsMissingIsSaid() {
        #expect(outcome().text.contains("no shard server"))
        let alone = outcome(claim(0, record())).text
        #expect(
            alone.contains("shard-1 is missing, with slices 2–3 and dense slices 1 (its directory: host:/d1)"),
            "\(alone)")
        #expect(alone.contains("shard-0 with the steps to 20") && alone.contains("serve --resume"), "\(alone)")
        // One that came back with nothing.
        let emptied = outcome(claim(0, record()), claim(1, nil, owns: false)).text
        #expect(emptied.contains("no shard that is there has slices 2–3 and dense slices 1"), "\(emptied)")
        #expect(outcome(claim(0, nil), claim(1, nil)).text.contains("no shard that is there has a copy"))
        let mixed = outcome(claim(0, record()), claim(1, record(), cluster: "other")).text
        #expect(mixed.contains("host:/d0") && mixed.contains("other"), "\(mixed)")
    }

    @Test func beforeTheFirstStepNothingIsMissing() {
        let fresh = record(committed: -1)
        #expect(
            outcome(claim(0, fresh, newest: -1), claim(1, nil, newest: -1, owns: false)).record == raised(fresh, -1))
        // Nor does one matter that was given slices and does not know its number yet.
        var adoption = Adoption(sliceCount: 4, denseSliceCount: 2)
        adoption.hear(claim(0, fresh, newest: -1))
        guard case .waiting = adoption.outcome() else { return #expect(Bool(false), "a shard is missing") }
        adoption.hear(incarnation: 8, endpoint: "e1")
        guard case .complete = adoption.outcome() else { return #expect(Bool(false), "it is there") }
    }

    private func raised(_ record: CoordinatorRecord, _ committed: Int) -> CoordinatorRecord {
        var record = record
        (record.term, record.committed) = (5, committed)
        return record
    }

    @Test func theNewestCopyCounts() {
        var newer = record()
        newer.isPaused = true
        for (first, second) in [(1, 2), (2, 1)] {
            let (found, source) = outcome(
                claim(0, first > second ? newer : record(), copyNumber: first),
                claim(1, first > second ? record() : newer, copyNumber: second))
            #expect(found?.isPaused == true && source == "shard-\(first > second ? 0 : 1)")
        }
        // A later term first.
        var later = record(term: 4)
        later.isStopping = true
        #expect(outcome(claim(0, newer, copyNumber: 9), claim(1, later, copyNumber: 1)).record?.isStopping == true)
    }

    @Test func stepsAndTermsComeFromShards() {
        // Step 20 may be prepared alone; the one before it is committed.
        #expect(outcome(claim(0, record(), newest: 20), claim(1, record(), newest: 19)).record == raised(record(), 19))
    }

    // MARK: An owner that is lost too

    private static let patience = Duration.seconds(40)

    /// Shard 2 owns a slice besides, and keeps copies of what shard 1 owns.
    private func copied(classVersion: Int = 0, task: BoundaryTask? = nil) -> CoordinatorRecord {
        var record = record(classVersion: classVersion)
        var owners = record.owners
        owners[.centers(0)] = 2
        record.apply(.map(version: 2, owners: owners))
        record.apply(.keepers([.centers(2): 2, .centers(3): 2, .dense(1): 2]))
        record.apply(.task(task))
        return record
    }

    private func keeper(_ copy: CoordinatorRecord, kept: SliceSet = [2, 3], classVersion: Int = 0) -> Adoption.Claim {
        var claim = claim(2, copy, classVersion: classVersion)
        if var held = claim.state.holdings {
            (held.slices, held.denseSlices) = ([0], [])
            (held.keptSlices, held.keptDense) = (kept, [1])
            claim.state.holdings = held
        }
        return claim
    }

    private func outcome(
        _ claims: [Adoption.Claim], after wait: Duration, patience: Duration? = patience
    ) -> (record: CoordinatorRecord?, text: String) {
        var adoption = Adoption(sliceCount: 4, denseSliceCount: 2, patience: patience)
        for claim in claims { adoption.hear(claim, at: .seconds(5)) }
        switch adoption.outcome(at: .seconds(5) + wait) {
        case .waiting(let reason): return (nil, reason)
        case .complete(_, let record, let absent): return (record, "without \(absent)")
        }
    }

    @Test func anOwnerOfWhichOthersKeepCopiesIsPassedOver() {
        let claims = [claim(0, copied()), keeper(copied())]
        let early = outcome(claims, after: .seconds(39)).text
        #expect(early.contains("shard-1 is missing, with slices 2–3 and dense slices 1"), "\(early)")
        #expect(early.contains("40.0 seconds after the first shard was heard"), "\(early)")
        let late = outcome(claims, after: .seconds(40))
        #expect(late.text == "without [shard-1]" && late.record?.owners == copied().owners)
        #expect(outcome(claims + [claim(1, copied())], after: .zero).text == "without []")
    }

    @Test func whatIsNotCopiedIsWaitedFor() {
        let hour = Duration.seconds(3600)
        let incomplete = outcome([claim(0, copied()), keeper(copied(), kept: [2])], after: hour).text
        #expect(incomplete.contains("no shard that is there keeps a complete copy of slices 3."), "\(incomplete)")
        #expect(incomplete.contains("serve --resume"), "\(incomplete)")
        // Copies of other classes do not count, nor does a keeper that has lost its own slices.
        let older = copied(classVersion: 1)
        #expect(outcome([claim(0, older, classVersion: 1), keeper(older)], after: hour).record == nil)
        var emptied = keeper(copied())
        emptied.state.holdings?.slices = []
        emptied.state.holdings?.past = 0
        #expect(outcome([claim(0, copied()), emptied], after: hour).record == nil)
        #expect(outcome([claim(0, copied()), keeper(copied())], after: hour, patience: nil).record == nil)
    }

    @Test func whatACheckpointReplacesNeedNotBeThere() {
        var loading = copied(task: BoundaryTask(number: 4, step: 20, kind: .restore(checkpoint: "/c")))
        loading.apply(.pasts(loading.pasts + [Past(term: 3, incarnation: 9, since: 20)]))
        let claims = [claim(0, loading), keeper(loading, kept: [])]
        #expect(outcome(claims, after: .seconds(39)).record == nil)
        #expect(outcome(claims, after: .seconds(40)).record?.task == loading.task)
    }

    @Test func nobodyBeginsBehindACopy() {
        var ahead = keeper(copied())
        (ahead.state.newest, ahead.state.oldest) = (20, 20)
        #expect(outcome([claim(0, copied()), ahead], after: .seconds(40)).record?.committed == 20)
    }

    @Test func aTaskThatIsOverIsNotDoneAgain() {
        var copy = record(committed: 18)
        copy.apply(.task(BoundaryTask(number: 4, step: 18, kind: .handOver([]))))
        #expect(outcome(claim(0, copy, newest: 19), claim(1, copy, newest: 19)).record?.task?.number == 4)
        #expect(outcome(claim(0, copy, newest: 20), claim(1, copy, newest: 19)).record?.task == nil)
        copy.apply(.task(BoundaryTask(number: 5, step: 18, kind: .restore(checkpoint: nil))))
        #expect(outcome(claim(0, copy, newest: 18), claim(1, copy, newest: 18)).record?.task == nil)
        copy.apply(.pasts(copy.pasts + [Past(term: 3, incarnation: 9, since: 18)]))
        #expect(outcome(claim(0, copy, newest: 20), claim(1, copy, newest: 19)).record?.task?.number == 5)
    }

    @Test func operationsThatTheCopyLacksComeFromShards() {
        let second = Adoption.Applied(version: 2, step: 15, operation: .merge(from: 1, into: 3))
        let copy = record(classVersion: 1)
        // Steps came after it: it is done.
        let done = outcome(claim(0, copy, classVersion: 2), claim(1, copy, classVersion: 2, applied: [second])).record
        #expect(done?.classVersion == 2 && done?.task == nil)
        #expect(done?.operations.last == .init(operation: second.operation, afterStep: 15))
        // Only one has done it: it is announced again, under the number that this one knows.
        let half = outcome(
            claim(0, copy, newest: 15, classVersion: 1, lastTask: 4),
            claim(1, copy, newest: 15, classVersion: 2, lastTask: 5, applied: [second])
        ).record
        #expect(half?.classVersion == 1 && half?.committed == 15)
        #expect(half?.operations.last == .init(operation: second.operation))
        #expect(half?.task == BoundaryTask(number: 5, step: 15, kind: .classes(second.operation)))
        // One that waited in the copy is the same one.
        var waiting = copy
        waiting.operations.append(.init(operation: second.operation))
        waiting.operations.append(.init(operation: .retire([9])))
        let both = outcome(claim(0, waiting, classVersion: 2, applied: [second]), claim(1, waiting, classVersion: 2))
            .record
        #expect(both?.operations.count == 3 && both?.classVersion == 2 && both?.operations[1].afterStep == 15)
    }

    @Test func aShardKeepsWhatItsCopyLacks() {
        var kept = KeptRecord()
        kept.note(.retire([1]), version: 1, after: 4)
        kept.note(.retire([2]), version: 2, after: 5)
        kept.take(RecordCopy(id: 1, classVersion: 1, text: "a"))
        #expect(kept.applied.map(\.version) == [2])
        // It was undone, and another one was done.
        kept.note(.retire([3]), version: 2, after: 6)
        #expect(kept.applied == [.init(version: 2, step: 6, operation: .retire([3]))])
        kept.take(RecordCopy(id: 2, classVersion: 2, text: "b"))
        #expect(kept.applied.isEmpty && kept.copy?.id == 2)
    }
}
