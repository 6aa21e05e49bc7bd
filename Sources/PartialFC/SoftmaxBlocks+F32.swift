internal import CKernels
internal import Determinism
internal import Tensors

/// Products in single precision, by OpenBLAS.
extension SoftmaxBlocks {
    /// Rows are cut into tiles of this many: no more logits than a micro-batch times a tile exist at a time. Part of the
    /// arithmetic: another size gives other bits.
    private static let tileRows = 1024

    func forwardF32(samples: SampleSet, rows: SampledRows, positions: Range<Int>, slots: [PartialSlot]) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.tileRows)
        let microBatches = samples.microBatches
        let margin = configuration.kernelMargin
        let scratch = threadScratch(g * tile + tile + g + (rows.isHalf ? tile * size : 0))
        parallel.forEach(positions.count * microBatches.count) { block, thread in
            let (offset, index) = block.quotientAndRemainder(dividingBy: microBatches.count)
            let position = positions.lowerBound + offset
            let (slice, slot) = (rows.slices[position], slots[position])
            let first = index * g
            var margin = margin
            let products = scratch[thread].pointer(Float.self)
            let row = products + g * tile
            let columns = UnsafeMutableRawPointer(row + tile).assumingMemoryBound(to: Int32.self)
            let features = samples.normalized.pointer(Float.self) + first * size
            let (maximum, sum, numerator) = (slot.maximum + first, slot.sum + first, slot.numerator + first * size)
            slot.clear(samples: first..<first + g, size: size)
            for part in SampledRows.pieces(slice.ids.count, of: tile) {
                let weights = rows.single(slice, part, scratch: row + tile + g)
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

    func gradientF32(
        samples: SampleSet, rows: SampledRows, logZ: Tensor, tree: ReductionTree, nodes: [ReductionTree.Node],
        rounding: GradientRounding?, consume: @Sendable (_ tile: GradientTile, _ thread: Int) -> Void
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.tileRows)
        let margin = configuration.kernelMargin
        let levels = nodes.map(\.level).max() ?? 0
        let units = rows.slices.indices.flatMap { position in
            SampledRows.pieces(rows.slices[position].ids.count, of: tile).map { (position, $0) }
        }
        let largest = units.map(\.1.count).max() ?? 0
        let scratch = threadScratch(g * tile + g + (levels + 1 + (rows.isHalf ? 1 : 0)) * largest * size)
        parallel.forEach(units.count * nodes.count) { block, thread in
            let (unit, nodeIndex) = block.quotientAndRemainder(dividingBy: nodes.count)
            let (position, part) = units[unit]
            let slice = rows.slices[position]
            var margin = margin
            let products = scratch[thread].pointer(Float.self)
            let columns = UnsafeMutableRawPointer(products + g * tile).assumingMemoryBound(to: Int32.self)
            let length = part.count * size
            let sum = products + g * tile + g
            let stack = sum + length
            let weights = rows.single(slice, part, scratch: stack + levels * length)
            let ids = slice.ids.baseAddress.map { $0 + part.lowerBound }
            func round(_ node: ReductionTree.Node, _ values: UnsafeMutablePointer<Float>) {
                if let rounding, let ids { rounding.round(values, of: node, ids: ids, count: part.count, size: size) }
            }
            TreeSum.add(tree, nodes[nodeIndex], into: sum, stack: stack, length: length, round: round) { node, out in
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
                round(node, out)
                return true
            }
            consume(GradientTile(position: position, rows: part, node: nodeIndex, values: sum), thread)
        }
    }
}
