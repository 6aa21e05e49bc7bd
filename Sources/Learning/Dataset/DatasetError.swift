/// What is wrong with a data set, where, and what to do about it.
public struct DatasetError: Error, CustomStringConvertible, Sendable, Hashable {
    /// The kind of problem, for programs; `message` is for people.
    public enum Code: String, Sendable, Hashable, Codable {
        case missingFile
        case unreadableFile
        case malformedFile
        case truncatedRecord
        case malformedRecord
        case corruptImage
        /// A picture, but of a kind that is not read.
        case unreadFormat
        /// Files that contradict each other, or that cannot be meant.
        case unlikely
        case labelOutOfRange
        case invalidOption
        case missingFonts
        case damagedCache
        /// A glyph cache that is there was made from another recipe.
        case otherRecipe
        case unwritableFile
        case noSamples
        /// An embedding that has no direction.
        case badEmbedding
    }

    public var code: Code
    /// The file or folder that the problem is in, if any.
    public var path: String?
    /// The record or sample that the problem is in: the record's key in an InsightFace file, the sample's index otherwise.
    public var index: Int?
    public var message: String

    public init(_ code: Code, path: String? = nil, index: Int? = nil, _ message: String) {
        self.code = code
        self.path = path
        self.index = index
        self.message = message
    }

    public var description: String {
        var place = path ?? ""
        if let index { place += place.isEmpty ? "sample \(index)" : ", sample \(index)" }
        return place.isEmpty ? message : "\(place): \(message)"
    }

    /// The same error about sample `index`.
    func at(_ index: Int, path: String? = nil) -> DatasetError {
        var error = self
        error.index = index
        error.path = path ?? error.path
        return error
    }
}

/// What happens to a sample that cannot be used: a truncated record, a corrupt image, a label out of range.
public enum BadSamplePolicy: String, Sendable, Hashable, Codable, CaseIterable {
    /// The first bad sample ends the run with its error.
    case fatal
    /// Bad samples are reported and left out. What opening a data set finds is not counted as a sample; what decoding finds
    /// is replaced by another image of its class, so that neither the order nor the labels of a step change.
    case skip
}
