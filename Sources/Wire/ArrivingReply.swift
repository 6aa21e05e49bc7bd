public import Cluster
public import StepProtocol
public import Tensors

/// A large step reply that is still coming in: what is there of it can be worked with.
public struct ArrivingReply: Sendable {
    public var id: StepID
    public var phase: StepPhase
    /// The tensors. They keep their memory; `received` brings the same ones.
    public var payload: [Tensor]
    /// Bytes of each tensor, from its first one, that are there and do not change any more.
    public var available: [Int]

    init(id: StepID, phase: StepPhase, payload: [Tensor], available: [Int]) {
        self.id = id
        self.phase = phase
        self.payload = payload
        self.available = available
    }

    /// A reply that has come in, if it has a payload.
    public init?(_ reply: StepReply<[Tensor]>) {
        guard case .done(let payload) = reply.outcome else { return nil }
        self.init(id: reply.id, phase: reply.phase, payload: payload, available: payload.map(\.byteCount))
    }
}

extension UnfinishedMessage {
    /// What is there, if it is a step reply with a payload.
    var arrivingReply: ArrivingReply? {
        guard case .stepReply(let reply) = message, case .done(let payload) = reply.outcome else { return nil }
        var left = receivedByteCount
        let available = payload.map { tensor in
            guard pieces.contains(where: { $0 === tensor.storage }) else { return tensor.byteCount }
            let bytes = min(left, tensor.byteCount)
            left -= bytes
            return bytes
        }
        return ArrivingReply(id: reply.id, phase: reply.phase, payload: payload, available: available)
    }
}
