import Cluster
import CoordinatorStore
import Foundation
import GRDB
import StepProtocol
import Succession
import TestSupport
import Testing

/// What the coordinator decided is there after a restart, and a file that cannot be trusted is refused.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorStoreTests {
    private typealias Decision = CoordinatorRecord.Decision

    private static let id = StepID(term: 1, step: 5, attempt: 2)

    /// Every kind of decision, with values drawn by `generator`.
    private func decision(_ generator: inout some RandomNumberGenerator) -> Decision {
        func number(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &generator) }
        let slice: SliceName = number(2) == 0 ? .centers(number(8)) : .dense(number(4))
        switch number(21) {
        case 0: return .term(number(100), committed: number(100) - 1)
        case 1: return .committed(StepID(term: number(3), step: number(20), attempt: number(3)))
        case 2:
            let owners = (0..<8).map { (SliceName.centers($0), number(3)) } + (0..<4).map { (.dense($0), number(3)) }
            return .map(version: number(50), owners: Dictionary(uniqueKeysWithValues: owners))
        case 3, 4:
            let role: MemberRole = number(2) == 0 ? .shard : .worker
            return .member(
                MemberID(role, number(5)),
                .init(
                    incarnation: .random(in: .min ... .max, using: &generator), endpoint: "tcp://host:\(number(9))",
                    isDraining: number(2) == 0, place: "host:/d\(number(3))", directory: .max - UInt64(number(3))))
        case 5: return .gone(MemberID(number(2) == 0 ? .shard : .worker, number(5)))
        case 6:
            return .moves(
                (0..<number(4)).map { _ in
                    SliceMove(slice: slice, from: MemberID(.shard, number(3)), to: MemberID(.shard, number(3)))
                })
        case 7:
            let move = SliceMove(slice: slice, from: MemberID(.shard, 0), to: MemberID(.shard, 1))
            let kinds: [BoundaryTask.Kind] = [
                .skip, .checkpoint(directory: "a \"b\"/ç"), .restore(checkpoint: nil), .restore(checkpoint: ""),
                .classes(.add(count: 3, path: "x")), .handOver([move]),
            ]
            let kind = kinds[number(kinds.count)]
            return .task(number(4) == 0 ? nil : BoundaryTask(number: number(99), step: number(99) - 1, kind: kind))
        case 8:
            let all: [ClassOperation] = [.add(count: 4, path: ""), .retire([1, 5]), .merge(from: 2, into: 3)]
            return .operations(
                all.prefix(number(4)).map { .init(operation: $0, afterStep: number(2) == 0 ? nil : number(9)) },
                classVersion: number(4))
        case 9:
            return .checkpoints(
                (0..<number(3)).map {
                    .init(
                        step: $0, directory: "/c/\($0)", classVersion: number(3),
                        past: number(2) == 0 ? nil : .max - UInt64(number(5)))
                })
        case 10:
            let rules: [LearningRateRule] = [.schedule, .scaled(0.1), .fixed(.leastNormalMagnitude)]
            return .rates(
                (0..<number(4)).map { .init(fromStep: number(3) == 0 ? nil : $0 * 7, rule: rules[number(3)]) })
        case 20:
            let orders = ["m2=0.2 sample_rate=0.29", "scale=schedule", "interclass_filter=0.4"].compactMap {
                try? HeadOrder($0)
            }
            return .head(
                (0..<number(4)).map { .init(fromStep: number(3) == 0 ? nil : $0 * 7, order: orders[number(3)]) })
        case 11: return number(2) == 0 ? .paused(number(2) == 0) : .stopping(number(2) == 0)
        case 12: return .pasts((0..<number(4)).map { Past(name: .max - UInt64(number(9)), since: $0 - 1) })
        case 13: return .safe(number(1000) - 1)
        case 16:
            var jobs = JobHistory()
            jobs.ended = (0..<number(4)).map { UInt64.max - UInt64($0) }
            jobs.current =
                number(3) == 0
                ? nil : .init(id: .max, incarnations: [1 << 63, UInt64(number(9))], since: number(9) - 1)
            return .jobs(jobs)
        case 15:
            return .paces(Dictionary(uniqueKeysWithValues: (0..<number(4)).map { ($0 * 3, 1 / Double(1 + number(9))) }))
        case 19:
            return .view(
                CoordinatorView(
                    number: number(9), standby: number(2) == 0 ? nil : .init(id: .max, endpoint: "tcp://b:7400"),
                    successor: number(2) == 0 ? nil : "tcp://c:7400", voters: [[0, 2], [Int(number(5))]]))
        case 18:
            return .keepers(
                Dictionary(uniqueKeysWithValues: (0..<number(8)).map { (SliceName.centers($0), number(3)) }))
        case 14: return .attempts((0..<number(5)).map { StepID(term: number(3), step: 9 + $0, attempt: number(2)) })
        default: return .failed(number(2) == 0 ? nil : "a reason with 'quotes'")
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func whatWasWrittenIsLoaded(seed: UInt64) throws {
        let folder = try TemporaryFolder()
        var generator = KeyedGenerator(seed)
        var record = CoordinatorRecord()
        let cluster = CoordinatorDatabase.Cluster(
            id: "c1", configuration: "{\"seed\":1}", origin: .init(step: 7, directory: "/d", classVersion: 1))
        do {
            let store = try CoordinatorDatabase(directory: folder.path)
            #expect(try store.load() == nil)
            try store.create(cluster)
            store.close()
        }
        for _ in 0..<6 {
            let store = try CoordinatorDatabase(directory: folder.path)
            for _ in 0..<20 {
                let batch = (0..<Int.random(in: 1...3, using: &generator)).map { _ in decision(&generator) }
                try store.write(batch)
                for decision in batch { record.apply(decision) }
                #expect(try store.load()?.record == record, "after \(batch)")
            }
            store.close()
        }
        let store = try CoordinatorDatabase(directory: folder.path)
        try store.setInstructionSet("avx512")
        try store.setCompute(configuration: cluster.configuration, leastKernels: "avx2")
        let loaded = try #require(try store.load())
        #expect(loaded.record == record)
        #expect(loaded.cluster.id == cluster.id && loaded.cluster.configuration == cluster.configuration)
        #expect(loaded.cluster.origin == cluster.origin && loaded.cluster.instructionSet == "avx512")
        #expect(loaded.cluster.leastHeadKernels == "avx2")
        #expect(loaded.cluster.created.hasPrefix("20"))
    }

    @Test func aProcessThatDiesLosesNothing() throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorDatabase(directory: folder.path)
        try store.create(.init(id: "c", configuration: ""))
        try store.write([.term(1, committed: -1)])
        for step in 0..<50 { try store.write([.committed(StepID(term: 1, step: step, attempt: 0))]) }
        // What a killed process leaves: the files as they are, nothing closed.
        let copy = try TemporaryFolder()
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) where name != "lock" {
            try FileManager.default.copyItem(atPath: folder.path + "/" + name, toPath: copy.path + "/" + name)
        }
        #expect(try CoordinatorDatabase(directory: copy.path).load()?.record.committed == 49)
        withExtendedLifetime(store) {}
    }

    /// A record that is made again from copies is one that decisions lead to.
    @Test func everyRecordIsWhatItsDecisionsLeadTo() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<40 {
            var record = CoordinatorRecord()
            for _ in 0..<60 { record.apply(decision(&generator)) }
            let folder = try TemporaryFolder()
            var cluster = CoordinatorDatabase.Cluster(id: "c", configuration: "x: 1")
            (cluster.instructionSet, cluster.leastHeadKernels) = ("avx2", "fma")
            let store = try CoordinatorDatabase(directory: folder.path)
            try store.create(cluster, deciding: record.decisions)
            let stored = try #require(try store.load())
            #expect(stored.record == record)
            #expect(stored.cluster.leastHeadKernels == "fma" && stored.cluster.instructionSet == "avx2")
        }
    }

    @Test func aBatchIsWrittenWhollyOrNotAtAll() throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorDatabase(directory: folder.path)
        #expect(throws: CoordinatorStoreError.self) { try store.write([.term(1, committed: 3)]) }
        try store.create(.init(id: "c", configuration: ""))
        #expect(throws: CoordinatorStoreError.self) { try store.create(.init(id: "d", configuration: "")) }
        #expect(try store.load()?.cluster.id == "c")
        try execute("CREATE TRIGGER no BEFORE INSERT ON checkpoint BEGIN SELECT raise(ABORT, 'no'); END", folder)
        let checkpoint = CoordinatorRecord.CheckpointRecord(step: 1, directory: "", classVersion: 0)
        #expect(throws: CoordinatorStoreError.self) {
            try store.write([.committed(Self.id), .checkpoints([checkpoint])])
        }
        #expect(try store.load()?.record == CoordinatorRecord())
        try store.write([.committed(Self.id)])
        #expect(try store.load()?.record.committed == 5)
        #expect(try store.load()?.record.attempts == [Self.id])
    }

    @Test func aSecondCoordinatorIsRefused() throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorDatabase(directory: folder.path)
        let error = #expect(throws: CoordinatorStoreError.self) { try CoordinatorDatabase(directory: folder.path) }
        #expect(error?.code == .locked)
        #expect(error?.message.contains("process \(getpid())") == true, "\(error?.message ?? "")")
        withExtendedLifetime(store) {}
    }

    @Test func whatIsNotADatabaseIsRefused() throws {
        let folder = try TemporaryFolder()
        _ = try folder.write(
            Array("this is no database, but it is long enough to look like one".utf8), to: "coordinator.sqlite")
        let error = #expect(throws: CoordinatorStoreError.self) { try CoordinatorDatabase(directory: folder.path) }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains("--resume") == true)
    }

    @Test func aDamagedPageIsNoticed() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try CoordinatorDatabase(directory: folder.path)
            try store.create(.init(id: "c", configuration: String(repeating: "x", count: 20_000)))
            store.close()
        }
        let url = URL(fileURLWithPath: folder.path + "/" + CoordinatorDatabase.fileName)
        var bytes = try Data(contentsOf: url)
        for offset in 4096..<8192 { bytes[offset] = 0xA5 }
        try bytes.write(to: url)
        let error = #expect(throws: CoordinatorStoreError.self) { try CoordinatorDatabase(directory: folder.path) }
        #expect(error?.code == .damaged)
    }

    @Test func aNewerVersionIsRefused() throws {
        let folder = try TemporaryFolder()
        try CoordinatorDatabase(directory: folder.path).close()
        try execute("INSERT INTO grdb_migrations VALUES ('999')", folder)
        let error = #expect(throws: CoordinatorStoreError.self) { try CoordinatorDatabase(directory: folder.path) }
        #expect(error?.code == .version)
    }

    @Test func aDirectoryThatCannotBeMadeIsNamed() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write([1], to: "file")
        let error = #expect(throws: CoordinatorStoreError.self) { try CoordinatorDatabase(directory: file + "/state") }
        #expect(error?.code == .io)
        #expect(error?.message.contains(file) == true)
    }

    @Test func oldEventsAreDropped() throws {
        let folder = try TemporaryFolder()
        let store = try CoordinatorDatabase(directory: folder.path)
        let events = (0..<CoordinatorDatabase.eventLimit + 10).map {
            CoordinatorDatabase.Event(time: Double($0), level: "info", text: "event \($0)")
        }
        try store.append(Array(events.prefix(5)))
        try store.append(Array(events.dropFirst(5)))
        #expect(try store.events(last: .max).map(\.text) == events.dropFirst(10).map(\.text))
        #expect(try store.events(last: 2).map(\.time) == events.suffix(2).map(\.time))
        // They are numbered from 1, and go on where they were.
        #expect(try store.events(from: 0, count: 3).map(\.id) == [11, 12, 13])
        #expect(try store.events(from: 9_000, count: 1).map(\.text) == ["event 8999"])
        #expect(try store.events(from: CoordinatorDatabase.eventLimit + 10, count: 9).count == 1)
        #expect(try store.events(from: CoordinatorDatabase.eventLimit + 11, count: 9).isEmpty)
    }

    /// Runs SQL on the database, as another program would.
    private func execute(_ sql: String, _ folder: TemporaryFolder) throws {
        try DatabaseQueue(path: folder.path + "/" + CoordinatorDatabase.fileName).write { try $0.execute(sql: sql) }
    }
}

/// SplitMix64: the same decisions for the same seed.
private struct KeyedGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
