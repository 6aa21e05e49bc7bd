internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// Slices of one kind, and what steps make of them: the class centers, or the backbone. What the engine does with a slice, it does
/// through this, whatever the slice is of.
///
/// A slice that is held is active, which steps are over, or not: a copy on its way here.
protocol SliceHolder: AnyObject {
    /// Size of a slice, how its numbers are kept, and how it is cut into pieces, with the classes of `registry`.
    func shape(ofSlice slice: Int, _ registry: ClassRegistry) -> SliceShape
    /// Takes a slice up without activating it, to be filled piece by piece.
    func hold(_ slice: Int, shape: SliceShape) throws
    /// Takes a slice up as it is at the beginning of the run, without activating it.
    func holdInitial(_ slice: Int, _ setup: ShardSetup) throws
    /// Calls `body` with the memory of a piece of a slice that is not active, plane by plane, to write.
    func fill(_ index: Int, ofSlice slice: Int, _ body: ([UnsafeMutableRawBufferPointer]) throws -> Void) throws
    /// The planes of a piece of an active slice, in memory that nothing changes any more.
    func copy(ofChunk index: Int, ofSlice slice: Int) throws -> [Tensor]
    /// Writes an active slice into a checkpoint.
    func write(_ slice: Int, by writer: CheckpointWriter) throws -> CheckpointManifest.File
    func activate(_ slices: SliceSet) throws
    /// Gives slices up with their memory, active or not.
    func remove(_ slices: SliceSet) throws
}

extension SliceHolder {
    /// Fills a piece of a slice that is not active.
    func fill(_ index: Int, ofSlice slice: Int, from sources: [UnsafeRawBufferPointer]) throws {
        try fill(index, ofSlice: slice) { targets in
            for (target, source) in zip(targets, sources) { target.copyMemory(from: source) }
        }
    }
}

extension ShardHead: SliceHolder {
    func shape(ofSlice slice: Int, _ registry: ClassRegistry) -> SliceShape {
        SliceShape(
            rowCount: registry.layout.classes(of: slice).count, width: table.embeddingSize, chunkRows: table.chunkRows,
            format: table.format)
    }

    func hold(_ slice: Int, shape: SliceShape) throws { try hold(slice, rowCount: shape.rowCount) }

    func holdInitial(_ slice: Int, _ setup: ShardSetup) throws {
        // Once the classes have changed, a slice begins anew only to be replaced by that of a checkpoint.
        let file = setup.initialCenters
        let source: CenterSource =
            registry.version > 0 ? .zeros : file.isEmpty ? .random(seed: setup.head.seed) : .safeTensors(path: file)
        try add([slice], from: source)
        try deactivate([slice])
    }

    func fill(_ index: Int, ofSlice slice: Int, _ body: ([UnsafeMutableRawBufferPointer]) throws -> Void) throws {
        try table.withChunk(index, of: slice, body)
    }

    func copy(ofChunk index: Int, ofSlice slice: Int) throws -> [Tensor] {
        let count = table.rows(ofChunk: index, of: slice).count
        return try table.withChunk(index, of: slice) { sources in
            zip(sources, table.format.planes).map { source, plane in
                let width = plane.width(of: table.embeddingSize)
                let copy = Tensor(
                    dtype: plane.format.dtype, shape: [count, plane.format.extent(width: width)],
                    storage: TensorStorage(byteCount: source.count))
                if let base = source.baseAddress, source.count > 0 {
                    copy.rawPointer.copyMemory(from: base, byteCount: source.count)
                }
                return copy
            }
        }
    }

    func write(_ slice: Int, by writer: CheckpointWriter) throws -> CheckpointManifest.File {
        try writer.write(slice: slice, of: table)
    }
}

extension DenseShard: SliceHolder {
    func shape(ofSlice slice: Int, _ registry: ClassRegistry) -> SliceShape { shape(ofSlice: slice) }

    func hold(_ slice: Int, shape: SliceShape) throws { try hold(slice) }

    func holdInitial(_ slice: Int, _ setup: ShardSetup) throws {
        try holdInitial(slice, initial: setup.initialBackbone)
    }

    func fill(_ index: Int, ofSlice slice: Int, _ body: ([UnsafeMutableRawBufferPointer]) throws -> Void) throws {
        try withChunk(index, ofSlice: slice, body)
    }

    func copy(ofChunk index: Int, ofSlice slice: Int) throws -> [Tensor] {
        guard let planes = chunk(index, ofSlice: slice) else {
            throw BackboneError(.invalidPayload, "dense slice \(slice) has no piece \(index)")
        }
        return planes
    }

    func write(_ slice: Int, by writer: CheckpointWriter) throws -> CheckpointManifest.File {
        try writer.write(denseSlice: slice, format: format, planes: state(ofSlice: slice))
    }
}

extension ShardEngine {
    /// What holds `slice`.
    func holder(of slice: SliceName) -> any SliceHolder { slice.isDense ? dense : head }

    /// How a slice is cut into pieces, with the classes that there are.
    func shape(of slice: SliceName) -> SliceShape { shape(of: slice, head.registry) }

    /// How it would be with the classes of `registry`.
    func shape(of slice: SliceName, _ registry: ClassRegistry) -> SliceShape {
        holder(of: slice).shape(ofSlice: slice.number, registry)
    }

    /// Everything that steps are over.
    var ownedSlices: [SliceName] {
        slices.numbers.map(SliceName.centers) + denseSlices.numbers.map(SliceName.dense)
    }

    /// Includes held slices in the steps from now on.
    func activate(_ names: some Collection<SliceName>) throws {
        try head.activate(names.centers)
        try dense.activate(names.dense)
    }
}
