import Foundation
import ShardModel
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
        /// What is wrong with the disk although steps go on, how often something was, and what the last time.
        var problem = ""
        var incidents = 0
        var lastIncident = ""
        var removedLeftovers = 0
        var durable = -1
        var restoring = ShardEngine.Restoring()
        var classVersion = 0
    }

    /// What the loop knows besides.
    struct LoopValues {
        /// Its name in the cluster, empty before it has one.
        var member = ""
        var committed = -1
        var obstacle = ""
    }

    private let lock = NSLock()
    private var stored = Values()
    private var storedLoop = LoopValues()

    var values: Values { lock.withLock { stored } }
    var loopValues: LoopValues { lock.withLock { storedLoop } }

    func update(_ values: LoopValues) { lock.withLock { storedLoop = values } }

    /// Reads them off the model. On the thread that computes.
    func update(_ model: ShardEngine) {
        var values = Values()
        values.state = model.state
        values.memoryBytes = model.memoryBytes
        values.logBytes = model.logByteCount
        values.snapshotStep = model.snapshotStep
        values.snapshotProblem = model.snapshotProblem
        values.problem = model.diskProblem
        (values.incidents, values.lastIncident) = model.diskIncidents
        values.removedLeftovers = model.removedLeftovers
        values.durable = model.durable
        values.restoring = model.restoring
        values.classVersion = model.classVersion
        lock.withLock { stored = values }
    }

    /// Before there is a model: what the directory says.
    func update(_ state: ShardState) { lock.withLock { stored.state = state } }
}
