internal import Cluster
internal import Foundation
internal import StepProtocol
import TestSupport
import Testing

/// What becomes of a cluster whose shards come back with something else than the record: tables of cases in `TestData/reconcile`.
///
/// A case is what the record says, what each shard holds, a line `----`, and what the coordinator says and does then.
/// `REWRITE_TEST_DATA=1` writes what it does now; read the difference before you keep it.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ReconciliationTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "TestData/reconcile")

    static let files = ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()

    @Test func thereAreTables() { #expect(Self.files.count >= 4) }

    @Test(arguments: files) func everyCaseEndsAsWritten(file: String) throws {
        let path = Self.folder.appending(path: file)
        let text = try String(contentsOf: path, encoding: .utf8)
        var actual: [String] = []
        for block in text.components(separatedBy: "\n\n") {
            let parts = block.trimmingCharacters(in: .newlines).components(separatedBy: "\n----")
            guard parts.count == 2 else {
                actual.append(parts[0])
                continue
            }
            let input = parts[0].split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
            var table = Table()
            for line in input { try table.read(line) }
            actual.append(([parts[0], "----"] + table.output + [table.conclusion]).joined(separator: "\n"))
        }
        let result = actual.joined(separator: "\n\n") + "\n"
        if ProcessInfo.processInfo.environment["REWRITE_TEST_DATA"] != nil {
            try result.write(to: path, atomically: true, encoding: .utf8)
        }
        for (new, old) in zip(actual, text.components(separatedBy: "\n\n")) {
            #expect(new == old.trimmingCharacters(in: .newlines), "\(file)")
        }
    }
}

/// A cluster that is read from lines: what the record says, then who joins.
private struct Table {
    typealias Machine = CoordinatorMachine

    private var record = CoordinatorRecord()
    private var machine: Machine?
    private(set) var output: [String] = []

    /// A line: a subject, and `name=value` for what is not as usual.
    mutating func read(_ line: String) throws {
        var words = line.split(separator: " ").map(String.init)
        let subject = words.removeFirst()
        var values: [String: String] = [:]
        for word in words {
            let pair = word.split(separator: "=", maxSplits: 1).map(String.init)
            values[pair[0]] = pair.count > 1 ? pair[1] : ""
        }
        func number(_ name: String, _ usual: Int) -> Int { values[name].flatMap { Int($0) } ?? usual }
        func ids(_ name: String) -> [StepID] {
            values[name]?.split(separator: ",").compactMap { StepID(code: String($0)) } ?? []
        }
        if subject == "record" {
            let shards = number("shards", 2)
            for shard in 0..<shards {
                record.apply(
                    .member(MemberID(.shard, shard), .init(incarnation: UInt64(shard), endpoint: "at \(shard)")))
            }
            let owners = Rebalance.initial(shards: Array(0..<shards), sliceCount: 8, denseSliceCount: 4)
            record.apply(.map(version: 1, owners: owners))
            record.apply(.term(1, committed: number("committed", -1)))
            record.apply(.pasts([Past(name: 7, since: -1)]))
            record.apply(.attempts(ids("attempts")))
            record.apply(.safe(number("safe", -1)))
            if let step = values["checkpoint"].flatMap({ Int($0) }) {
                record.apply(.checkpoints([.init(step: step, directory: "checkpoint", classVersion: 0, past: 7)]))
            }
            if let step = values["restoring"].flatMap({ Int($0) }) {
                record.apply(.task(BoundaryTask(number: 3, step: step, kind: .restore(checkpoint: nil))))
            }
            if let step = values["skipping"].flatMap({ Int($0) }) {
                record.apply(.task(BoundaryTask(number: 3, step: step, kind: .skip)))
            }
            start()
            return
        }
        let shard = Int(subject.dropFirst("shard-".count)) ?? 0
        let logs = values["logs"] != "no"
        let holdsAny = values["slices"] != "no"
        let mine = record.owners.filter { $0.value == shard && holdsAny }.keys
        let newest = number("newest", -1)
        var state = ShardState(
            newest: newest, oldest: number("oldest", logs ? -1 : newest), logsSteps: logs, hasSlices: holdsAny)
        state.holdings = ShardHoldings(
            slices: SliceSet(numbers: mine.filter { !$0.isDense }.map(\.number)),
            denseSlices: SliceSet(numbers: mine.filter(\.isDense).map(\.number)), mapVersion: 1, past: 7,
            isSynced: values["synced"] != "no", recent: ids("recent"))
        tell(
            .joined(
                PeerID(bytes: [UInt8(truncatingIfNeeded: shard + 1)]), role: .shard, incarnation: UInt64(100 + shard),
                endpoint: "at \(shard)",
                previousNumber: shard, state: state))
    }

    private mutating func start() {
        var configuration = CoordinatorFixture.configuration(steps: 100)
        configuration.expectedShards = Set(record.owners.values).count
        machine = Machine(configuration, record: record)
        note(machine?.start(at: .zero) ?? [])
    }

    private mutating func tell(_ event: Machine.Event) { note(machine?.handle(event, at: .zero) ?? []) }

    private mutating func note(_ actions: [Machine.Action]) {
        for action in actions {
            switch action {
            case .event(let level, let text) where level != .info: output.append("\(level): \(text)")
            case .refuse(_, let code, let message): output.append("refused \(code): \(message)")
            default: break
            }
        }
        if let flaw = machine?.check() { output.append("FLAW: \(flaw)") }
    }

    /// What everyone waits for or does in the end.
    var conclusion: String {
        switch machine?.plan.activity {
        case .wait(let reason): "waits: \(reason)"
        case .task(let task):
            switch task.kind {
            case .restore(nil): "everyone goes back to step \(task.step) by its log"
            case .restore(let path?): "everyone loads \(path.isEmpty ? "the beginning" : path), step \(task.step)"
            default: "\(task.kind.name) after step \(task.step)"
            }
        default: "\(machine?.plan.activity as Any)"
        }
    }
}
