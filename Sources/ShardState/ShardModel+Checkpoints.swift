internal import Backbone
internal import CenterStore
internal import Determinism
internal import Foundation
internal import PartialFC
internal import RunConfiguration
internal import RunSetup
internal import StepProtocol
internal import Tensors

/// Checkpoints: written from memory at a boundary, and read by any shard that owns the slices then.
extension ShardModel {
    /// Writes every owned slice.
    ///
    /// - Returns: the files, as JSON.
    func checkpoint(in directory: String, step: Int) throws -> String {
        guard committed == step else {
            throw HeadError(.phase, "a checkpoint of step \(step) is asked for after step \(committed)")
        }
        let writer = CheckpointWriter(directory: directory)
        var files: [CheckpointManifest.File] = []
        do {
            for slice in slices.numbers { files.append(try writer.write(slice: slice, of: head.table)) }
            for slice in denseSlices.numbers {
                let (parameters, momentum) = dense.state(ofSlice: slice)
                files.append(try writer.write(denseSlice: slice, parameters: parameters, momentum: momentum))
            }
        } catch {
            // On a disk that is full they would keep the next try from succeeding.
            writer.discard(files)
            throw error
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return String(decoding: try encoder.encode(files), as: UTF8.self)
    }

    /// Makes the state of the owned slices that of a checkpoint, or the initial one if `path` is empty, and the directory too.
    func restore(from path: String, _ task: BoundaryTask, _ plan: Plan) throws -> String {
        let owned = slices.numbers.map(SliceName.centers) + denseSlices.numbers.map(SliceName.dense)
        let registry: ClassRegistry
        var reader: CheckpointReader?
        if path.isEmpty {
            registry = try setup.classes(after: [])
        } else {
            let opened = try CheckpointReader(directory: path)
            let manifest = opened.manifest
            guard manifest.step == task.step, manifest.sliceCount == setup.head.sliceCount,
                manifest.denseSliceCount == setup.configuration.backbone.denseSlices,
                manifest.embeddingSize == setup.head.embeddingSize, manifest.classCount == setup.head.classCount
            else {
                throw CenterStoreError(
                    .foreign,
                    "checkpoint \(path) is of step \(manifest.step), \(manifest.classCount) classes × \(manifest.embeddingSize) in \(manifest.sliceCount) and \(manifest.denseSliceCount) slices, which is not this run at step \(task.step)"
                )
            }
            guard manifest.format == setup.head.format else {
                throw CenterStoreError(
                    .foreign,
                    "checkpoint \(path) keeps \(manifest.format), and this run \(setup.head.format): export it, and import it with this configuration"
                )
            }
            registry = try ClassRegistry(
                classCount: manifest.classCount, sliceCount: manifest.sliceCount, operationsJSON: manifest.operations)
            reader = opened
        }
        for slice in copies.keys.sorted() { try drop(slice) }
        try head.remove(head.table.slices)
        head = try ShardHead(
            configuration: setup.head, registry: registry, slices: [], threads: threads, memory: memory)
        var values: [(slice: SliceName, dense: (parameters: Tensor, momentum: Tensor)?)] = []
        for slice in owned {
            let dense = if let reader { try read(slice, from: reader) } else { try takeUpInitial(slice) }
            values.append((slice, dense))
        }
        try head.activate(SliceSet(numbers: owned.filter { !$0.isDense }.map(\.number)))
        var dense = try Self.emptyDense(setup)
        for (slice, part) in values {
            if let part { try dense.add([slice.number], parameters: part.parameters, momentum: part.momentum) }
        }
        self.dense = dense
        (committed, recent, snapshots) = (task.step, [], nil)
        try keepEverything(owned, isInitial: path.isEmpty, task, plan)
        return ""
    }

    private func read(
        _ slice: SliceName, from reader: CheckpointReader
    ) throws -> (parameters: Tensor, momentum: Tensor)? {
        let shape = shape(of: slice)
        switch slice {
        case .centers(let number):
            try head.hold(number)
            try head.table.withRows(0..<shape.rowCount, of: number) { rows, momentum in
                try reader.read(slice, width: shape.width, format: shape.format, rows: rows, momentum: momentum)
            }
            return nil
        case .dense:
            let values = (
                parameters: Tensor(uninitialized: Float.self, shape: [shape.rowCount]),
                momentum: Tensor(uninitialized: Float.self, shape: [shape.rowCount])
            )
            try reader.read(
                slice, width: 1,
                rows: UnsafeMutableRawBufferPointer(start: values.parameters.rawPointer, count: 4 * shape.rowCount),
                momentum: UnsafeMutableRawBufferPointer(start: values.momentum.rawPointer, count: 4 * shape.rowCount))
            return withExtendedLifetime(values) { values }
        }
    }

    /// Makes what is held now all that the directory says: the log begins anew.
    private func keepEverything(_ owned: [SliceName], isInitial: Bool, _ task: BoundaryTask, _ plan: Plan) throws {
        guard let store else { return }
        var sources: [SliceName: SliceSource] = [:]
        for slice in owned { sources[slice] = isInitial ? .initial : .snapshot(try writeSnapshot(of: slice)) }
        var notes = StoreNotes()
        notes.operations = head.registry.operations
        notes.lastTask = lastTask
        try store.replaceAll(
            with: sources, step: task.step, mapVersion: plan.mapVersion, extra: notes.text)
    }

    /// The snapshot of a slice as it is now, written at once.
    private func writeSnapshot(of slice: SliceName) throws -> SnapshotReference {
        guard let store else { throw CenterStoreError(.io, "there is no directory for a snapshot") }
        let shape = shape(of: slice)
        let writer = try store.beginSnapshot(slice, shape: shape, classVersion: classVersion)
        for index in 0..<shape.chunkCount {
            func write(_ rows: UnsafeRawBufferPointer, _ momentum: UnsafeRawBufferPointer) throws {
                try writer.write(chunk: index, step: committed, rows: rows, momentum: momentum)
            }
            switch slice {
            case .centers(let number):
                try head.table.withChunk(index, of: number) {
                    try write(UnsafeRawBufferPointer($0), UnsafeRawBufferPointer($1))
                }
            case .dense(let number):
                guard let (parameters, momentum) = dense.chunk(index, ofSlice: number) else { continue }
                try withExtendedLifetime((parameters, momentum)) {
                    try write(parameters.bytes, momentum.bytes)
                }
            }
        }
        return try writer.finish(emptyStep: committed)
    }
}

extension Tensor {
    /// The tensor's memory; whoever uses it keeps the tensor alive.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: rawPointer, count: byteCount) }
}
