internal import Determinism

/// The order of samples: which sample stands at which position of the global batch of a step.
///
/// A function of (seed, step) alone: not of the number of workers, of what ran before, or of time. Every epoch is a fresh
/// keyed permutation of the samples; any step is found in O(batch).
public struct DataOrder: Sendable {
    /// What happens to the samples of an epoch that do not fill a batch.
    public enum Remainder: String, Sendable, Codable, CaseIterable {
        /// They are left out of the epoch: an epoch has ⌊samples / batch⌋ steps.
        case drop
        /// The batch is filled from the next epoch, so every sample is seen once per epoch.
        case carry
    }

    public let seed: UInt64
    public let sampleCount: Int
    public let batchSize: Int
    public let remainder: Remainder
    /// Which samples take part; nil for all. One that does not is replaced by the next one in the epoch's order, cyclically,
    /// that does: the others stay where they are.
    public var takesPart: (@Sendable (Int) -> Bool)?

    /// An order of `sampleCount` samples in global batches of `batchSize`.
    ///
    /// - Throws: `DatasetError` if there is no sample, no batch, or `drop` leaves no batch at all.
    public init(
        seed: UInt64, sampleCount: Int, batchSize: Int, remainder: Remainder = .drop
    ) throws(DatasetError) {
        guard sampleCount > 0 else { throw DatasetError(.noSamples, "there are no samples to order") }
        guard batchSize > 0 else {
            throw DatasetError(.invalidOption, "a global batch of \(batchSize) samples is impossible")
        }
        guard remainder == .carry || sampleCount >= batchSize else {
            throw DatasetError(
                .invalidOption,
                "a global batch of \(batchSize) is larger than the data set of \(sampleCount) samples: use a smaller batch "
                    + "or let batches carry over epochs")
        }
        self.seed = seed
        self.sampleCount = sampleCount
        self.batchSize = batchSize
        self.remainder = remainder
    }

    /// Steps in an epoch; with `carry` the epoch's end may fall inside the last of them.
    public var stepsPerEpoch: Int {
        remainder == .drop ? sampleCount / batchSize : (sampleCount + batchSize - 1) / batchSize
    }

    /// The epoch that the first sample of `step` belongs to.
    public func epoch(of step: Int) -> Int {
        remainder == .drop ? step / stepsPerEpoch : step * batchSize / sampleCount
    }

    /// The samples at `positions` of the global batch of `step` (all of them unless given), in order.
    public func indices(step: Int, positions: Range<Int>? = nil) -> [Int] {
        let positions = positions ?? 0..<batchSize
        precondition(step >= 0, "steps are numbered from 0, not \(step)")
        precondition(
            positions.isEmpty || (positions.lowerBound >= 0 && positions.upperBound <= batchSize),
            "positions \(positions) of a batch of \(batchSize)")
        if positions.isEmpty { return [] }
        let start = remainder == .drop ? step % stepsPerEpoch * batchSize : step * batchSize
        let firstEpoch = remainder == .drop ? epoch(of: step) : 0
        var permutation: IndexPermutation?
        var permutationEpoch = -1
        return positions.map { position in
            let (epochs, offset) = (start + position).quotientAndRemainder(dividingBy: sampleCount)
            let epoch = firstEpoch + epochs
            if epoch != permutationEpoch {
                permutation = IndexPermutation(count: sampleCount, seed: seed, purpose: .dataOrder, word: UInt64(epoch))
                permutationEpoch = epoch
            }
            return permutation.map { sample(at: offset, of: $0) } ?? 0
        }
    }

    /// What takes the place of the sample at `position` of the global batch of `step`: the next one in the epoch's order,
    /// cyclically, that takes part and `isUsable`; nil if there is none among the next `limit`.
    func replacement(step: Int, position: Int, limit: Int, where isUsable: (Int) -> Bool) -> Int? {
        let start = remainder == .drop ? step % stepsPerEpoch * batchSize : step * batchSize
        let (epochs, offset) = (start + position).quotientAndRemainder(dividingBy: sampleCount)
        let epoch = (remainder == .drop ? self.epoch(of: step) : 0) + epochs
        let permutation = IndexPermutation(count: sampleCount, seed: seed, purpose: .dataOrder, word: UInt64(epoch))
        for distance in 1..<max(1, min(sampleCount, limit + 1)) {
            let next = permutation[(offset + distance) % sampleCount]
            if takesPart?(next) ?? true, isUsable(next) { return next }
        }
        return nil
    }

    private func sample(at offset: Int, of permutation: IndexPermutation) -> Int {
        let planned = permutation[offset]
        guard let takesPart, !takesPart(planned) else { return planned }
        for distance in 1..<max(sampleCount, 1) {
            let next = permutation[(offset + distance) % sampleCount]
            if takesPart(next) { return next }
        }
        return planned
    }
}
