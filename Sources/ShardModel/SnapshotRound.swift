internal import Cluster
internal import Foundation
internal import Model
internal import ParameterStore
internal import ProcessSupport
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
    /// How long no round is begun after one failed.
    package var pause = Duration.seconds(10)

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
/// One slice after the other, so that few files are open whatever the number of slices. Used by the model's thread; only the
/// writing itself happens elsewhere.
final class SnapshotRound: @unchecked Sendable {
    /// Slices that are still to be begun, last first.
    private var pending: [SliceName]
    private let sliceCount: Int
    /// The slice whose pieces are being copied, and those that are left, last first.
    private var current: (slice: SliceName, writer: SnapshotWriter, chunks: [Int])?
    /// All of them, as long as the round lasts: what has a writer is not swept.
    private var writers: [SnapshotWriter] = []
    private let thread = ComputeThread(name: "snapshots")

    private let lock = NSLock()
    private var waitingBytes = 0
    private var failure: CenterStoreError?
    private var finished: [SliceName: SnapshotReference] = [:]

    init(_ slices: [SliceName]) {
        pending = slices.sorted(by: >)
        sliceCount = slices.count
    }

    deinit { thread.close() }

    /// What went wrong, if something did: the round is of no use then.
    var problem: CenterStoreError? { lock.withLock { failure } }

    /// The files, once all are written and synced.
    var references: [SliceName: SnapshotReference]? {
        lock.withLock { finished.count == sliceCount ? finished : nil }
    }

    /// Copies pieces that are as of `step`, up to a number of bytes, unless as many wait to be written.
    ///
    /// - Parameter begin: makes the file of a slice.
    func advance(
        step: Int, byteCount: Int, begin: (_ slice: SliceName) throws -> SnapshotWriter,
        copy: (_ slice: SliceName, _ chunk: Int) throws -> [Tensor]
    ) throws {
        var left = byteCount - lock.withLock { waitingBytes }
        while left > 0 {
            if current == nil {
                guard let slice = pending.last else { return }
                let writer = try begin(slice)
                pending.removeLast()
                writers.append(writer)
                current = (slice, writer, writer.missingChunks.reversed())
            }
            guard let (slice, writer, chunks) = current else { return }
            if let chunk = chunks.last {
                let piece = try copy(slice, chunk)
                current?.chunks.removeLast()
                left -= write(piece, chunk, step, writer)
            }
            if current?.chunks.isEmpty == true {
                finish(slice, writer, step)
                current = nil
                left -= 1
            }
        }
    }

    /// - Returns: the length of the piece.
    private func write(_ piece: [Tensor], _ chunk: Int, _ step: Int, _ writer: SnapshotWriter) -> Int {
        let bytes = piece.reduce(0) { $0 + $1.byteCount }
        lock.withLock { waitingBytes += bytes }
        thread.submit { [weak self] in
            guard let self else { return }
            attempt { () throws(CenterStoreError) in
                defer { withExtendedLifetime(piece) {} }
                try writer.write(chunk: chunk, step: step, planes: piece.map(\.bytes))
            }
            lock.withLock { self.waitingBytes -= bytes }
        }
        return max(1, bytes)
    }

    private func finish(_ slice: SliceName, _ writer: SnapshotWriter, _ step: Int) {
        thread.submit { [weak self] in
            guard let self else { return }
            attempt { () throws(CenterStoreError) in
                let reference = try writer.finish(emptyStep: step)
                self.lock.withLock { self.finished[slice] = reference }
            }
        }
    }

    private func attempt(_ body: () throws(CenterStoreError) -> Void) {
        if problem != nil { return }
        do throws(CenterStoreError) { try body() } catch { lock.withLock { failure = error } }
    }
}
