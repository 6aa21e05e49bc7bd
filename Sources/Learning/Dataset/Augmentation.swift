internal import Determinism

/// Random changes to training images, each a function of (seed, step, position in the global batch).
public struct Augmentation: Sendable, Hashable, Codable {
    /// Mirror left to right with probability ½. For faces; never for glyphs.
    public var flip: Bool
    /// Largest shift along each axis in pixels; the border is repeated. 0 for none.
    public var maximumShift: Int
    /// Changes of the pixels, made in the order of their kinds, before the image is shifted and mirrored.
    public var changes: [PixelChange]

    /// No augmentation unless asked for.
    public init(flip: Bool = false, maximumShift: Int = 0, changes: [PixelChange] = []) {
        self.flip = flip
        self.maximumShift = maximumShift
        self.changes = PixelChange.Kind.allCases.flatMap { kind in changes.filter { $0.kind == kind } }
    }

    /// What happens to one image.
    public struct Choice: Sendable, Hashable {
        public var flip = false
        /// Pixels down.
        public var shiftY = 0
        /// Pixels to the right.
        public var shiftX = 0

        public init() {}
    }

    /// Makes the changes of the pixels of the image at `position` of the global batch of `step`, in place.
    ///
    /// - Throws: `DatasetError` if there is no memory.
    func change(
        _ pixels: UnsafeMutableBufferPointer<UInt8>, shape: ImageShape, seed: UInt64, step: Int, position: Int
    ) throws(DatasetError) {
        for change in changes {
            guard let choice = change.choice(shape: shape, seed: seed, step: step, position: position) else { continue }
            try choice.apply(to: pixels, shape: shape)
        }
    }

    /// The shift and mirroring of the image at `position` of the global batch of `step`.
    public func choice(seed: UInt64, step: Int, position: Int) -> Choice {
        var choice = Choice()
        guard flip || maximumShift > 0 else { return choice }
        var random = KeyedRandom(seed: seed, purpose: .augmentation, UInt64(step), UInt64(position))
        choice.flip = random.next() >> 63 == 1 && flip
        if maximumShift > 0 {
            choice.shiftY = Int(random.below(UInt64(2 * maximumShift + 1))) - maximumShift
            choice.shiftX = Int(random.below(UInt64(2 * maximumShift + 1))) - maximumShift
        }
        return choice
    }
}
