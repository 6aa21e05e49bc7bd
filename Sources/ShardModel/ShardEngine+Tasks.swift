internal import Cluster
internal import Foundation
internal import Model
internal import ParameterStore
internal import PartialFC
package import StepProtocol
internal import Tensors

/// What a shard does at a boundary between steps.
extension ShardEngine {
    /// Executes the shard's part of a boundary task.
    ///
    /// - Parameter plan: the one that asks for it.
    /// - Returns: `failed` with the reason if it cannot be done now: nothing has changed then.
    /// - Throws: if the state cannot be trusted any more.
    package func perform(_ task: BoundaryTask, plan: Plan) throws -> TaskOutcome {
        guard prepared == nil else { throw HeadError(.phase, "task \(task.number) while an update is not committed") }
        let detail: String
        do {
            switch task.kind {
            case .skip: detail = try skip(task, plan)
            case .checkpoint(let directory): detail = try checkpoint(in: directory, step: task.step, plan)
            case .restore(nil): detail = try goBack(to: task, plan)
            case .restore(let path?): detail = try restore(from: path, task, plan)
            case .check(let operation): detail = try check(operation)
            case .classes(let operation): detail = try change(operation, task, plan)
            case .handOver(let moves): detail = try takeOver(moves, task)
            case .promote(let moves):
                try promote(moves)
                detail = ""
            }
            switch task.kind {
            case .check, .checkpoint, .promote: break  // what it gave is not remembered: it is done again
            case .restore(.some): break  // noted with the state itself
            case .restore(nil): try note(task.number, past: ownsSlices ? plan.past : 0)
            case .skip, .classes, .handOver: try note(task.number)
            }
        } catch let error as Fatal { throw error.cause } catch let error as LoadFailure { throw error.cause } catch {
            return .failed(message: "\(error)")
        }
        return .done(detail: detail)
    }

    /// An error after which the state cannot be trusted.
    private struct Fatal: Error { var cause: any Error }

    /// Notes durably that a task is done, and of going back the past that begins with it.
    private func note(_ task: Int, past: UInt64? = nil) throws {
        if let store {
            var notes = try StoreNotes(store.extra)
            notes.lastTask = max(lastTask, task)
            if let past { notes.past = past }
            try store.setExtra(notes.text)
        }
        lastTask = max(lastTask, task)
        if let past { self.past = past }
    }

    private func log(_ record: LogRecord) throws {
        guard let store else {
            remember(record)
            return note(attempt: record)
        }
        try store.append(record)
        note(attempt: record)
        try store.sync()
    }

    private func skip(_ task: BoundaryTask, _ plan: Plan) throws -> String {
        if committed == task.step { return "" }
        guard committed == task.step - 1 else {
            throw HeadError(.phase, "step \(task.step) is to be skipped after step \(committed)")
        }
        let header = LogRecord.Header(
            term: plan.id.term, step: task.step, attempt: 0, kind: .skip, slices: slices, denseSlices: denseSlices,
            classVersion: classVersion)
        try log(LogRecord(header: header))
        committed = task.step
        return ""
    }

    private func change(_ operation: ClassOperation, _ task: BoundaryTask, _ plan: Plan) throws -> String {
        if classVersion > plan.classVersion { return "" }  // done before a restart
        guard classVersion == plan.classVersion else {
            throw HeadError(
                .phase, "the classes are of version \(classVersion) here, of \(plan.classVersion) in the plan")
        }
        var registry = head.registry
        try registry.apply(operation)
        let rows = try checkedRows(for: operation)
        let header = LogRecord.Header(
            term: plan.id.term, step: committed, attempt: 0, kind: .classes, slices: slices, denseSlices: denseSlices,
            operation: operation.json, classVersion: registry.version)
        if store != nil { try log(LogRecord(header: header, tensors: rows.map { [$0] } ?? [])) }
        // Pieces of the round have another number of rows than those to come.
        snapshots = nil
        do { try head.apply(operation, rows: rows) } catch { throw Fatal(cause: error) }
        checked = nil
        return ""
    }

    private func goBack(to task: BoundaryTask, _ plan: Plan) throws -> String {
        guard let store else {
            if ownsSlices, committed != task.step || classVersion > plan.classVersion {
                throw HeadError(
                    .phase, "this shard logs nothing: it has step \(committed) and cannot go back to \(task.step)")
            }
            recent.removeAll { $0.header.step > task.step }
            if !ownsSlices { committed = task.step }
            attempts.removeAll { $0.step > task.step }
            return heldAttempt(of: task.step)
        }
        if ownsSlices {
            // Before anything is cut off: what is left must lead to the step.
            let newest = max(store.newestStep, committed)
            guard (store.oldestRestorableStep...max(newest, store.oldestRestorableStep)).contains(task.step),
                newest >= task.step
            else {
                throw CenterStoreError(
                    .notHeld,
                    "\(store.directory) leads to the steps \(store.oldestRestorableStep) to \(newest), and not to step \(task.step): restore a checkpoint"
                )
            }
        }
        // Operations on the classes come after their step: one that was called off goes too.
        let isOtherClasses = classVersion > plan.classVersion
        try store.truncate(after: task.step, classVersion: plan.classVersion)
        attempts.removeAll { $0.step > task.step }
        try store.forgetReceived(store.received.map(\.slice))
        // What is held is that step's already, unless the shard has gone on.
        if committed != task.step || isOtherClasses, ownsSlices {
            do { try load(upTo: task.step) } catch { throw Fatal(cause: error) }
        }
        for slice in copies.keys.sorted() { try drop(slice) }
        try dropPromoted(promoted.keys.sorted())
        (snapshots, committed) = (nil, task.step)
        return heldAttempt(of: task.step)
    }

    /// What the coordinator compares when everyone has gone back: the attempt of the step that is held now, empty if it is not known.
    private func heldAttempt(of step: Int) -> String {
        attempts.last { $0.step == step && ownsSlices }?.code ?? ""
    }

    private func takeOver(_ moves: [SliceMove], _ task: BoundaryTask) throws -> String {
        let mine = moves.filter { $0.to.number == member }.map(\.slice)
        for slice in mine where copies[slice]?.completeStep != task.step {
            throw HeadError(.phase, "the copy of \(slice) is not complete at step \(task.step)")
        }
        if let store {
            // What was logged of a step that was undone says nothing of the slices that come.
            if !store.owned.isEmpty { try store.truncate(after: committed) }
            try store.sync()
            let receipts = mine.compactMap { copies[$0]?.receipt }
            if !receipts.isEmpty { try store.keep(receipts, step: task.step) }
        }
        for slice in mine { copies[slice]?.isHandedOver = true }
        return ""
    }
}
