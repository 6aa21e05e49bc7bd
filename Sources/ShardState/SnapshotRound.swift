internal import Backbone
internal import CenterStore
internal import Determinism
internal import Foundation
internal import PartialFC
internal import ProcessSupport
internal import RunConfiguration
internal import RunSetup
internal import StepProtocol
internal import Tensors

/// When snapshots are taken.
package struct SnapshotOptions: Sendable {
    /// A round begins when the log is longer than this; nil: than half of the state, and at least 256 MiB.
    package var logByteCount: Int?
    /// Or when its replay would take longer than this.
    package var replaySeconds: Double
    /// Bytes that are copied after each step at most (but at least one piece); nil: 32 MiB, or 64 MiB for every second that a step
    /// takes, which most disks can write beside the log.
    package var copyByteCount: Int?

    package init(logByteCount: Int? = nil, replaySeconds: Double = 600, copyByteCount: Int? = nil) {
        self.logByteCount = logByteCount
        self.replaySeconds = replaySeconds
        self.copyByteCount = copyByteCount
    }

    func copyByteCount(stepSeconds: Double) -> Int {
        copyByteCount ?? max(32 << 20, Int(min(stepSeconds, 60) * Double(64 << 20)))
    }
}

/// New snapshots of every owned slice, being taken: pieces are copied between steps, and written by a thread of its own.
///
/// Used by the model's thread; only the writing itself happens elsewhere.
final class SnapshotRound: @unchecked Sendable {
    /// Pieces that are still to be copied, last first.
    private var pending: [(slice: SliceName, chunk: Int)] = []
    let writers: [SliceName: SnapshotWriter]
    private let thread = ComputeThread(name: "snapshots")

    private let lock = NSLock()
    private var waitingBytes = 0
    private var failure: CenterStoreError?
    private var finished: [SliceName: SnapshotReference]?
    private var isFinishing = false

    init(_ writers: [SliceName: SnapshotWriter]) {
        self.writers = writers
        for (slice, writer) in writers.sorted(by: { $0.key > $1.key }) {
            for chunk in writer.missingChunks.reversed() { pending.append((slice, chunk)) }
        }
    }

    deinit { thread.close() }

    /// What went wrong, if something did: the round is of no use then.
    var problem: CenterStoreError? { lock.withLock { failure } }

    /// The files, once all are written and synced.
    var references: [SliceName: SnapshotReference]? { lock.withLock { finished } }

    /// Copies pieces that are as of `step`, up to a number of bytes, unless as many wait to be written.
    func advance(
        step: Int, byteCount: Int, _ copy: (_ slice: SliceName, _ chunk: Int) throws -> [Tensor]
    ) throws {
        var left = byteCount - lock.withLock { waitingBytes }
        while left > 0, let (slice, chunk) = pending.last {
            let piece = try copy(slice, chunk)
            pending.removeLast()
            let bytes = piece.reduce(0) { $0 + $1.byteCount }
            left -= max(1, bytes)
            lock.withLock { waitingBytes += bytes }
            thread.submit { [weak self] in
                guard let self, let writer = writers[slice] else { return }
                attempt { () throws(CenterStoreError) in
                    defer { withExtendedLifetime(piece) {} }
                    try writer.write(chunk: chunk, step: step, rows: piece[0].bytes, momentum: piece[1].bytes)
                }
                lock.withLock { self.waitingBytes -= bytes }
            }
        }
        if pending.isEmpty { finish(step) }
    }

    private func finish(_ step: Int) {
        if isFinishing { return }
        isFinishing = true
        thread.submit { [weak self] in
            guard let self, problem == nil else { return }
            attempt { () throws(CenterStoreError) in
                var references: [SliceName: SnapshotReference] = [:]
                for (slice, writer) in self.writers { references[slice] = try writer.finish(emptyStep: step) }
                self.lock.withLock { self.finished = references }
            }
        }
    }

    private func attempt(_ body: () throws(CenterStoreError) -> Void) {
        if problem != nil { return }
        do throws(CenterStoreError) { try body() } catch { lock.withLock { failure = error } }
    }
}
