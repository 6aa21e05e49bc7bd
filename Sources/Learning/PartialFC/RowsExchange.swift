internal import CKernels
public import Cluster
internal import Determinism
public import Model
internal import ParameterStore
public import Tensors

/// A `rows` exchange in hand on a worker: the partial softmax over the shards' rows, computed slice by slice as they come in.
///
/// The order in which shards and slices come has no influence on the bits. One thread at a time may call.
public final class RowsExchange {
    /// What one shard has sent.
    private struct Source {
        var payload: [Tensor]
        /// Rows in the format that is computed with: those of the payload, or decoded ones.
        var part: SampledRows.Part
        /// Where its slices are among all.
        var positions: Range<Int>
        /// The first position whose rows are still to come.
        var next: Int
    }

    private let configuration: HeadConfiguration
    private let layout: SliceLayout
    private let blocks: SoftmaxBlocks
    let samples: SampleSet
    let rows: SampledRows
    private let pool: TensorPool
    /// What the slots point into.
    private let memory: Tensor
    /// By position.
    private var slots: [PartialSlot]
    private var sources: [Int: Source] = [:]

    /// - Parameters:
    ///   - memory: of `floatCount` floats.
    ///   - pool: where decoded rows go.
    init(
        configuration: HeadConfiguration, layout: SliceLayout, blocks: SoftmaxBlocks, samples: SampleSet,
        memory: Tensor, pool: TensorPool
    ) {
        self.configuration = configuration
        self.layout = layout
        self.blocks = blocks
        self.samples = samples
        self.memory = memory
        self.pool = pool
        rows = SampledRows(
            layout: layout, embeddingSize: configuration.embeddingSize, isHalf: Self.format(configuration) == .bf16)
        slots = (0..<layout.sliceCount).map {
            PartialSlot(memory, $0, samples: samples.count, size: configuration.embeddingSize)
        }
    }

    /// Floats that the partial softmaxes of all slices take.
    static func floatCount(_ layout: SliceLayout, samples: SampleSet) -> Int {
        layout.sliceCount * samples.count * (samples.embeddingSize + 2)
    }

    /// What rows are computed with as: int8 is decoded into what the products are computed in.
    private static func format(_ configuration: HeadConfiguration) -> NumberFormat {
        guard configuration.exchangedRows == .int8 else { return configuration.exchangedRows }
        return configuration.compute == .bf16 ? .bf16 : .f32
    }

    /// Computes with the rows of a shard that are there and have not been computed with.
    ///
    /// - Parameters:
    ///   - payload: counts, ids and rows as in `WorkerHead.softmax`; the same tensors each time.
    ///   - shard: its index.
    ///   - slices: of the shard.
    ///   - available: bytes of the rows that have come in, all if nil. Counts and ids must be there.
    /// - Throws: `HeadError` if shapes or ids do not fit, a slice came from another shard, or a number is not finite. The exchange
    ///   is of no use then.
    public func take(
        _ payload: [Tensor], of shard: Int, slices: SliceSet, available: Int? = nil
    ) throws(HeadError) {
        let sender = "shard \(shard)"
        var source: Source
        if let known = sources[shard] {
            source = known
        } else {
            let part = try part(payload, slices: slices, from: sender)
            let positions = rows.append(part, index: shard)
            source = Source(payload: payload, part: part, positions: positions, next: positions.lowerBound)
        }
        let size = configuration.embeddingSize
        let rowByteCount = configuration.exchangedRows.byteCount(width: size)
        let ready = available.map { $0 / rowByteCount } ?? source.part.ids.count
        var end = source.next
        while end < source.positions.upperBound, rows.slices[end].offset + rows.slices[end].ids.count <= ready {
            end += 1
        }
        let positions = source.next..<end
        source.next = end
        sources[shard] = source
        if positions.isEmpty { return }
        try receive(source, positions, from: sender)
        rows.measure(positions, parallel: blocks.parallel)
        try samples.findTargets(in: rows, at: positions, parallel: blocks.parallel)
        blocks.forward(samples: samples, rows: rows, positions: positions, slots: slots)
    }

