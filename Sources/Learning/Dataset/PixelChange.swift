internal import Determinism

/// A random change of a training image's pixels, made with a probability.
///
/// Whether and how an image is changed is a function of (seed, step, position in the global batch) and of the kind of change: each kind
/// draws numbers of its own.
public struct PixelChange: Sendable, Hashable, Codable {
    /// What is changed. Where it says nothing else, the numbers are those of CVLFace's `BasicAugmenter`, which are AdaFace's.
    public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// Black outside a random part of 20 % to 100 % of the image.
        case crop
        /// Such a part, enlarged to the whole image: torchvision's `RandomResizedCrop`.
        case resizedCrop = "resized_crop"
        /// Made smaller, to 20 % to 100 % of its side, and as large as before.
        case lowResolution = "low_resolution"
        /// Brightness, contrast and saturation, in random order, each by a factor of 0.5 to 1.5.
        case photometric
        /// Gray. InsightFace's list.
        case gray
        /// A gray rectangle of 2 % to 33 % of the image: torchvision's `RandomErasing` (Zhong et al., arXiv 1708.04896).
        case erase

        /// The probability that it is used with, unless another is asked for.
        public var usualProbability: Double {
            switch self {
            case .crop, .resizedCrop, .lowResolution, .photometric: 0.2
            case .gray, .erase: 0.1
            }
        }
    }

    public var kind: Kind
    /// 0…1.
    public var probability: Double

    /// - Parameter probability: nil for the usual one.
    public init(_ kind: Kind, probability: Double? = nil) {
        self.kind = kind
        self.probability = probability ?? kind.usualProbability
    }

    /// How one image is changed.
    public enum Choice: Sendable, Hashable {
        case crop(Rectangle)
        case resizedCrop(Rectangle)
        /// Through an image of this height and width; pixels are taken, not averaged or interpolated, on the way down and up.
        case lowResolution(height: Int, width: Int, takesDown: Bool, takesUp: Bool)
        case photometric([Adjustment])
        case gray
        case erase(Rectangle)
    }

    /// Part of an image, in pixels.
    public struct Rectangle: Sendable, Hashable {
        public var top: Int
        public var left: Int
        public var height: Int
        public var width: Int

        public init(top: Int, left: Int, height: Int, width: Int) {
            (self.top, self.left, self.height, self.width) = (top, left, height, width)
        }
    }

    /// A change of colour by a factor: 1 changes nothing, 0 gives black, the mean gray, or gray.
    public enum Adjustment: Sendable, Hashable {
        case brightness(Double)
        case contrast(Double)
        case saturation(Double)
    }

    /// How the image at `position` of the global batch of `step` is changed; nil if it is not.
    public func choice(shape: ImageShape, seed: UInt64, step: Int, position: Int) -> Choice? {
        let number = Kind.allCases.firstIndex(of: kind) ?? 0
        var random = KeyedRandom(
            seed: seed, purpose: .augmentation, UInt64(step), UInt64(position), UInt64(number))
        guard random.unit() < probability else { return nil }
        switch kind {
        case .crop: return .crop(random.part(of: shape, share: 0.2...1, ratio: 4.0 / 3))
        case .resizedCrop: return .resizedCrop(random.part(of: shape, share: 0.2...1, ratio: 4.0 / 3))
        case .lowResolution:
            let side = random.number(in: 0.2...1)
            return .lowResolution(
                height: max(1, Int(side * Double(shape.height))), width: max(1, Int(side * Double(shape.width))),
                takesDown: random.below(2) == 0, takesUp: random.below(2) == 0)
        case .photometric:
            var adjustments: [Adjustment] = [
                .brightness(random.number(in: 0.5...1.5)), .contrast(random.number(in: 0.5...1.5)),
                .saturation(random.number(in: 0.5...1.5)),
            ]
            for last in [2, 1] { adjustments.swapAt(last, Int(random.below(UInt64(last + 1)))) }
            return .photometric(adjustments)
        case .gray: return .gray
        case .erase: return .erase(random.part(of: shape, share: 0.02...0.33, ratio: 3.3))
        }
    }
}

extension KeyedRandom {
    fileprivate mutating func number(in range: ClosedRange<Double>) -> Double {
        range.lowerBound + unit() * (range.upperBound - range.lowerBound)
    }

    /// A part of an image: `share` of its pixels, one side up to `ratio` times the other. The ratio is drawn evenly, not its logarithm:
    /// nothing is computed whose last bit depends on the processor.
    fileprivate mutating func part(of shape: ImageShape, share: ClosedRange<Double>, ratio: Double)
        -> PixelChange.Rectangle
    {
        // Some do not fit; after so many the whole image does.
        for _ in 0..<10 {
            let area = Double(shape.height * shape.width) * number(in: share)
            var sides = number(in: 1...ratio)
            if below(2) == 0 { sides = 1 / sides }
            let (height, width) = (
                Int((area * sides).squareRoot().rounded()), Int((area / sides).squareRoot().rounded())
            )
            guard (1...shape.height).contains(height), (1...shape.width).contains(width) else { continue }
            return PixelChange.Rectangle(
                top: Int(below(UInt64(shape.height - height + 1))), left: Int(below(UInt64(shape.width - width + 1))),
                height: height, width: width)
        }
        return PixelChange.Rectangle(top: 0, left: 0, height: shape.height, width: shape.width)
    }
}
