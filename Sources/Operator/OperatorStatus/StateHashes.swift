/// Hashes of everything the shards hold: the JSON of `coordinator hashes --json`.
///
/// Equal hashes at equal steps mean the same bits, whatever the number of shards.
public struct StateHashes: Codable, Sendable, Equatable {
    /// The committed step of the state.
    public var step: Int
    /// Hash of each slice of class centers with what the optimiser keeps, by number.
    public var slices: [Int: String]
    /// Hash of each dense slice (backbone parameters, statistics and what the optimiser keeps), by number.
    public var denseSlices: [Int: String]

    public init(step: Int, slices: [Int: String] = [:], denseSlices: [Int: String] = [:]) {
        self.step = step
        self.slices = slices
        self.denseSlices = denseSlices
    }
}
