internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// Products of bf16 numbers, summed in single precision.
extension SoftmaxBlocks {
    /// Rows of a tile of the forward pass, as many as stay in the second cache with what is made of them. Part of the
    /// arithmetic: another size gives other bits.
    private static let tileRows = 256
    /// Rows of a tile of the gradient. No part of the arithmetic.
    private static let gradientRows = 64

    func forwardBF16(
        samples: SampleSet, rows: SampledRows, positions: Range<Int>, slots: [PartialSlot], kept: KeptCosines?
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.tileRows)
        let margin = samples.margin
        let packed = PackedSamples(samples, order: .dimensions, pool: &packPool, parallel: parallel)
        let lanes = packed.lanes
        var layout = ScratchLayout()
        let theProducts = layout.piece(tile * lanes, of: Float.self)
        let theCosines = layout.piece(tile * lanes, of: pfc_cosine.self)
        let theCoefficients = layout.piece(tile / 2 * lanes, of: UInt32.self)
        let theRows = layout.piece(tile / 2 * size, of: UInt32.self)
        let theNumerator = layout.piece(g * size, of: Float.self)
        let theMaximum = layout.piece(lanes, of: Float.self)
        let theSum = layout.piece(lanes, of: Float.self)
        let theTargets = layout.piece(lanes, of: Int32.self)
        let theHalf = layout.piece(rows.isHalf ? 0 : tile * size, of: UInt16.self)
        let scratch = threadScratch(layout)
        // Rows are packed once for all micro-batches of a block: more blocks than a few per thread are of no use.
        let count = samples.microBatches.count
        let parts = positions.count >= 4 * parallel.threads ? min(count, 1) : count
        parallel.forEach(positions.count * parts) { block, thread in
            let (offset, part) = block.quotientAndRemainder(dividingBy: parts)
            let position = positions.lowerBound + offset
            let (slice, slot) = (rows.slices[position], slots[position])
            let indices = count * part / parts..<count * (part + 1) / parts
            var margin = margin
            let memory = scratch[thread]
            let products = theProducts.pointer(in: memory)
            let coefficients = theCoefficients.pointer(in: memory)
            let packedRows = theRows.pointer(in: memory)
            let numerator = theNumerator.pointer(in: memory)
            let maximum = theMaximum.pointer(in: memory)
            let sum = theSum.pointer(in: memory)
            let targets = theTargets.pointer(in: memory)
            slot.clear(samples: indices.lowerBound * g..<indices.upperBound * g, size: size)
            for piece in SampledRows.pieces(slice.ids.count, of: tile) {
                let weights = rows.half(slice, piece, scratch: theHalf.pointer(in: memory))
                let inverseNorms = slice.inverseNorms + piece.lowerBound
                pfc_bf16_pack_rows(weights, piece.count, size, packedRows)
                for index in indices {
                    let microBatch = samples.microBatches.lowerBound + index
                    let cosines =
                        kept?.cosines(microBatch: microBatch, row: slice.offset + piece.lowerBound)
                        ?? theCosines.pointer(in: memory)
                    pfc_bf16_products(packed[index], lanes, weights, piece.count, size, products)
                    samples.targetLanes(
                        microBatch: microBatch, slice: position, tile: piece, lanes: lanes, into: targets)
                    pfc_bf16_cosines(products, inverseNorms, targets, lanes, piece.count, cosines)
                    pfc_bf16_softmax_tile(
                        &margin, cosines, inverseNorms, lanes, piece.count, maximum, sum, coefficients)
                    pfc_bf16_numerator(coefficients, lanes, packedRows, (piece.count + 1) / 2, size, g, numerator)
                    let first = index * g
                    let (m, s, n) = (slot.maximum + first, slot.sum + first, slot.numerator + first * size)
                    pfc_head_merge(g, size, m, s, n, maximum, sum, numerator, m, s, n)
                }
            }
        }
    }

    func gradientBF16(
        samples: SampleSet, rows: SampledRows, logZ: Normalizers, tree: ReductionTree, nodes: [ReductionTree.Node],
        kept: KeptCosines?, rounding: GradientRounding?,
        consume: @Sendable (_ tile: GradientTile, _ thread: Int) -> Void
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.gradientRows)
        let margin = samples.margin
        let packed = PackedSamples(samples, order: .samples, pool: &packPool, parallel: parallel)
        let lanes = packed.lanes
        let isKept = samples.microBatches.map { kept?.has($0, of: samples) ?? false }
        // The others are computed again.
        let byDimension =
            isKept.contains(false)
            ? PackedSamples(samples, order: .dimensions, pool: &secondPackPool, parallel: parallel) : nil
        let targetsOf = TargetsBySlice(samples, logZ: logZ.logZ, sliceCount: rows.slices.count)
        let units = rows.slices.indices.flatMap { position in
            SampledRows.pieces(rows.slices[position].ids.count, of: tile).map { (position, $0) }
        }
        // Nodes that are rounded are summed one by one.
        let levels = rounding == nil ? 0 : nodes.map(\.level).max() ?? 0
        let leafLimit = nodes.map { tree.leaves(of: $0).count }.max() ?? 0
        var layout = ScratchLayout()
        let theProbabilities = layout.piece(leafLimit * tile * lanes, of: UInt16.self)
        let theGradient = layout.piece(tile * size, of: Float.self)
        let theProducts = layout.piece(tile * lanes, of: Float.self)
        let theCosines = layout.piece(tile * lanes, of: pfc_cosine.self)
        let theTargets = layout.piece(lanes, of: Int32.self)
        let theHalf = layout.piece(rows.isHalf ? 0 : tile * size, of: UInt16.self)
        let theStack = layout.piece(levels * tile * size, of: Float.self)
        let scratch = threadScratch(layout)
        parallel.forEachFromLast(units.count * nodes.count) { block, thread in
            let (unit, nodeIndex) = block.quotientAndRemainder(dividingBy: nodes.count)
            let (position, piece) = units[unit]
            let slice = rows.slices[position]
            let inverseNorms = slice.inverseNorms + piece.lowerBound
            var margin = margin
            let memory = scratch[thread]
            var leaves: [pfc_bf16_leaf] = []
            let targets = targetsOf.among(piece, of: position)
            withExtendedLifetime(targets) {
                for leaf in tree.leaves(of: nodes[nodeIndex]) {
                    let index = leaf - samples.microBatches.lowerBound
                    let probabilities =
                        theProbabilities.pointer(in: memory) + leaves.count * tile * lanes
                    let cosines: UnsafeMutablePointer<pfc_cosine>
                    if let kept, isKept[index] {
                        cosines = kept.cosines(microBatch: leaf, row: slice.offset + piece.lowerBound)
                    } else {
                        cosines = theCosines.pointer(in: memory)
                        let products = theProducts.pointer(in: memory)
                        let columns = theTargets.pointer(in: memory)
                        let weights = rows.half(
                            slice, piece, scratch: theHalf.pointer(in: memory))
                        if let byDimension {
                            pfc_bf16_products(byDimension[index], lanes, weights, piece.count, size, products)
                        }
                        samples.targetLanes(
                            microBatch: leaf, slice: position, tile: piece, lanes: lanes, into: columns)
                        pfc_bf16_cosines(products, inverseNorms, columns, lanes, piece.count, cosines)
                    }
                    pfc_bf16_probabilities(
                        &margin, cosines, logZ.weighted.pointer(Double.self) + index * g, g, lanes, piece.count,
                        probabilities)
                    let range = targets.range(microBatch: index)
                    leaves.append(
                        pfc_bf16_leaf(
                            probabilities: probabilities, features: packed[index], lanes: lanes,
                            targets: targets.base + range.lowerBound, target_count: range.count))
                }
                let gradient = theGradient.pointer(in: memory)
                if let rounding, let ids = slice.ids.baseAddress.map({ $0 + piece.lowerBound }) {
                    let first = tree.leaves(of: nodes[nodeIndex]).lowerBound
                    func round(_ node: ReductionTree.Node, _ values: UnsafeMutablePointer<Float>) {
                        rounding.round(values, of: node, ids: ids, count: piece.count, size: size)
                    }
                    TreeSum.add(
                        tree, nodes[nodeIndex], into: gradient,
                        stack: theStack.pointer(in: memory), length: piece.count * size,
                        round: round
                    ) { node, out in
                        if node.level > 0 { return false }
                        pfc_bf16_row_gradient([leaves[node.index - first]], 1, piece.count, size, out)
                        round(node, out)
                        return true
                    }
                } else {
                    pfc_bf16_row_gradient(leaves, leaves.count, piece.count, size, gradient)
                }
                consume(GradientTile(position: position, rows: piece, node: nodeIndex, values: gradient), thread)
            }
        }
    }
}
