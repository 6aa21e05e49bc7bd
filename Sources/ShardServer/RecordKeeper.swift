import Cluster
import Foundation
import Logging
import ParameterStore
import StepProtocol
import Succession
import Synchronization

/// What this shard keeps of the coordinator's record, in memory and in the file `coordinator.json` of its directory: from it a coordinator that
/// has lost its database begins again (`coordinator serve --adopt`).
final class RecordKeeper: Sendable {
    private struct State {
        var kept = KeptRecord()
        var isSaid = false
    }

    private let path: String?
    private let log: Logger
    private let state: Mutex<State>

    /// Reads what an earlier process has left. A file that cannot be read is nothing that anything but an adoption would miss.
    init(directory: String?, log: Logger) {
        self.log = log
        path = directory.map { $0 + "/coordinator.json" }
        var kept = KeptRecord()
        if let path {
            do { kept = try ChecksummedJSON.read(KeptRecord.self, from: path) ?? kept } catch {
                log.warning("\(error): the coordinator gives another copy of its record")
            }
        }
        state = Mutex(State(kept: kept))
    }

    /// The id of the copy that is kept, 0 for none.
    var id: UInt64 { state.withLock { $0.kept.copy?.id ?? 0 } }

    /// What a hello says of it if that has changed since it was asked for; nil if not.
    func news() -> String? {
        state.withLock { state in
            if state.isSaid { return nil }
            state.isSaid = true
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            guard state.kept != KeptRecord(), let text = try? encoder.encode(state.kept),
                text.count <= RecordCopy.byteLimit
            else { return "" }
            return String(decoding: text, as: UTF8.self)
        }
    }

    /// Keeps a newer copy. If it cannot be written the coordinator gives it again.
    func take(_ copy: RecordCopy) {
        state.withLock { state in
            guard state.kept.copy?.id != copy.id else { return }
            var kept = state.kept
            kept.take(copy)
            if write(kept) { state = State(kept: kept) }
        }
    }

    /// What this shard has promised to coordinators; nil for nothing.
    var vote: BallotVote? { state.withLock { $0.kept.vote } }

    /// Promises, or accepts, what it is asked, durably.
    ///
    /// - Returns: whether that changes what it has promised.
    func hear(_ question: BallotQuestion) -> Bool {
        state.withLock { state in
            var kept = state.kept
            var vote = kept.vote ?? BallotVote()
            guard vote.hear(question) else { return false }
            kept.vote = vote
            guard write(kept) else { return false }
            state.kept = kept
            return true
        }
    }

    /// Notes an operation on the classes that is done here, and that the copy may not have.
    func note(_ operation: ClassOperation, version: Int, after step: Int) {
        state.withLock { state in
            state.kept.note(operation, version: version, after: step)
            state.isSaid = false
            _ = write(state.kept)
        }
    }

    /// Forgets everything: the directory is to be empty.
    func clear() {
        state.withLock { state in
            state = State()
            if let path { try? FileManager.default.removeItem(atPath: path) }
        }
    }

    private func write(_ kept: KeptRecord) -> Bool {
        guard let path else { return true }
        do {
            try ChecksummedJSON.write(kept, to: path)
            return true
        } catch {
            log.warning("\(error): this shard keeps no new copy of the coordinator's record")
            return false
        }
    }
}
