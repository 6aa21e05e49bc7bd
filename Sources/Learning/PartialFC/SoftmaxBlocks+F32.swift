internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// Products in single precision, by OpenBLAS.
extension SoftmaxBlocks {
    /// Rows are cut into tiles of this many: no more logits than a micro-batch times a tile exist at a time. Part of the
    /// arithmetic: another size gives other bits.
    private static let tileRows = 1024
    /// Rows of a tile whose gradient is summed at a time, as many as stay in the second cache with the sums of a few levels.
    private static let gradientRows = 128

    func forwardF32(
        samples: SampleSet, rows: SampledRows, positions: Range<Int>, slots: [PartialSlot], kept: KeptCosines?
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.tileRows)
        let microBatches = samples.microBatches
        let margin = samples.margin
        var layout = ScratchLayout()
        let theProducts = layout.piece(g * tile, of: Float.self)
        let theRow = layout.piece(tile, of: Float.self)
        let theColumns = layout.piece(g, of: Int32.self)
        let theWeights = layout.piece(rows.isHalf ? tile * size : 0, of: Float.self)
        let scratch = threadScratch(layout)
        parallel.forEach(positions.count * microBatches.count) { block, thread in
            let (offset, index) = block.quotientAndRemainder(dividingBy: microBatches.count)
            let position = positions.lowerBound + offset
            let (slice, slot) = (rows.slices[position], slots[position])
            let first = index * g
            var margin = margin
            let memory = scratch[thread]
            let (products, row) = (theProducts.pointer(in: memory), theRow.pointer(in: memory))
            let columns = theColumns.pointer(in: memory)
            let features = samples.normalized.pointer(Float.self) + first * size
            let (maximum, sum, numerator) = (slot.maximum + first, slot.sum + first, slot.numerator + first * size)
            slot.clear(samples: first..<first + g, size: size)
            for part in SampledRows.pieces(slice.ids.count, of: tile) {
                let weights = rows.single(slice, part, scratch: theWeights.pointer(in: memory))
                BLAS.productWithTransposed(g, part.count, size, features, weights, products)
                if let kept {
                    kept.products(microBatch: microBatches.lowerBound + index, row: slice.offset + part.lowerBound)
                        .update(from: products, count: g * part.count)
                }
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
        samples: SampleSet, rows: SampledRows, logZ: Normalizers, tree: ReductionTree, nodes: [ReductionTree.Node],
        kept: KeptCosines?, rounding: GradientRounding?,
        consume: @Sendable (_ tile: GradientTile, _ thread: Int) -> Void
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.tileRows)
        let margin = samples.margin
        let levels = nodes.map(\.level).max() ?? 0
        let leafLimit = nodes.map { tree.leaves(of: $0).count }.max() ?? 0
        let isKept = samples.microBatches.map { kept?.has($0, of: samples) ?? false }
        let units = rows.slices.indices.flatMap { position in
            SampledRows.pieces(rows.slices[position].ids.count, of: tile).map { (position, $0) }
        }
        let largest = min(units.map(\.1.count).max() ?? 0, Self.gradientRows)
        var layout = ScratchLayout()
        let theCoefficients = layout.piece(leafLimit * g * tile, of: Float.self)
        let theColumns = layout.piece(g, of: Int32.self)
        let theSum = layout.piece(largest * size, of: Float.self)
        let theStack = layout.piece(levels * largest * size, of: Float.self)
        let theWeights = layout.piece(rows.isHalf ? tile * size : 0, of: Float.self)
        let scratch = threadScratch(layout)
        parallel.forEachFromLast(units.count * nodes.count) { block, thread in
            let (unit, nodeIndex) = block.quotientAndRemainder(dividingBy: nodes.count)
            let (position, part) = units[unit]
            let slice = rows.slices[position]
            let leaves = tree.leaves(of: nodes[nodeIndex])
            var margin = margin
            let memory = scratch[thread]
            let (coefficients, columns) = (theCoefficients.pointer(in: memory), theColumns.pointer(in: memory))
            let (sum, stack) = (theSum.pointer(in: memory), theStack.pointer(in: memory))
            /// x/|x| of a micro-batch.
            func features(_ leaf: Int) -> UnsafeMutablePointer<Float> {
                samples.normalized.pointer(Float.self) + (leaf - samples.microBatches.lowerBound) * g * size
            }
            for leaf in leaves {
                let index = leaf - samples.microBatches.lowerBound
                let products = coefficients + (leaf - leaves.lowerBound) * g * tile
                if let kept, isKept[index] {
                    products.update(
                        from: kept.products(microBatch: leaf, row: slice.offset + part.lowerBound),
                        count: g * part.count)
                } else {
                    let weights = rows.single(slice, part, scratch: theWeights.pointer(in: memory))
                    BLAS.productWithTransposed(g, part.count, size, features(leaf), weights, products)
                }
                samples.targetColumns(microBatch: leaf, slice: position, tile: part, into: columns)
                pfc_head_coefficients(
                    &margin, g, part.count, products, slice.inverseNorms + part.lowerBound, columns,
                    logZ.weighted.pointer(Double.self) + index * g, logZ.logZ.pointer(Double.self) + index * g,
                    samples.targetLogit.pointer(Float.self) + index * g,
                    samples.targetDerivative.pointer(Float.self) + index * g)
            }
            for piece in SampledRows.pieces(part.count, of: Self.gradientRows) {
                let first = part.lowerBound + piece.lowerBound
                let ids = slice.ids.baseAddress.map { $0 + first }
                func round(_ node: ReductionTree.Node, _ values: UnsafeMutablePointer<Float>) {
                    if let rounding, let ids {
                        rounding.round(values, of: node, ids: ids, count: piece.count, size: size)
                    }
                }
                TreeSum.add(
                    tree, nodes[nodeIndex], into: sum, stack: stack, length: piece.count * size, round: round
                ) { node, out in
                    if node.level > 0 { return false }
                    let products = coefficients + (node.index - leaves.lowerBound) * g * tile + piece.lowerBound
                    BLAS.transposedProduct(
                        piece.count, size, g, products, stride: part.count, features(node.index), out)
                    round(node, out)
                    return true
                }
                consume(
                    GradientTile(
                        position: position, rows: first..<first + piece.count, node: nodeIndex, values: sum), thread)
            }
        }
    }
}
