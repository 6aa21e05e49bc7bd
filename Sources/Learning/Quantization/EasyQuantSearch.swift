internal import Determinism
internal import Inference
internal import Tensors

/// EasyQuant's search for the scales of one layer (arXiv 2006.16669, section 3.2): the weights' scales for a fixed input scale, then
/// the input's scale for fixed weights, each the best of a grid and of the value that it has, until that gains nothing.
struct EasyQuantSearch: Sendable {
    let layer: SampledLayer
    let options: QuantizationOptions
    let bits: Int
    let blocks: ParallelBlocks
    private let weights: WeightScales

    init(_ layer: SampledLayer, bits: Int, options: QuantizationOptions, blocks: ParallelBlocks) {
        self.layer = layer
        self.bits = bits
        self.options = options
        self.blocks = blocks
        weights = WeightScales(layer.weighted, bits: bits)
    }

    /// What a search found.
    struct Result: Sendable {
        var integers: IntegerLayer
        /// The objective with every weight and value representable, and after the search.
        var before: Double
        var after: Double
        /// Phases that were carried out, and weight phases that were taken back because they lowered the layer's objective.
        var phases: Int
        var takenBack: Int
    }

    /// - Parameter range: of the layer's input, over everything that was calibrated.
    func run(_ range: ValueRange) -> Result {
        var scales = weights.initial
        var codes = weights.codes(scales)
        var input = range.symmetric(bits: bits)
        func score(_ input: Encoding) -> Double {
            layer.objective(
                layer.results(
                    IntegerLayer(input: input, weights: codes, weightScales: scales), layer.codes(input)))
        }
        let before = score(input)
        var best = before
        var (phases, takenBack) = (0, 0)
        if options.zeroPoint {
            let other = range.asymmetric(bits: bits)
            let value = score(other)
            if value > best { (input, best) = (other, value) }
        }
        for _ in 0..<options.rounds {
            let start = best
            // Weights: a channel's results depend on its own scale only, so that all channels search at once.
            let chosen = weightPhase(scales, input)
            let kept = (scales, codes)
            scales = chosen
            codes = weights.codes(scales)
            let value = score(input)
            phases += 1
            if value >= best {
                best = value
            } else {
                (scales, codes) = kept
                takenBack += 1
            }
            phases += 1
            let (found, gained) = inputPhase(input, range, best, scales, codes)
            (input, best) = (found, gained)
            if best - start < 1e-7 { break }
        }
        return Result(
            integers: IntegerLayer(input: input, weights: codes, weightScales: scales), before: before, after: best,
            phases: phases, takenBack: takenBack)
    }

    /// The grid: candidates of a factor from α to β.
    private var factors: [Float] {
        (0..<options.candidates).map { 0.5 + 1.5 * Float($0) / Float(max(1, options.candidates - 1)) }
    }

    private func weightPhase(_ current: [Float], _ input: Encoding) -> [Float] {
        let codes = layer.codes(input)
        let factors = factors
        let scores = Slots<[Double]>(count: factors.count + 1)
        @Sendable func scales(_ candidate: Int) -> [Float] {
            candidate == 0 ? current : weights.initial.map { $0 * factors[candidate - 1] }
        }
        blocks.forEach(factors.count + 1) { candidate, _ in
            let results = layer.results(weights.integers(input, scales(candidate)), codes)
            scores[candidate] = layer.channelScores(results, options.objective)
        }
        var result = current
        var best = scores[0] ?? []
        for candidate in 1...factors.count {
            let own = scores[candidate] ?? []
            for channel in best.indices where own[channel] > best[channel] {
                best[channel] = own[channel]
                result[channel] = weights.initial[channel] * factors[candidate - 1]
            }
        }
        return result
    }

    private func inputPhase(
        _ current: Encoding, _ range: ValueRange, _ value: Double, _ scales: [Float], _ codes: [Int8]
    ) -> (Encoding, Double) {
        /// The first of the best candidates, if it is better than what there is.
        func choose(_ candidates: [Encoding], _ best: (Encoding, Double)) -> (best: (Encoding, Double), index: Int?) {
            let scores = Slots<Double>(count: candidates.count)
            blocks.forEach(candidates.count) { index, _ in
                let integers = IntegerLayer(input: candidates[index], weights: codes, weightScales: scales)
                scores[index] = layer.objective(layer.results(integers, layer.codes(candidates[index])))
            }
            var (best, found) = (best, Int?.none)
            for index in candidates.indices {
                if let score = scores[index], score > best.1 { (best, found) = ((candidates[index], score), index) }
            }
            return (best, found)
        }
        var best = (current, value)
        // The grid moves with a best value at its end: three times the range and the third of it are enough for any layer.
        var center: Float = 1
        for _ in 0..<3 {
            let factors = factors.map { $0 * center }
            var (edge, found) = (false, false)
            for isShifted in options.zeroPoint ? [false, true] : [false] {
                let full = isShifted ? range.asymmetric(bits: bits) : range.symmetric(bits: bits)
                if isShifted, full.zero == 0 { continue }
                let candidates = factors.map { factor in
                    isShifted
                        ? ValueRange.asymmetric(bits: bits, low: min(range.low, 0), scale: full.scale * factor)
                        : Encoding(bits: bits, scale: full.scale * factor)
                }
                let (next, index) = choose(candidates, best)
                best = next
                if let index {
                    found = true
                    edge = index == 0 || index == candidates.count - 1
                    if edge { center = index == 0 ? 0.5 : 2 }
                }
            }
            if !found || !edge { break }
        }
        guard options.zeroPoint, best.0.zero != 0 || range.low < 0 else { return best }
        // Where negative values are few, it can pay not to represent all of them: other zeros at the scale found.
        let scale = best.0.scale
        let zeros = (0...16).map { step in
            ValueRange.asymmetric(bits: bits, low: min(range.low, 0) * Float(step) / 16, scale: scale)
        }
        return choose(zeros, best).best
    }
}

/// Results of blocks that run at the same time, each written once by its own block.
final class Slots<Element: Sendable>: @unchecked Sendable {
    private let storage: UnsafeMutableBufferPointer<Element?>

    init(count: Int) {
        storage = .allocate(capacity: count)
        storage.initialize(repeating: nil)
    }

    deinit {
        storage.deinitialize()
        storage.deallocate()
    }

    subscript(index: Int) -> Element? {
        get { storage[index] }
        set { storage[index] = newValue }
    }
}
