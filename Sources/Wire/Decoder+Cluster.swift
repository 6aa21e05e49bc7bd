internal import CWire
internal import Cluster
import StepProtocol

/// What is said about slices, moves, shards' states and boundary tasks.
extension Decoder {
    static func shardState(_ c: Partialfc__ShardState) throws -> ShardState {
        ShardState(
            newest: try Field.orNone(c.newest, "newest"), oldest: try Field.orNone(c.oldest, "oldest"),
            logsSteps: c.logs_steps != 0, hasSlices: c.has_slices != 0,
            holdings: try c.holdings.map { try holdings($0.pointee) })
    }

    static func shardReport(_ c: Partialfc__ShardReport) throws -> ShardReport {
        func steps(
            _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__ShardReport__Received>?>?, _ count: Int,
            _ field: String
        ) throws -> [SliceName: Int] {
            var steps: [SliceName: Int] = [:]
            for entry in try entries(pointers, count, field, limit: Bound.slices) {
                let slice = try sliceName(entry.slice)
                guard steps.updateValue(try Field.orNone(entry.step, "step of a received slice"), forKey: slice) == nil
                else { throw WireError(.field, "\(slice) occurs twice in \(field)") }
            }
            return steps
        }
        return ShardReport(
            committed: try Field.orNone(c.committed, "committed"), durable: try Field.orNone(c.durable, "durable"),
            received: try steps(c.received, c.n_received, "received"),
            obstacle: try text(c.obstacle, "obstacle", limit: Bound.textBytes),
            problem: try text(c.problem, "problem", limit: Bound.textBytes),
            incidents: try Field.number(c.incidents, "incidents"),
            lastIncident: try text(c.last_incident, "last_incident", limit: Bound.textBytes), past: c.past,
            prepared: c.prepared == nil ? nil : try step(c.prepared),
            waiting: try c.waiting.map { try shardWaiting($0.pointee) }, kept: try steps(c.kept, c.n_kept, "kept"))
    }

    static func task(_ pointer: UnsafeMutablePointer<Partialfc__BoundaryTask>?) throws -> BoundaryTask {
        let c = try Field.required(pointer, "task")
        let kind: BoundaryTask.Kind
        switch c.kind_case {
        case PARTIALFC__BOUNDARY_TASK__KIND_SKIP: kind = .skip
        case PARTIALFC__BOUNDARY_TASK__KIND_CHECKPOINT:
            kind = .checkpoint(directory: try text(c.checkpoint, "checkpoint", limit: Bound.textBytes))
        case PARTIALFC__BOUNDARY_TASK__KIND_RESTORE_LOG: kind = .restore(checkpoint: nil)
        case PARTIALFC__BOUNDARY_TASK__KIND_RESTORE_CHECKPOINT:
            let restore = try Field.required(c.restore_checkpoint, "restore_checkpoint")
            kind = .restore(checkpoint: try text(restore.directory, "directory", limit: Bound.textBytes))
        case PARTIALFC__BOUNDARY_TASK__KIND_CHECK: kind = .check(try classOperation(c.check))
        case PARTIALFC__BOUNDARY_TASK__KIND_CLASSES: kind = .classes(try classOperation(c.classes))
        case PARTIALFC__BOUNDARY_TASK__KIND_HAND_OVER:
            let handOver = try Field.required(c.hand_over, "hand_over")
            kind = .handOver(try moves(handOver.moves, handOver.n_moves))
        case PARTIALFC__BOUNDARY_TASK__KIND_PROMOTE:
            let promote = try Field.required(c.promote, "promote")
            kind = .promote(try moves(promote.moves, promote.n_moves))
        default: throw WireError(.field, "kind of a task is missing")
        }
        return BoundaryTask(
            number: try Field.number(c.number, "number of a task"), step: try Field.orNone(c.step, "step of a task"),
            kind: kind)
    }

