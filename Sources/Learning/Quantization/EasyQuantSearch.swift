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
        /// Weight phases that were taken back because they lowered the layer's objective.
        var takenBack: Int
    }

    /// - Parameter range: of the layer's input, over everything that was calibrated.
    func run(_ range: ValueRange) -> Result {
        var current = weights.integers(range.symmetric(bits: bits), weights.initial)
        let before = layer.objective(of: current)
        var best = before
        var takenBack = 0
        if options.zeroPoint {
            var other = current
            other.input = range.asymmetric(bits: bits)
            let value = layer.objective(of: other)
            if value > best { (current, best) = (other, value) }
        }
        for _ in 0..<options.rounds {
            let start = best
            // Weights: a channel's results depend on its own scale only, so that all channels search at once.
            let chosen = weightPhase(current)
            let value = layer.objective(of: chosen)
            if value >= best { (current, best) = (chosen, value) } else { takenBack += 1 }
            (current, best) = inputPhase(current, best, range)
            if best - start < 1e-7 { break }
        }
        return Result(integers: current, before: before, after: best, takenBack: takenBack)
    }

    /// The grid: candidates of a factor from α to β.
    private var factors: [Float] {
        (0..<options.candidates).map { 0.5 + 1.5 * Float($0) / Float(max(1, options.candidates - 1)) }
    }

    private func weightPhase(_ current: IntegerLayer) -> IntegerLayer {
        let codes = layer.codes(current.input)
        let factors = factors
        let scores = Slots<[Double]>(count: factors.count + 1)
        blocks.forEach(factors.count + 1) { candidate, _ in
            let integers =
                candidate == 0
                ? current : weights.integers(current.input, weights.initial.map { $0 * factors[candidate - 1] })
            scores[candidate] = layer.channelScores(layer.results(integers, codes), options.objective)
        }
        var scales = current.weightScales
        var best = scores[0] ?? []
        for candidate in 1...factors.count {
            let own = scores[candidate] ?? []
            for channel in best.indices where own[channel] > best[channel] {
                best[channel] = own[channel]
                scales[channel] = weights.initial[channel] * factors[candidate - 1]
            }
        }
        return weights.integers(current.input, scales)
    }

    /// - Parameter value: the objective of `current`.
    private func inputPhase(
        _ current: IntegerLayer, _ value: Double, _ range: ValueRange
    ) -> (integers: IntegerLayer, value: Double) {
        var best = (integers: current, value: value)
        /// Takes the first of the best candidates, if it is better than what there is, and returns its index.
        func choose(_ candidates: [Encoding]) -> Int? {
            let scores = Slots<Double>(count: candidates.count)
            blocks.forEach(candidates.count) { index, _ in
                var integers = current
                integers.input = candidates[index]
                scores[index] = layer.objective(of: integers)
            }
            var found: Int?
            for index in candidates.indices {
                guard let score = scores[index], score > best.value else { continue }
                (best.integers.input, best.value, found) = (candidates[index], score, index)
            }
            return found
        }
        // The grid moves with a best value at its end, to a quarter of the range's scale or to four times as much.
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
                if let index = choose(candidates) {
                    found = true
                    edge = index == 0 || index == candidates.count - 1
                    if edge { center = index == 0 ? 0.5 : 2 }
                }
            }
            if !found || !edge { break }
        }
        guard options.zeroPoint, best.integers.input.zero != 0 || range.low < 0 else { return best }
        // Where negative values are few, it can pay not to represent all of them: other zeros at the scale found.
        let scale = best.integers.input.scale
        let zeros = (0...16).map { step in
            ValueRange.asymmetric(bits: bits, low: min(range.low, 0) * Float(step) / 16, scale: scale)
        }
        _ = choose(zeros)
        return best
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
