internal import CWire
internal import Cluster
import StepProtocol

/// What is said about slices, moves, shards' states and boundary tasks.
extension Encoder {
    func shardState(_ state: ShardState) throws -> UnsafeMutablePointer<Partialfc__ShardState> {
        try arena.make(partialfc__shard_state__init) {
            $0.newest = try Field.orNone(state.newest, "newest")
            $0.oldest = try Field.orNone(state.oldest, "oldest")
            $0.logs_steps = state.logsSteps ? 1 : 0
            $0.has_slices = state.hasSlices ? 1 : 0
            if let holdings = state.holdings { $0.holdings = try self.holdings(holdings) }
        }
    }

    func shardReport(_ report: ShardReport) throws -> UnsafeMutablePointer<Partialfc__ShardReport> {
        try arena.make(partialfc__shard_report__init) {
            $0.committed = try Field.orNone(report.committed, "committed")
            $0.durable = try Field.orNone(report.durable, "durable")
            $0.n_received = try Field.count(report.received.count, "received", limit: Bound.slices)
            $0.received = try steps(report.received)
            $0.obstacle = try arena.prose(report.obstacle, "obstacle")
            $0.problem = try arena.prose(report.problem, "problem")
            $0.incidents = try Field.number(report.incidents, "incidents")
            $0.last_incident = try arena.prose(report.lastIncident, "last_incident")
            $0.past = report.past
            if let prepared = report.prepared { $0.prepared = try step(prepared) }
            if let waiting = report.waiting { $0.waiting = try shardWaiting(waiting) }
            $0.n_kept = try Field.count(report.kept.count, "kept", limit: Bound.slices)
            $0.kept = try steps(report.kept)
        }
    }

    /// Slices and the steps of their copies.
    private func steps(
        _ copies: [SliceName: Int]
    ) throws -> UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__ShardReport__Received>?>? {
        arena.messages(
            try copies.sorted { $0.key < $1.key }.map { slice, step in
                try arena.make(partialfc__shard_report__received__init) {
                    $0.slice = try sliceName(slice)
                    $0.step = try Field.orNone(step, "step of a received slice")
                }
            })
    }

    func task(_ task: BoundaryTask) throws -> UnsafeMutablePointer<Partialfc__BoundaryTask> {
        try arena.make(partialfc__boundary_task__init) {
            $0.number = try Field.number(task.number, "number of a task")
            $0.step = try Field.orNone(task.step, "step of a task")
            switch task.kind {
            case .skip:
                $0.skip = arena.make(partialfc__acknowledged__init)
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_SKIP
            case .checkpoint(let directory):
                $0.checkpoint = try arena.text(directory, "checkpoint", limit: Bound.textBytes)
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_CHECKPOINT
            case .restore(nil):
                $0.restore_log = arena.make(partialfc__acknowledged__init)
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_RESTORE_LOG
            case .restore(let directory?):
                $0.restore_checkpoint = try arena.make(partialfc__boundary_task__restore__init) {
                    $0.directory = try arena.text(directory, "directory", limit: Bound.textBytes)
                }
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_RESTORE_CHECKPOINT
            case .check(let operation):
                $0.check = try classOperation(operation)
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_CHECK
            case .classes(let operation):
                $0.classes = try classOperation(operation)
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_CLASSES
            case .handOver(let moves):
                $0.hand_over = try arena.make(partialfc__boundary_task__hand_over__init) {
                    $0.n_moves = moves.count
                    $0.moves = try self.moves(moves)
                }
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_HAND_OVER
            case .promote(let moves):
                $0.promote = try arena.make(partialfc__boundary_task__hand_over__init) {
                    $0.n_moves = moves.count
                    $0.moves = try self.moves(moves)
                }
                $0.kind_case = PARTIALFC__BOUNDARY_TASK__KIND_PROMOTE
            }
        }
    }

    private func classOperation(
        _ operation: ClassOperation
    ) throws -> UnsafeMutablePointer<Partialfc__ClassOperation> {
        try arena.make(partialfc__class_operation__init) {
            switch operation {
            case .add(let count, let path, let hash):
                $0.add = try arena.make(partialfc__class_operation__add__init) {
                    $0.count = try Field.number(count, "count of added classes")
                    $0.path = try arena.text(path, "path", limit: Bound.textBytes)
                    $0.hash = try arena.text(hash, "hash")
                }
                $0.operation_case = PARTIALFC__CLASS_OPERATION__OPERATION_ADD
            case .retire(let classes):
                $0.retire = try arena.make(partialfc__class_operation__retire__init) {
                    if classes.count <= Bound.listedClasses {
                        $0.n_classes = classes.count
                        $0.classes = arena.array(try classes.numbers.map { try Field.number($0, "retired class") })
                    } else {
                        let ranges = classes.ranges
                        $0.n_ranges = try Field.count(ranges.count, "ranges of retired classes", limit: Bound.classes)
                        $0.ranges = arena.messages(
                            try ranges.map { range in
                                try arena.make(partialfc__class_operation__retire__range__init) {
                                    $0.lower = try Field.number(range.lowerBound, "retired class")
                                    $0.upper = try Field.number(range.upperBound, "retired class")
                                }
                            })
                    }
                }
                $0.operation_case = PARTIALFC__CLASS_OPERATION__OPERATION_RETIRE
            case .merge(let from, let into):
                $0.merge = try arena.make(partialfc__class_operation__merge__init) {
                    $0.from = try Field.number(from, "merged class")
                    $0.into = try Field.number(into, "merged class")
                }
                $0.operation_case = PARTIALFC__CLASS_OPERATION__OPERATION_MERGE
            }
        }
    }

    func taskDone(_ done: TaskDone) throws -> UnsafeMutablePointer<Partialfc__TaskDone> {
        try arena.make(partialfc__task_done__init) {
            $0.member = try member(done.member)
            $0.incarnation = done.incarnation
            $0.number = try Field.number(done.number, "number of a task")
            switch done.outcome {
            case .done(let detail):
                $0.detail = try arena.text(detail, "detail", limit: Bound.detailBytes)
                $0.outcome_case = PARTIALFC__TASK_DONE__OUTCOME_DETAIL
            case .failed(let message):
                $0.problem = try arena.prose(message, "problem")
                $0.outcome_case = PARTIALFC__TASK_DONE__OUTCOME_PROBLEM
            }
        }
    }

    func moves(
        _ moves: [SliceMove]
    ) throws -> UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__Move>?>? {
        _ = try Field.count(moves.count, "moves", limit: Bound.slices)
        return arena.messages(
            try moves.map { move in
                try arena.make(partialfc__move__init) {
                    $0.slice = try sliceName(move.slice)
                    $0.from = try member(move.from)
                    $0.to = try member(move.to)
                }
            })
    }

    func ranges(
        _ slices: SliceSet, _ field: String
    ) throws -> UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__Range>?>? {
        _ = try Field.count(slices.ranges.count, "ranges of \(field)", limit: Bound.slices)
        return arena.messages(try slices.ranges.map { try range($0, field) })
    }

    func sliceName(_ slice: SliceName) throws -> UnsafeMutablePointer<Partialfc__SliceName> {
        try arena.make(partialfc__slice_name__init) {
            $0.kind = slice.isDense ? 1 : 0
            $0.number = try Field.small(slice.number, "number of a slice")
        }
    }
}
