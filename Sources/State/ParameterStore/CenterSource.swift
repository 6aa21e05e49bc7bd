/// Where the rows of a table come from.
public enum CenterSource: Sendable, Hashable {
    /// Normal numbers of mean 0 and deviation 0.01, a function of (seed, class id); what the optimiser keeps zero.
    case random(seed: UInt64)
    /// A safetensors file with `centers` [C, D] and, of an optimiser that keeps a single plane, that plane [C, D].
    case safeTensors(path: String)
    /// Zeros, to be filled piece by piece (`CenterTable.withChunk`).
    case zeros
}
