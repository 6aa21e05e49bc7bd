/// Where the softmax of a step is computed.
public enum Exchange: UInt8, Sendable, Hashable, Codable, CaseIterable {
    /// Workers pull the sampled rows, compute the softmax, and push row gradients.
    case rows = 0
    /// Workers send features; shards compute the partial softmax over their rows.
    case features = 1
}
