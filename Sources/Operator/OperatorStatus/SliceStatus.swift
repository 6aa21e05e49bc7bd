/// One slice of the class centers: the JSON of `coordinator slices --json` is a list of these.
public struct SliceStatus: Codable, Sendable {
    public var slice: Int
    /// First and one past the last of each range of its classes: one range for the classes that the run began with, one
    /// for each addition.
    public var classes: [[Int]]
    /// The shard that owns it.
    public var owner: String
    /// The shard that it is on its way to, nil if it stays.
    public var movesTo: String?

    public init(slice: Int, classes: [[Int]], owner: String, movesTo: String? = nil) {
        self.slice = slice
        self.classes = classes
        self.owner = owner
        self.movesTo = movesTo
    }
}
