internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// Products in single precision by fused multiply-adds, of rows in any format: see `fma.h`.
extension SoftmaxBlocks {
    /// Rows of a tile of the forward pass, as many as stay in the second cache with what is made of them. Part of the
    /// arithmetic: another size gives other bits.
    private static let tileRows = 96
    /// Rows whose gradient is computed at a time, a multiple of a panel. No part of the arithmetic.
    private static let gradientRows = 48
    /// Pieces of so many rows that a thread takes at once: it knows which rows come next. No part of the arithmetic.
    private static let gradientPieces = 8

    private static let panel = Int(pfc_fma_panel)

    /// Rows or dimensions, rounded up to whole panels.
    private static func padded(_ count: Int) -> Int { (count + panel - 1) / panel * panel }

    func forwardFMA(
        samples: SampleSet, rows: SampledRows, positions: Range<Int>, slots: [PartialSlot], kept: KeptCosines?
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.tileRows)
        let margin = samples.margin
        let directions = Directions(samples, order: .dimensions, pool: &packPool, parallel: parallel)
        let lanes = directions.lanes
        let count = samples.microBatches.count
        // Rows are packed once for all micro-batches of a block: more blocks than a few per thread are of no use.
        let parts = positions.count >= 4 * parallel.threads ? min(count, 1) : count
        let most = parts == 0 ? 0 : (count + parts - 1) / parts
        var layout = ScratchLayout()
        let theRows = layout.piece(tile * Self.padded(size), of: Float.self)
        let theCosines = layout.piece(tile * lanes, of: Float.self)
        let theExponentials = layout.piece(tile * lanes, of: Float.self)
        let theNumerators = layout.piece(most * lanes * Self.padded(size), of: Float.self)
        let theMaxima = layout.piece(most * lanes, of: Float.self)
        let theSums = layout.piece(most * lanes, of: Float.self)
        let theTile = layout.piece(4 * lanes, of: Float.self)
        let theTargets = layout.piece(lanes, of: Int32.self)
        let scratch = threadScratch(layout)
        parallel.forEach(positions.count * parts) { block, thread in
            let (offset, part) = block.quotientAndRemainder(dividingBy: parts)
            let position = positions.lowerBound + offset
            let (slice, slot) = (rows.slices[position], slots[position])
            let indices = count * part / parts..<count * (part + 1) / parts
            var margin = margin
            let memory = scratch[thread]
            let packed = theRows.pointer(in: memory)
            let (scratchCosines, e) = (theCosines.pointer(in: memory), theExponentials.pointer(in: memory))
            let numerators = theNumerators.pointer(in: memory)
            let (maxima, sums) = (theMaxima.pointer(in: memory), theSums.pointer(in: memory))
            let tileMaximum = theTile.pointer(in: memory)
            let (tileSum, old, new) = (tileMaximum + lanes, tileMaximum + 2 * lanes, tileMaximum + 3 * lanes)
            let targets = theTargets.pointer(in: memory)
            maxima.update(repeating: -.infinity, count: indices.count * lanes)
            sums.update(repeating: 0, count: indices.count * lanes)
            numerators.update(repeating: 0, count: indices.count * lanes * Self.padded(size))
            for piece in SampledRows.pieces(slice.ids.count, of: tile) {
                let whole = Self.padded(piece.count)
                rows.pack(slice, piece, padded: whole, into: packed)
                let following = piece.upperBound..<min(piece.upperBound + tile, slice.ids.count)
                let pieces = SampledRows.pieces(following.count, of: Self.panel).map { part in
                    rows.memory(
                        slice, following.lowerBound + part.lowerBound..<following.lowerBound + part.upperBound)
                }
                var ahead = Ahead(pieces, parts: indices.count)
                for index in indices {
                    let microBatch = samples.microBatches.lowerBound + index
                    let at = index - indices.lowerBound
                    let (maximum, sum) = (maxima + at * lanes, sums + at * lanes)
                    let keptCosines = kept?.products(microBatch: microBatch, row: slice.offset + piece.lowerBound)
                    // With rows that are padding there are more of them than are kept.
                    let cosines = whole == piece.count ? keptCosines ?? scratchCosines : scratchCosines
                    pfc_fma_cosines(directions[index], lanes, packed, whole, size, cosines)
                    samples.targetLanes(
                        microBatch: microBatch, slice: position, tile: piece, lanes: lanes, into: targets)
                    pfc_fma_softmax_tile(&margin, cosines, targets, lanes, piece.count, tileMaximum, tileSum, e)
                    if let keptCosines, cosines != keptCosines {
                        keptCosines.update(from: cosines, count: piece.count * lanes)
                    }
                    pfc_fma_add_tile(lanes, tileMaximum, tileSum, maximum, sum, old, new)
                    ahead.withNextPart { ahead in
                        pfc_fma_numerator(
                            e, lanes, packed, piece.count, whole, size, old, new, ahead,
                            numerators + at * lanes * Self.padded(size))
                    }
                }
            }
            for index in indices {
                let (at, first) = (index - indices.lowerBound, index * g)
                (slot.maximum + first).update(from: maxima + at * lanes, count: g)
                (slot.sum + first).update(from: sums + at * lanes, count: g)
                pfc_fma_unpack(numerators + at * lanes * Self.padded(size), g, size, slot.numerator + first * size)
            }
        }
    }

    func gradientFMA(
        samples: SampleSet, rows: SampledRows, logZ: Normalizers, tree: ReductionTree, nodes: [ReductionTree.Node],
        kept: KeptCosines?, rounding: GradientRounding?, upcoming: Upcoming?,
        consume: @Sendable (_ tile: GradientTile, _ thread: Int) -> Void
    ) {
        let (g, size, tile) = (samples.microBatchSize, samples.embeddingSize, Self.gradientRows)
        let margin = samples.margin
        let directions = Directions(samples, order: .samples, pool: &packPool, parallel: parallel)
        let lanes = directions.lanes
        let isKept = samples.microBatches.map { kept?.has($0, of: samples) ?? false }
        // The others are computed again.
        let byDimension =
            isKept.contains(false)
            ? Directions(samples, order: .dimensions, pool: &secondPackPool, parallel: parallel) : nil
        let units = rows.slices.indices.flatMap { position in
            SampledRows.pieces(rows.slices[position].ids.count, of: tile * Self.gradientPieces).map { (position, $0) }
        }
        // Nodes that are rounded are summed one by one.
        let levels = rounding == nil ? 0 : nodes.map(\.level).max() ?? 0
        let leafLimit = nodes.map { tree.leaves(of: $0).count }.max() ?? 0
        var layout = ScratchLayout()
        let theCoefficients = layout.piece(leafLimit * tile * lanes, of: Float.self)
        let theGradient = layout.piece(tile * size, of: Float.self)
        let theRows = layout.piece(byDimension == nil ? 0 : tile * Self.padded(size), of: Float.self)
        let theCosines = layout.piece(byDimension == nil ? 0 : tile * lanes, of: Float.self)
        let theTargets = layout.piece(lanes, of: Int32.self)
        let theStack = layout.piece(levels * tile * size, of: Float.self)
        let scratch = threadScratch(layout)
        parallel.forEachFromLast(units.count * nodes.count) { block, thread in
            let (unit, nodeIndex) = block.quotientAndRemainder(dividingBy: nodes.count)
            let (position, range) = units[unit]
            let slice = rows.slices[position]
            let node = nodes[nodeIndex]
            var margin = margin
            let memory = scratch[thread]
            let (gradient, packed) = (theGradient.pointer(in: memory), theRows.pointer(in: memory))
            let targets = theTargets.pointer(in: memory)
            for start in stride(from: range.lowerBound, to: range.upperBound, by: tile) {
                let piece = start..<min(start + tile, range.upperBound)
                let whole = Self.padded(piece.count)
                var isPacked = false
                var leaves: [pfc_fma_leaf] = []
                for leaf in tree.leaves(of: node) {
                    let index = leaf - samples.microBatches.lowerBound
                    let coefficients = theCoefficients.pointer(in: memory) + leaves.count * tile * lanes
                    samples.targetLanes(microBatch: leaf, slice: position, tile: piece, lanes: lanes, into: targets)
                    var cosines = theCosines.pointer(in: memory)
                    if let kept, isKept[index] {
                        cosines = kept.products(microBatch: leaf, row: slice.offset + piece.lowerBound)
                    } else if let byDimension {
                        if !isPacked { rows.pack(slice, piece, padded: whole, into: packed) }
                        isPacked = true
                        pfc_fma_cosines(byDimension[index], lanes, packed, whole, size, cosines)
                    }
                    pfc_fma_coefficients(
                        &margin, cosines, targets, logZ.weighted.pointer(Double.self) + index * g,
                        logZ.logZ.pointer(Double.self) + index * g,
                        samples.targetLogit.pointer(Float.self) + index * g,
                        samples.targetDerivative.pointer(Float.self) + index * g, g, lanes, piece.count, whole,
                        coefficients)
                    leaves.append(pfc_fma_leaf(coefficients: coefficients, directions: directions[index]))
                }
                if let rounding, let ids = slice.ids.baseAddress.map({ $0 + piece.lowerBound }) {
                    let first = tree.leaves(of: node).lowerBound
                    func round(_ node: ReductionTree.Node, _ values: UnsafeMutablePointer<Float>) {
                        rounding.round(values, of: node, ids: ids, count: piece.count, size: size)
                    }
                    TreeSum.add(
                        tree, node, into: gradient, stack: theStack.pointer(in: memory), length: piece.count * size,
                        round: round
                    ) { node, out in
                        if node.level > 0 { return false }
                        pfc_fma_row_gradient([leaves[node.index - first]], 1, g, lanes, whole, size, nil, out)
                        round(node, out)
                        return true
                    }
                } else {
                    let following = piece.upperBound..<min(piece.upperBound + tile, range.upperBound)
                    var ahead = Ahead(upcoming?(position, following) ?? [], parts: 1)
                    ahead.withNextPart { ahead in
                        pfc_fma_row_gradient(leaves, leaves.count, g, lanes, whole, size, ahead, gradient)
                    }
                }
                consume(GradientTile(position: position, rows: piece, node: nodeIndex, values: gradient), thread)
            }
        }
    }
}
