import Cluster
import CoordinatorStore
import Foundation
import Model
import OperatorStatus
import ParameterStore
import Setup
import StepProtocol
import Succession
import Wire

/// What operators see.
extension CoordinatorService {
    var stateName: String { machine.status(at: now).stateName }

    /// The same with whom it waits for: the ranks of a job have nothing else to tell their trainer by.
    var stateInWords: String {
        let waiting = machine.waitingFor(now)
        return waiting.isEmpty ? stateName : "\(stateName): \(waiting)"
    }

    var status: ClusterStatus {
        var status = ClusterStatus(
            machine.status(at: now), setup: setup, registry: registry, clusterID: cluster.id, notes: members)
        status.obstacle = blocked?.problem ?? unsendable.values.min() ?? ""
        status.problem = metrics.problem.isEmpty ? nil : metrics.problem
        status.checkpointProblem = checkpointProblem
        if let standby = replication.view.standby, let silence = replication.silence(at: now) {
            status.standby = .init(
                endpoint: standby.endpoint, isInStep: replication.isInStep, age: silence / .seconds(1),
                waiting: replication.heldCount, isGivenUp: replication.question != nil)
        }
        // Of steps that the cluster went back behind nothing holds any more.
        status.evaluations = evaluations.values.filter { $0.step <= machine.committed }.sorted { $0.name < $1.name }
        let counters = server.counters
        status.refused = Dictionary(uniqueKeysWithValues: counters.rejected.map { ("\($0.key)", $0.value) })
        // Peers whose connections were ended, and what nobody looked at, are refused as well.
        for (reason, count) in counters.endedByName { status.refused["ended: \(reason)", default: 0] += count }
        if counters.ignored > 0 { status.refused["ignored"] = counters.ignored }
        if counters.unaccepted > 0 { status.refused["no descriptors"] = counters.unaccepted }
        return status
    }

    /// The classes after the operations that were applied. Made once for each version: there may be many.
    var registry: ClassRegistry? {
        let key = [machine.id.term, machine.classVersion]
        if let knownRegistry, knownRegistry.key == key { return knownRegistry.registry }
        let registry = try? setup.classes(after: machine.operations.prefix(machine.classVersion).map(\.operation))
        knownRegistry = registry.map { (key, $0) }
        return registry
    }

    var classList: ClassList {
        let registry = registry
        return ClassList(version: registry?.version ?? 0, operations: registry?.operationsJSON ?? "[]")
    }

    var classStatus: ClassStatus {
        let registry = registry
        return ClassStatus(
            version: machine.classVersion, classes: registry?.classCount ?? setup.head.classCount,
            retired: (registry?.retired ?? []).ranges.map(\.bounds),
            operations: machine.operations.map {
                ClassStatus.Operation(text: $0.operation.summary, afterStep: $0.afterStep)
            }, order: order)
    }

    /// The last order that shards had to check, and what came of it.
    private var order: ClassStatus.Order? {
        let status = machine.status(at: now)
        return status.order.map { order in
            var known = ClassStatus.Order(number: order.number, text: order.operation.summary)
            switch order.state {
            case .checking:
                if case .check = status.task?.kind { known.waitsFor = status.taskPending.map { "\($0)" } }
            case .decided: known.state = "decided"
            case .refused(let problem): (known.state, known.problem) = ("refused", problem)
            }
            return known
        }
    }

    var slices: [SliceStatus] {
        let registry = registry
        let plan = machine.plan
        let targets = Dictionary(plan.moves.map { ($0.slice, "\($0.to)") }) { first, _ in first }
        return plan.shards.flatMap { shard in
            shard.slices.numbers.map { slice in
                SliceStatus(
                    slice: slice, classes: registry?.layout.classes(of: slice).ranges.map(\.bounds) ?? [],
                    owner: "\(shard.shard)", movesTo: targets[.centers(slice)])
            }
        }.sorted { $0.slice < $1.slice }
    }

    var checkpoints: [ClusterStatus.Checkpoint] { machine.checkpoints.map(ClusterStatus.Checkpoint.init) }
}

extension Range<Int> {
    /// First and one past the last, as JSON has it.
    var bounds: [Int] { [lowerBound, upperBound] }
}