    /// Decodes the rows of some slices, if they must be, and checks them.
    private func receive(_ source: Source, _ positions: Range<Int>, from sender: String) throws(HeadError) {
        let (size, format) = (configuration.embeddingSize, configuration.exchangedRows)
        let first = rows.slices[positions.lowerBound].offset
        let last = rows.slices[positions.upperBound - 1]
        let range = first..<last.offset + last.ids.count
        let (sent, decoded) = (source.payload[2], source.part.rows)
        if format == .int8 {
            let scratch = blocks.threadScratch(Self.chunk * size)
            let isHalf = rows.isHalf
            blocks.parallel.forEach((range.count + Self.chunk - 1) / Self.chunk) { index, thread in
                let start = range.lowerBound + index * Self.chunk
                let count = min(Self.chunk, range.upperBound - start)
                let from = UnsafeRawPointer(sent.rawPointer) + start * format.byteCount(width: size)
                if isHalf {
                    let values = scratch[thread].pointer(Float.self)
                    format.decode(from, count: count, width: size, to: values)
                    pfc_head_encode_bf16(values, count * size, decoded.pointer(UInt16.self) + start * size)
                } else {
                    format.decode(from, count: count, width: size, to: decoded.pointer(Float.self) + start * size)
                }
            }
        }
        if let bad = Payload.firstNonFinite(decoded.rows(range), parallel: blocks.parallel) {
            let id = source.part.ids.buffer(Int64.self)[range.lowerBound + bad / size]
            throw HeadError(.notFinite, "the center of class \(id) from \(sender) is not finite")
        }
    }

    /// Rows that are decoded at a time.
    private static let chunk = 128

    /// Whether everything that was taken is part of `pulled`.
    func continues(with pulled: [[Tensor]]) -> Bool {
        sources.allSatisfy { shard, source in
            shard < pulled.count && source.payload.count == pulled[shard].count
                && zip(source.payload, pulled[shard]).allSatisfy {
                    $0.storage === $1.storage && $0.byteOffset == $1.byteOffset
                }
        }
    }

    /// Rows of each shard, by its index. Every shard's have been taken.
    var rowCounts: [Int] { sources.sorted { $0.key < $1.key }.map(\.value.part.ids.count) }

    /// Logits and gradient terms of the labels.
    func targets() -> Targets {
        let size = configuration.embeddingSize
        let targets = Targets(samples: samples.count, size: size)
        for sample in 0..<samples.count {
            let numerator = targets.numerators.pointer(Float.self) + sample * size
            guard samples.targetNumerator(sample, in: rows, into: numerator) else { continue }
            targets.logits.mutable(Float.self)[sample] = samples.targetLogit.buffer(Float.self)[sample]
        }
        return targets
    }

    /// Merges the slices; every one must have been taken.
    ///
    /// - Throws: `HeadError` if one is missing.
    func merge(along tree: ReductionTree) throws(HeadError) -> PartialSlot {
        var leaves: [ReductionTree.Node: Int] = [:]
        for (position, slice) in rows.slices.enumerated() {
            leaves[ReductionTree.Node(level: 0, index: slice.number)] = position
        }
        var steps: [MergeStep] = []
        let root = PartialSoftmax.plan(tree, leaves, at: tree.root, writable: slots.count, steps: &steps) {
            slots.count
        }
        guard let root else { throw HeadError(.malformed, "slices are missing from the shards' rows") }
        PartialSoftmax(
            samples: samples.count, microBatchSize: samples.microBatchSize, embeddingSize: configuration.embeddingSize
        ).merge(slots, steps, parallel: blocks.parallel)
        return slots[root]
    }

    /// Checks everything of a payload but its numbers, and finds room for them.
    private func part(
        _ payload: [Tensor], slices: SliceSet, from sender: String
    ) throws(HeadError) -> SampledRows.Part {
        let (size, format) = (configuration.embeddingSize, configuration.exchangedRows)
        let slices = slices.numbers
        if let double = slices.first(where: { self.rows.positionOfSlice[$0] != nil }) {
            throw HeadError(.malformed, "\(sender) sent slice \(double), which another shard has sent")
        }
        try Payload.expect(payload, count: 3, from: sender)
        try Payload.check(payload[0], "sampled counts", .i32, [slices.count], from: sender)
        let counts = payload[0].buffer(Int32.self).map(Int.init)
        var total = 0
        for (slice, count) in zip(slices, counts) {
            let classes = layout.classes(of: slice)
            guard (0...classes.count).contains(count) else {
                throw HeadError(
                    .malformed, "\(sender) sampled \(count) of the \(classes.count) classes of slice \(slice)")
            }
            total += count
        }
        try Payload.check(payload[1], "ids", .i64, [total], from: sender)
        try Payload.check(payload[2], "rows", format.dtype, [total, format.extent(width: size)], from: sender)
        let ids = payload[1].buffer(Int64.self)
        var offset = 0
        for (slice, count) in zip(slices, counts) {
            let classes = layout.classes(of: slice)
            var least: Int64 = 0
            for id in ids[offset..<offset + count] {
                guard id >= least, classes.contains(Int(id)) else {
                    throw HeadError(
                        .malformed,
                        "\(sender) sent class \(id) in slice \(slice), which has classes \(classes), or out of order")
                }
                least = id + 1
            }
            offset += count
        }
        let rows = format == .int8 ? pool.tensor(Self.format(configuration).dtype, [total, size]) : payload[2]
        return SampledRows.Part(slices: slices, counts: counts, ids: payload[1], rows: rows)
    }
}
