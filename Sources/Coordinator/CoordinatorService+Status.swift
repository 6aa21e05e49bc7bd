import CenterStore
import ClusterStatus
import CoordinatorStore
import Determinism
import Foundation
import PartialFC
import RunSetup
import StepProtocol
import Wire

/// What operators see.
extension CoordinatorService {
    var stateName: String { machine.status(at: now).stateName }

    var status: ClusterStatus {
        var status = ClusterStatus(
            machine.status(at: now), setup: setup, registry: registry, clusterID: cluster.id, notes: members)
        status.obstacle = blocked?.problem ?? ""
        status.problem = metrics.problem.isEmpty ? nil : metrics.problem
        status.checkpointProblem = checkpointProblem
        status.evaluations = evaluations.values.sorted { $0.name < $1.name }
        let counters = server.counters
        status.refused = Dictionary(uniqueKeysWithValues: counters.rejected.map { ("\($0.key)", $0.value) })
        // Peers whose connections were ended, and what nobody looked at, are refused as well.
        for (reason, count) in counters.endedByName { status.refused["ended: \(reason)", default: 0] += count }
        if counters.ignored > 0 { status.refused["ignored"] = counters.ignored }
        if counters.unaccepted > 0 { status.refused["no descriptors"] = counters.unaccepted }
        return status
    }

    /// The classes after the operations that were applied.
    var registry: ClassRegistry? {
        try? setup.classes(after: machine.operations.prefix(machine.classVersion).map(\.operation))
    }

    var classList: ClassList {
        let registry = registry
        return ClassList(version: registry?.version ?? 0, operations: registry?.operationsJSON ?? "[]")
    }

    var classStatus: ClassStatus {
        let registry = registry
        return ClassStatus(
            version: machine.classVersion, classes: registry?.classCount ?? setup.head.classCount,
            retired: registry?.retired ?? [],
            operations: machine.operations.map {
                ClassStatus.Operation(text: ClassOrders.text($0.operation), afterStep: $0.afterStep)
            })
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
