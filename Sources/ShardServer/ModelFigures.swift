import CenterStore
import ShardState
import StepProtocol

/// What the loop knows of the model, as of the last computation.
struct ModelFigures: Sendable {
    var state: ShardState
    var committed = -1
    var prepared: StepID?
    var durable = -1
    var lastTask = 0
    var classVersion = 0
    var ownsSlices = false
    var memoryBytes = 0
    var logBytes = 0
    var snapshotStep = -1
    var snapshotProblem = ""
    var handedOver: Set<SliceName> = []
    var restoring = ShardModel.Restoring()

    /// Before there is a model.
    init(store: ShardStore?) {
        state = store?.state ?? ShardState(logsSteps: false)
        durable = store?.durableStep ?? -1
    }

    init(_ model: ShardModel) {
        state = model.state
        committed = model.committed
        prepared = model.prepared
        durable = model.durable
        lastTask = model.lastTask
        classVersion = model.classVersion
        ownsSlices = model.ownsSlices
        memoryBytes = model.memoryBytes
        logBytes = model.logByteCount
        snapshotStep = model.snapshotStep
        snapshotProblem = model.snapshotProblem
        handedOver = Set(model.handedOver.keys)
        restoring = model.restoring
    }
}
