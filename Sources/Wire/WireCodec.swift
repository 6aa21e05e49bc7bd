internal import CWire
public import Tensors

/// A message as frames: the header, then the tensors, which are not copied.
public struct EncodedMessage: Sendable {
    /// The packed `Header` of wire.proto, u8.
    public let header: Tensor
    public let tensors: [Tensor]
    /// Numbers the message if tensors of it are sent in fragments; else 0.
    let series: UInt64

    /// All frames together, in bytes.
    public var byteCount: Int { tensors.reduce(header.byteCount) { $0 + $1.byteCount } }
    /// The frames in the order in which they are sent.
    public var frames: [Tensor] { [header] + tensors }
}

/// Messages to frames and back. Knows no sockets.
public enum WireCodec {
    /// Packs a message, to be sent in one piece; `request` numbers it.
    ///
    /// - Throws: `WireError` when a field is outside of what a receiver would accept.
    public static func encode(_ message: WireMessage, request: UInt64) throws(WireError) -> EncodedMessage {
        try encode(message, request: request, series: 0)
    }

    /// Packs a message; `series` is the number of its fragments, if it is to have any.
    package static func encode(
        _ message: WireMessage, request: UInt64, series: UInt64
    ) throws(WireError) -> EncodedMessage {
        do {
            return try Arena.lend { arena in
                let tensors = try Encoder(arena: arena).tensors(of: message)
                let isLarge = tensors.contains { $0.byteCount > WireLimits.fragmentByteCount }
                let series = isLarge ? series : 0
                let header = try arena.make(partialfc__header__init) { header in
                    header.request = request
                    try Encoder(arena: arena).encode(message, into: &header)
                    try Encoder(arena: arena).describe(tensors, series: series, in: &header)
                }
                let size = partialfc__header__get_packed_size(header)
                let limit: Int =
                    switch message {
                    case .plan, .operatorReply, .sliceHashes, .classes: WireLimits.client.headerByteCount
                    default: WireLimits.server.headerByteCount
                    }
                guard size <= limit else {
                    throw WireError(
                        .tooLarge, "the header of \(message.name) has \(size) bytes; at most \(limit) are allowed")
                }
                let packed = Tensor(uninitialized: UInt8.self, shape: [size])
                packed.withMutablePointer(UInt8.self) { _ = partialfc__header__pack(header, $0.baseAddress) }
                return EncodedMessage(header: packed, tensors: tensors, series: series)
            }
        } catch {
            throw wire(error)
        }
    }

    /// Checks and unpacks a message that came in one piece.
    ///
    /// A tensor is a view of its frame when the frame is long and its address suits the element type, else an aligned copy.
    ///
    /// - Parameters:
    ///   - header: the first frame; not used after the call.
    ///   - frames: the frames that follow.
    /// - Throws: `WireError`, with the request number if that much could be read.
    public static func decode(
        header bytes: UnsafeRawBufferPointer, frames: [TensorStorage], limits: WireLimits
    ) throws(WireError) -> (request: UInt64, message: WireMessage) {
        let (request, part) = try decodePart(header: bytes, frames: frames, limits: limits) { _ in nil }
        guard case .message(let message) = part else {
            throw WireError(.unknownMessage, "a fragment is no message by itself", request: request)
        }
        return (request, message)
    }

    /// Checks and unpacks what came.
    ///
    /// - Parameter memory: gives room for a tensor of so many bytes that comes in fragments, or nil if there is none.
    private static func decodePart(
        header bytes: UnsafeRawBufferPointer, frames: [TensorStorage], limits: WireLimits,
        memory: (Int) -> TensorStorage?
    ) throws(WireError) -> (request: UInt64, part: WirePart) {
        var request: UInt64 = 0
        do {
            try checkSizes(header: bytes.count, frames: frames, limits: limits)
            let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
            guard let header = partialfc__header__unpack(nil, bytes.count, start) else {
                throw WireError(.header, "a header frame of \(bytes.count) bytes is not a Header of wire.proto")
            }
            defer { partialfc__header__free_unpacked(header, nil) }
            request = header.pointee.request
            if header.pointee.body_case == PARTIALFC__HEADER__BODY_FRAGMENT {
                return (request, .fragment(try Decoder.fragment(header.pointee, frames: frames)))
            }
            let (tensors, pieces) = try Decoder.tensors(
                header.pointee, frames: frames, limit: limits.messageByteCount - bytes.count, memory: memory)
            let message = try Decoder.message(header.pointee, tensors: tensors)
            guard !pieces.isEmpty else { return (request, .message(message)) }
            let unfinished = UnfinishedMessage(
                request: request, series: header.pointee.series, message: message, pieces: pieces)
            return (request, .announcement(unfinished))
        } catch {
            var error = wire(error)
            error.request = request
            throw error
        }
    }

    /// The same, of frames of which the first one is the header.
    static func decode(
        _ frames: ArraySlice<TensorStorage>, limits: WireLimits, memory: (Int) -> TensorStorage?
    ) throws(WireError) -> (request: UInt64, part: WirePart) {
        guard let header = frames.first else { throw WireError(.frameCount, "the message has no frames") }
        return try header.withBytes { bytes throws(WireError) in
            try decodePart(header: bytes, frames: Array(frames.dropFirst()), limits: limits, memory: memory)
        }
    }

    private static func checkSizes(header: Int, frames: [TensorStorage], limits: WireLimits) throws {
        guard header <= limits.headerByteCount else {
            throw WireError(
                .tooLarge, "a header frame of \(header) bytes; at most \(limits.headerByteCount) are allowed")
        }
        _ = try Field.count(frames.count, "tensor frames", limit: Bound.tensors)
        var total = header
        for frame in frames { total += frame.byteCount }
        guard total <= limits.messageByteCount else {
            throw WireError(.tooLarge, "a message of \(total) bytes; at most \(limits.messageByteCount) are allowed")
        }
    }

    private static func wire(_ error: any Error) -> WireError {
        error as? WireError ?? WireError(.header, "\(error)")
    }
}
