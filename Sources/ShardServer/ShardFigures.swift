import Foundation
import ShardState
import StepProtocol

/// What the thread that computes makes known of the model: for heartbeats, and for the hello that is said again when the
/// coordinator comes back.
final class ShardFigures: @unchecked Sendable {
    struct Values {
        var state = ShardState()
        var memoryBytes = 0
        var logBytes = 0
        var snapshotStep = -1
        var snapshotProblem = ""
        var durable = -1
        var restoring = ShardModel.Restoring()
        var classVersion = 0
    }

    private let lock = NSLock()
    private var stored = Values()

    var values: Values { lock.withLock { stored } }

    /// Reads them off the model. On the thread that computes.
    func update(_ model: ShardModel) {
        var values = Values()
        values.state = model.state
        values.memoryBytes = model.memoryBytes
        values.logBytes = model.logByteCount
        values.snapshotStep = model.snapshotStep
        values.snapshotProblem = model.snapshotProblem
        values.durable = model.durable
        values.restoring = model.restoring
        values.classVersion = model.classVersion
        lock.withLock { stored = values }
    }

    /// Before there is a model: what the directory says.
    func update(_ state: ShardState) { lock.withLock { stored.state = state } }
}
