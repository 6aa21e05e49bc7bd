import Foundation
import Logging
import Monitoring
import OperatorStatus
import ProcessSupport

/// Why there can be no event file.
struct TensorBoardError: Error, CustomStringConvertible {
    var description: String
}

/// An event file for TensorBoard: the figures of every committed step and every evaluation.
///
/// Every start of a coordinator makes a file of its own; TensorBoard reads all of a directory as one run, and drops what an
/// earlier one says of steps that are done again. Written on a thread of its own: the coordinator does not wait for the disk.
final class TensorBoardFile: @unchecked Sendable {
    let path: String
    private let handle: FileHandle
    private let thread = ComputeThread(name: "tensorboard")
    private let batchSize: Int
    private let log: Logger
    /// On the loop's thread.
    private var lastStep: Int
    /// On the file's thread.
    private var hasFailed = false

    /// - Parameter committed: the last step of an earlier coordinator, -1 if there is none.
    /// - Throws: `TensorBoardError` if the directory or the file cannot be made.
    init(directory: String, committed: Int, batchSize: Int, log: Logger) throws {
        let now = Date().timeIntervalSince1970
        let process = ProcessInfo.processInfo
        path = "\(directory)/events.out.tfevents.\(Int(now)).\(process.hostName).\(process.processIdentifier).0"
        self.batchSize = batchSize
        self.log = log
        lastStep = committed
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try TensorBoardRecord.version(time: now).write(to: URL(fileURLWithPath: path))
            handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path)).closedOnExecute
            try handle.seekToEnd()
        } catch { throw TensorBoardError(description: "\(path) cannot be written: \(SystemProblem.reason(error))") }
        write(TensorBoardRecord.start(time: now, step: committed + 1))
    }

    /// - Parameter head: the values of the head, in a run in which they change.
    func append(_ step: StepFigures, head: ClusterStatus.Head? = nil) {
        let now = Date().timeIntervalSince1970
        if step.step <= lastStep { write(TensorBoardRecord.start(time: now, step: step.step)) }
        lastStep = step.step
        let values: [(String, Double?)] = [
            ("train/loss", step.loss), ("train/learning_rate", step.learningRate),
            ("train/gradient_norm", step.gradientNorm), ("speed/step_seconds", step.seconds),
            ("speed/samples_per_second", step.seconds > 0 ? Double(batchSize) / step.seconds : nil),
            ("speed/backbone_seconds", step.backboneSeconds),
            ("speed/exchange_seconds", step.exchangeSeconds.map { $0 - (step.updateSeconds ?? 0) }),
            ("speed/update_seconds", step.updateSeconds), ("speed/attempts", Double(step.attempts)),
        ]
        let parts = (head?.values ?? []).map { ("head/\($0.name)", $0.value) }
        write(
            TensorBoardRecord.scalars(
                time: now, step: step.step, values.compactMap { tag, value in value.map { (tag, $0) } } + parts))
    }

    func append(_ evaluation: ClusterStatus.Evaluation) {
        write(
            TensorBoardRecord.scalars(
                time: Date().timeIntervalSince1970, step: evaluation.step,
                evaluation.values.sorted { $0.key < $1.key }.map {
                    ("evaluation/\(evaluation.name)/\($0.key)", $0.value)
                }
            ))
    }

    /// Waits until everything is written.
    func close() {
        let done = Done()
        thread.submit { done.set() }
        done.wait(until: .now + .seconds(5))
        thread.close()
    }

    /// That something is done, for one thread to wait for.
    private final class Done: @unchecked Sendable {
        private let condition = MonotonicCondition()
        private var isDone = false

        func set() {
            condition.withLock {
                isDone = true
                condition.signal()
            }
        }

        func wait(until deadline: ContinuousClock.Instant) {
            condition.withLock { while !isDone && condition.wait(until: deadline) {} }
        }
    }

    private func write(_ record: Data) {
        thread.submit { [self] in
            guard !hasFailed else { return }
            do { try handle.write(contentsOf: record) } catch {
                // Half a record would spoil all that come after it.
                hasFailed = true
                log.error("\(path) cannot be written any more: \(SystemProblem.reason(error)); training goes on")
            }
        }
    }
}
