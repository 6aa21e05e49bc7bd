public import Dataset

/// Two images and whether they show the same identity.
public struct VerificationPair: Sendable, Hashable, Codable {
    /// Index of the first image.
    public var first: Int
    /// Index of the second image.
    public var second: Int
    public var same: Bool
    /// Which of the folds of the cross-validation the pair belongs to, from 0.
    public var fold: Int

    public init(first: Int, second: Int, same: Bool, fold: Int) {
        self.first = first
        self.second = second
        self.same = same
        self.fold = fold
    }
}

/// Images and pairs of them: what a face verification benchmark is.
public struct VerificationSet: Sendable {
    public var name: String
    public var images: any ImageSource
    public var pairs: [VerificationPair]
    /// Whether the embedding of an image is the sum over it and its mirror image: for faces, not for glyphs.
    public var flips: Bool
    /// What was left out when the set was opened.
    public var problems: [DatasetError]
    /// The file that it was read from, if any.
    public var path: String?

    public init(
        name: String, images: any ImageSource, pairs: [VerificationPair], flips: Bool, problems: [DatasetError] = [],
        path: String? = nil
    ) {
        self.name = name
        self.images = images
        self.pairs = pairs
        self.flips = flips
        self.problems = problems
        self.path = path
    }

    /// Number of folds: one more than the largest.
    public var foldCount: Int { (pairs.map(\.fold).max() ?? -1) + 1 }

    /// The fold of each of `count` pairs when they are cut into at most 10 contiguous folds whose sizes differ by at most
    /// one, the larger ones first.
    static func contiguousFolds(_ count: Int) -> [Int] {
        let folds = min(10, max(count, 1))
        let (size, larger) = count.quotientAndRemainder(dividingBy: folds)
        return (0..<folds).flatMap { [Int](repeating: $0, count: size + ($0 < larger ? 1 : 0)) }
    }
}