    private static func classOperation(
        _ pointer: UnsafeMutablePointer<Partialfc__ClassOperation>?
    ) throws -> ClassOperation {
        let c = try Field.required(pointer, "classes")
        switch c.operation_case {
        case PARTIALFC__CLASS_OPERATION__OPERATION_ADD:
            let add = try Field.required(c.add, "add")
            return .add(
                count: try Field.number(add.count, "count of added classes"),
                path: try text(add.path, "path", limit: Bound.textBytes), hash: try text(add.hash, "hash"))
        case PARTIALFC__CLASS_OPERATION__OPERATION_RETIRE:
            let retire = try Field.required(c.retire, "retire")
            let count = try Field.count(retire.n_classes, "retired classes", limit: Bound.classes)
            let list = try UnsafeBufferPointer(start: retire.classes, count: count).map {
                try Field.number($0, "retired class")
            }
            let ranges = try entries(
                retire.ranges, retire.n_ranges, "ranges of retired classes", limit: Bound.classes
            ).map { range in
                let lower: Int = try Field.number(range.lower, "retired class")
                let upper: Int = try Field.number(range.upper, "retired class")
                guard lower < upper else {
                    throw WireError(.field, "retired classes \(lower)..<\(upper) are no range")
                }
                return lower..<upper
            }
            return .retire(SliceSet(list.map { $0..<$0 + 1 } + ranges))
        case PARTIALFC__CLASS_OPERATION__OPERATION_MERGE:
            let merge = try Field.required(c.merge, "merge")
            return .merge(
                from: try Field.number(merge.from, "merged class"), into: try Field.number(merge.into, "merged class"))
        default: throw WireError(.field, "operation on classes is missing")
        }
    }

    static func taskDone(_ c: Partialfc__TaskDone) throws -> TaskDone {
        let outcome: TaskOutcome
        switch c.outcome_case {
        case PARTIALFC__TASK_DONE__OUTCOME_DETAIL:
            outcome = .done(detail: try text(c.detail, "detail", limit: Bound.detailBytes))
        case PARTIALFC__TASK_DONE__OUTCOME_PROBLEM:
            outcome = .failed(message: try text(c.problem, "problem", limit: Bound.textBytes))
        default: throw WireError(.field, "outcome is missing")
        }
        return TaskDone(
            member: try member(c.member), incarnation: c.incarnation,
            number: try Field.number(c.number, "number of a task"), outcome: outcome)
    }

    static func moves(
        _ c: UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__Move>?>?, _ count: Int
    ) throws -> [SliceMove] {
        try entries(c, count, "moves", limit: Bound.slices).map { move in
            SliceMove(slice: try sliceName(move.slice), from: try member(move.from), to: try member(move.to))
        }
    }

    /// A set of slices has one form on the wire: ascending ranges that are not empty and do not touch.
    static func slices(
        _ c: UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__Range>?>?, _ count: Int, _ field: String
    ) throws -> SliceSet {
        let count = try Field.count(count, "ranges of \(field)", limit: Bound.slices)
        let ranges = try (0..<count).map { try range(c?[$0], field) }
        let set = SliceSet(ranges)
        guard set.ranges == ranges else {
            throw WireError(.field, "the ranges of \(field) do not ascend, touch each other, or are empty")
        }
        // Whoever reads it may list the slices.
        guard set.bounds.upperBound <= Bound.slices else {
            throw WireError(.field, "\(field) has slice \(set.bounds.upperBound - 1), of at most \(Bound.slices)")
        }
        return set
    }

    static func sliceName(_ pointer: UnsafeMutablePointer<Partialfc__SliceName>?) throws -> SliceName {
        let c = try Field.required(pointer, "slice")
        let number: Int = try Field.number(c.number, "number of a slice")
        guard number < Bound.slices else {
            throw WireError(.field, "number of a slice is \(number), of at most \(Bound.slices)")
        }
        switch c.kind {
        case 0: return .centers(number)
        case 1: return .dense(number)
        default: throw WireError(.field, "kind of a slice is \(c.kind), which names nothing")
        }
    }
}
