/// Why something was refused. Nothing of the refused message was applied.
public struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: RefusalCode
    public var message: String

    public init(_ code: RefusalCode, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(message) (\(code))" }
}

/// Why a message was refused, with the number it has on the wire.
public enum RefusalCode: UInt16, Sendable, Hashable, Codable, CaseIterable {
    case malformed = 1
    case protocolVersion = 2
    case clusterID = 3
    case embeddingSize = 4
    case classCount = 5
    case configuration = 6
    case labelOutOfRange = 7
    case notFinite = 8
    case mapVersion = 9
    case incarnation = 10
    case tooLarge = 11
    case notWelcomed = 12
    case stateLost = 13
    case instructionSet = 14
    case unknownRequest = 15
    case internalError = 16
    /// A shard has not answered for too long.
    case unresponsive = 17
    /// A shard that was drained owns nothing any more and may go.
    case drained = 18
    /// The key of the peer does not allow it.
    case forbidden = 19
    /// The peer, or others of its kind, have asked for more than is answered at a time.
    case busy = 20
    /// Another job has taken over, or the cluster has gone back behind what the job holds: its ranks are done.
    case superseded = 21
    /// What a worker says of its job contradicts the other ranks, or the run.
    case jobDisagrees = 22
    /// The cluster cannot go back to the step that a job begins after.
    case stepGone = 23
    /// In `step_failed`: the trainer throws the attempt away.
    case abandoned = 24
}
