public import Tensors

/// Times and sizes of sockets.
public struct TransportOptions: Sendable {
    /// Bytes that may wait for one peer, in our queue and in ZeroMQ's. A message on its own may exceed it.
    public var sendByteCapacity = 1 << 30
    /// Longest message that is accepted, in bytes; a longer frame closes the connection before it is read.
    public var messageByteCount = 1 << 30
    /// Bytes of large messages that may be unfinished at the same time, of all peers together.
    public var unfinishedByteCapacity = 8 << 30
    /// Where large tensors are received; all sockets of the process share it unless they are given their own.
    public var memory: TensorPool
    /// A client tells of a step reply that is still coming in whenever so many more bytes of it are there; never if nil.
    public var arrivalByteCount: Int?
    /// After how long without a fragment an unfinished message is given up.
    public var unfinishedDeadline = Duration.seconds(60)
    /// How often ZeroMQ asks whether the other side lives, and after how long of silence it closes the connection. It counts
    /// whole messages: the time-out must be longer than the longest message takes.
    public var keepAlive = Duration.seconds(5)
    public var keepAliveTimeout = Duration.seconds(60)
    /// How often a client repeats a hello that is not answered, and after how long it reports that.
    public var helloInterval = Duration.seconds(2)
    public var helloDeadline = Duration.seconds(10)
    /// Peers that a server remembers. When there are more, those silent for longest are forgotten.
    public var peerCapacity = 4096

    public init() { memory = ReceiveMemory.pool }
}

extension Duration {
    /// Whole milliseconds, rounded up, as ZeroMQ wants them.
    var milliseconds: Int32 {
        let (seconds, attoseconds) = components
        let milliseconds = seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return Int32(clamping: milliseconds)
    }
}
