public import Cluster

/// What a worker says of itself with its heartbeats: whether it does something, and for whom it waits.
public struct WorkerActivity: Sendable, Hashable, Codable {
    /// The attempt that it computes, nil if none.
    public var id: StepID?
    /// Whether a computation is under way: then it is slow, and not stuck.
    public var computes: Bool
    /// Grows whenever something goes on: an answer, a result, a micro-batch, bytes of a large message.
    public var progress: Int
    /// Shards, by number, that have not answered it, or, while it takes no part in a step, that it does not reach.
    public var waitsFor: [Int]

    public init(id: StepID? = nil, computes: Bool = false, progress: Int = 0, waitsFor: [Int] = []) {
        self.id = id
        self.computes = computes
        self.progress = progress
        self.waitsFor = waitsFor
    }
}
