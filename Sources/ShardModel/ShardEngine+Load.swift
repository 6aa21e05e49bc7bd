internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import StepProtocol
internal import Tensors

/// A checkpoint that becomes the state: whatever fails, what was there before is there, in the directory and in memory.
extension ShardEngine {
    /// An error after which only the directory can be trusted.
    struct LoadFailure: Error { var cause: any Error }

    /// Checks that exactly the slices that the map of `plan` gives to this shard are owned.
    ///
    /// - Throws: `HeadError` if not: what is acknowledged then would be taken for the whole.
    func checkOwnership(_ plan: Plan) throws {
        let wanted = try slices(in: plan)
        let held = Set(ownedSlices)
        if let missing = wanted.subtracting(held).min() {
            throw HeadError(.phase, "this shard is to own \(missing) and does not hold it")
        }
        if let extra = held.subtracting(wanted).min() {
            throw HeadError(.phase, "this shard holds \(extra), which is another's")
        }
    }

    /// Makes the state of the slices that the map gives to this shard that of a checkpoint, or the initial one if `path` is empty.
    ///
    /// Every file is read and its hash compared before anything changes. With a directory, snapshots are written beside the old ones,
    /// and one write of the manifest makes them count.
    /// - Throws: an error, with nothing changed; `LoadFailure` if the state is not what the directory says any more.
    func restore(from path: String, _ task: BoundaryTask, _ plan: Plan) throws -> String {
        let wanted = try slices(in: plan).sorted()
        let reader = path.isEmpty ? nil : try open(path, task)
        let registry =
            if let manifest = reader?.manifest {
                try ClassRegistry(
                    classCount: manifest.classCount, sliceCount: manifest.sliceCount,
                    operationsJSON: manifest.operations)
            } else {
                try ClassRegistry(classCount: setup.head.classCount, sliceCount: setup.head.sliceCount)
            }
        if let store {
            let sources = try writeBeside(wanted, reader, registry, task, store)
            try swap(to: sources, registry, task, plan, store)
        } else {
            for slice in wanted { try reader?.verify(slice) }
            do { try loadInMemory(wanted, reader, registry) } catch {
                // Nothing is better than half of it: the task is tried again, by the map.
                try reset()
                throw error
            }
            (committed, lastTask, mapVersion) = (task.step, max(lastTask, task.number), plan.mapVersion)
            past = wanted.isEmpty ? 0 : plan.past
        }
        do { try checkOwnership(plan) } catch { throw LoadFailure(cause: error) }
        return ""
    }

    /// The checkpoint, if it is one of this run at the step of the task.
    private func open(_ path: String, _ task: BoundaryTask) throws -> CheckpointReader {
        let reader = try CheckpointReader(directory: path)
        let manifest = reader.manifest
        guard manifest.step == task.step, manifest.sliceCount == setup.head.sliceCount,
            manifest.denseSliceCount == setup.denseSliceCount,
            manifest.embeddingSize == setup.head.embeddingSize, manifest.classCount == setup.head.classCount
        else {
            throw CenterStoreError(
                .foreign,
                "checkpoint \(path) is of step \(manifest.step), \(manifest.classCount) classes × \(manifest.embeddingSize) in \(manifest.sliceCount) and \(manifest.denseSliceCount) slices, which is not this run at step \(task.step)"
            )
        }
        guard manifest.format == setup.head.format, manifest.format(of: .dense(0)) == dense.format else {
            throw CenterStoreError(
                .foreign,
                "checkpoint \(path) keeps \(manifest.format), and \(manifest.format(of: .dense(0))) of the backbone, this run \(setup.head.format) and \(dense.format): export it, and import it with this configuration"
            )
        }
        return reader
    }

    // MARK: With a directory

    /// Writes the slices of a checkpoint as snapshots that do not count yet. If one cannot be read or written, those that were are
    /// removed again.
    private func writeBeside(
        _ slices: [SliceName], _ reader: CheckpointReader?, _ registry: ClassRegistry, _ task: BoundaryTask,
        _ store: ShardStore
    ) throws -> [SliceName: SliceSource] {
        guard let reader else { return Dictionary(uniqueKeysWithValues: slices.map { ($0, .initial) }) }
        var sources: [SliceName: SliceSource] = [:]
        do {
            for slice in slices {
                let shape = shape(of: slice, registry)
                let writer = try store.beginSnapshot(slice, shape: shape, classVersion: registry.version)
                try forEachPiece(of: slice, shape, in: reader) { chunk, planes in
                    try writer.write(chunk: chunk, step: task.step, planes: planes)
                }
                sources[slice] = .snapshot(try writer.finish(emptyStep: task.step))
            }
        } catch {
            for source in sources.values {
                if let snapshot = source.snapshot { try? store.discard(snapshot) }
            }
            throw error
        }
        return sources
    }

    /// Calls `body` with every piece of a slice of a checkpoint, plane by plane. One slice at a time is in memory, and its hash is right
    /// before a byte of it is used.
    private func forEachPiece(
        of slice: SliceName, _ shape: SliceShape, in reader: CheckpointReader,
        _ body: (_ chunk: Int, _ planes: [UnsafeRawBufferPointer]) throws -> Void
    ) throws {
        let planes = shape.byteCounts.map { UnsafeMutableRawBufferPointer.allocate(byteCount: $0, alignment: 64) }
        defer { for plane in planes { plane.deallocate() } }
        try reader.read(slice, width: shape.width, format: shape.format, into: planes)
        for chunk in 0..<shape.chunkCount {
            try body(
                chunk, zip(planes, shape.bytes(ofChunk: chunk)).map { UnsafeRawBufferPointer(rebasing: $0[$1]) })
        }
    }

    /// Makes what was written all that the directory says, and memory what the directory says.
    private func swap(
        to sources: [SliceName: SliceSource], _ registry: ClassRegistry, _ task: BoundaryTask, _ plan: Plan,
        _ store: ShardStore
    ) throws {
        var notes = StoreNotes()
        notes.operations = registry.operations
        notes.lastTask = max(lastTask, task.number)
        notes.past = sources.isEmpty ? 0 : plan.past
        try store.replaceAll(with: sources, step: task.step, mapVersion: plan.mapVersion, extra: notes.text)
        do {
            try load(upTo: nil)
            committed = task.step
        } catch { throw LoadFailure(cause: error) }
    }

    // MARK: Without one

    private func loadInMemory(_ slices: [SliceName], _ reader: CheckpointReader?, _ registry: ClassRegistry) throws {
        try reset()
        head = try ShardHead(
            configuration: setup.head, registry: registry, slices: [], threads: threads, memory: memory)
        for slice in slices {
            guard let reader else {
                try holder(of: slice).holdInitial(slice.number, setup)
                continue
            }
            let (shape, holder) = (shape(of: slice), holder(of: slice))
            try holder.hold(slice.number, shape: shape)
            try forEachPiece(of: slice, shape, in: reader) { chunk, planes in
                try holder.fill(chunk, ofSlice: slice.number, from: planes)
            }
        }
        try activate(slices)
    }
}
