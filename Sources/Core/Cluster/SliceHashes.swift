/// Hashes of everything that a shard holds, to compare runs.
public struct SliceHashes: Sendable, Equatable {
    /// The committed step of the state that was hashed, -1 before the first.
    public var step: Int
    /// Hash of each owned slice of class centers, hexadecimal, by number of the slice; at most 65536.
    public var slices: [Int: String]
    /// Hash of each owned dense slice, hexadecimal, by number; at most 65536.
    public var denseSlices: [Int: String]

    public init(step: Int, slices: [Int: String], denseSlices: [Int: String]) {
        self.step = step
        self.slices = slices
        self.denseSlices = denseSlices
    }
}
