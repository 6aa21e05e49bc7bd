internal import CKernels
internal import Determinism
internal import Tensors

/// The arithmetic of (micro-batch, slice) blocks, the same on a shard (`features`) and on a worker (`rows`).
///
/// Holds the scratch memory of its threads; one caller at a time.
final class SoftmaxBlocks {
    let configuration: HeadConfiguration
    let parallel: ParallelBlocks
    private var scratch: [ReusableTensor]

    init(configuration: HeadConfiguration, threads: Int) {
        BLAS.prepare()
        self.configuration = configuration
        parallel = ParallelBlocks(threads: threads)
        scratch = Array(repeating: ReusableTensor(), count: threads)
    }

    /// Float scratch of `count` elements for every thread.
    func threadScratch(_ count: Int) -> [Tensor] {
        scratch.indices.map { scratch[$0].next(Float.self, shape: [max(count, 1)]) }
    }

    /// The partial softmax of every sample over each slice by itself.
    ///
    /// - Parameter slots: where the results go, by position in `rows.slices`.
    func forward(samples: SampleSet, rows: SampledRows, slots: [PartialSlot]) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, SampledRows.tileRows)
        let microBatches = samples.microBatches
        let margin = configuration.kernelMargin
        let scratch = threadScratch(g * tile + tile + g)
        parallel.forEach(rows.slices.count * microBatches.count) { block, thread in
            let (position, index) = block.quotientAndRemainder(dividingBy: microBatches.count)
            let (slice, slot) = (rows.slices[position], slots[position])
            let first = index * g
            var margin = margin
            let products = scratch[thread].pointer(Float.self)
            let row = products + g * tile
            let columns = UnsafeMutableRawPointer(row + tile).assumingMemoryBound(to: Int32.self)
            let features = samples.normalized.pointer(Float.self) + first * size
            let (maximum, sum, numerator) = (slot.maximum + first, slot.sum + first, slot.numerator + first * size)
            maximum.update(repeating: -.infinity, count: g)
            sum.update(repeating: 0, count: g)
            numerator.update(repeating: 0, count: g * size)
            for part in SampledRows.tiles(slice.ids.count) {
                let weights = slice.rows + part.lowerBound * size
                BLAS.productWithTransposed(g, part.count, size, features, weights, products)
                samples.targetColumns(
                    microBatch: microBatches.lowerBound + index, slice: position, tile: part, into: columns)
                pfc_head_softmax_tile(
                    &margin, g, part.count, size, products, slice.inverseNorms + part.lowerBound, columns, row, maximum,
                    sum, numerator)
                BLAS.addProduct(g, size, part.count, products, weights, numerator)
            }
        }
    }

    /// The row gradients H of every slice, summed along the tree over micro-batches up to each of `nodes`.
    ///
    /// - Parameters:
    ///   - logZ: of each sample.
    ///   - destinations: where H of a slice goes, by node, then by position in `rows.slices`.
    func backward(
        samples: SampleSet, rows: SampledRows, logZ: Tensor, tree: ReductionTree, nodes: [ReductionTree.Node],
        destinations: [[UnsafeMutablePointer<Float>]]
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, SampledRows.tileRows)
        let margin = configuration.kernelMargin
        let levels = nodes.map(\.level).max() ?? 0
        let units = rows.slices.indices.flatMap { position in
            SampledRows.tiles(rows.slices[position].ids.count).map { (position, $0) }
        }
        let largest = units.map(\.1.count).max() ?? 0
        let scratch = threadScratch(g * tile + g + levels * largest * size)
        let targets = Shared(destinations)
        parallel.forEach(units.count * nodes.count) { block, thread in
            let (unit, nodeIndex) = block.quotientAndRemainder(dividingBy: nodes.count)
            let (position, part) = units[unit]
            let slice = rows.slices[position]
            var margin = margin
            let products = scratch[thread].pointer(Float.self)
            let columns = UnsafeMutableRawPointer(products + g * tile).assumingMemoryBound(to: Int32.self)
            let stack = products + g * tile + g
            let length = part.count * size
            let weights = slice.rows + part.lowerBound * size
            TreeSum.add(
                tree, nodes[nodeIndex], into: targets.value[nodeIndex][position] + part.lowerBound * size, stack: stack,
                length: length
            ) { node, out in
                if node.level > 0 { return false }
                let first = (node.index - samples.microBatches.lowerBound) * g
                let features = samples.normalized.pointer(Float.self) + first * size
                BLAS.productWithTransposed(g, part.count, size, features, weights, products)
                samples.targetColumns(microBatch: node.index, slice: position, tile: part, into: columns)
                pfc_head_coefficients(
                    &margin, g, part.count, products, slice.inverseNorms + part.lowerBound, columns,
                    logZ.pointer(Double.self) + first, samples.targetLogit.pointer(Float.self) + first,
                    samples.targetDerivative.pointer(Float.self) + first)
                BLAS.transposedProduct(part.count, size, g, products, features, out)
                return true
            }
        }
    }
}
