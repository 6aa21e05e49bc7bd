/// One slice of the class centers: the JSON of `coordinator slices --json` is a list of these.
public struct SliceStatus: Codable, Sendable {
    public var slice: Int
    /// First and one past the last of its classes.
    public var classes: [Int]
    /// The shard that owns it.
    public var owner: String

    public init(slice: Int, classes: [Int], owner: String) {
        self.slice = slice
        self.classes = classes
        self.owner = owner
    }
}
