public import Tensors

/// Times and sizes of sockets.
public struct TransportOptions: Sendable {
    /// Bytes that may wait for one peer, in our queue and in ZeroMQ's. A message on its own may exceed it.
    public var sendByteCapacity = 1 << 30
    /// Longest message that is accepted, in bytes.
    public var messageByteCount = 1 << 30
    /// Longest frame that a server accepts, in bytes; a longer one closes the connection before it is read. Longer tensors come in
    /// fragments.
    public var frameByteCount = 64 << 20
    /// Bytes of large messages that may be unfinished at the same time, of all members together.
    public var unfinishedByteCapacity = 8 << 30
    /// Bytes a second that a large message has to bring at least, over every half of `unfinishedDeadline`.
    public var unfinishedByteRate = 16 << 10
    /// Bytes of answers that may wait for all operators and readers together.
    public var observerAnswerByteCapacity = 256 << 20
    /// Questions of operators and readers that may be open together; each of them has one at most.
    public var openQuestions = 64
    /// Bytes of open questions above which no more are taken.
    public var openQuestionByteCapacity = 64 << 20
    /// After how long an open question no longer keeps its peer from asking another one.
    public var questionDeadline = Duration.seconds(60)
    /// Where large tensors are received; all sockets of the process share it unless they are given their own.
    public var memory: TensorPool
    /// A client tells of a step reply that is still coming in whenever so many more bytes of it are there; never if nil.
    public var arrivalByteCount: Int?
    /// After how long without a fragment an unfinished message is given up.
    public var unfinishedDeadline = Duration.seconds(60)
    /// When TCP asks whether the other side of a silent connection lives, how often again, and how often in vain: then it ends the
    /// connection.
    ///
    /// ZeroMQ's own heartbeats stay off: 4.3.4 ends the process if one is due on a connection that broke while its input was stopped.
    public var keepAlive = (idle: Duration.seconds(15), interval: Duration.seconds(5), count: 6)
    /// After how long TCP ends a connection whose other side does not acknowledge, or does not take, what it is sent.
    public var unacknowledged = Duration.seconds(60)
    /// How long a peer may be connected without having been welcomed, or after it was refused.
    public var strangerPatience = Duration.seconds(30)
    /// How long an operator or reader may leave an answer unread.
    public var observerPatience = Duration.seconds(20)
    /// Connections that a server accepts; by default as many as the process has descriptors for, less a quarter.
    public var connectionCapacity: Int?
    /// How often a client repeats a hello that is not answered, and after how long it reports that.
    public var helloInterval = Duration.seconds(2)
    public var helloDeadline = Duration.seconds(10)
    /// Of a client with more than one server: after how long without an answer to a hello it tries the next, and how long it waits before
    /// that when one has said that it only stands by.
    public var serverPatience = Duration.seconds(3)
    public var standbyPause = Duration.milliseconds(300)
    /// Peers that a server remembers. When there are more, those silent for longest are forgotten.
    public var peerCapacity = 4096

    public init() { memory = ReceiveMemory.pool }
}

extension Duration {
    /// Whole seconds, rounded up, one at least.
    var wholeSeconds: Int32 { max(1, (milliseconds + 999) / 1000) }

    /// Whole milliseconds, rounded up, as ZeroMQ wants them.
    var milliseconds: Int32 {
        let (seconds, attoseconds) = components
        let milliseconds = seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return Int32(clamping: milliseconds)
    }
}
