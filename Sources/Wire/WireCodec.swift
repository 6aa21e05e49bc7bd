internal import CWire
public import Tensors

/// A message as frames: the header, then the tensors, which are not copied.
public struct EncodedMessage: Sendable {
    /// The packed `Header` of wire.proto, u8.
    public let header: Tensor
    public let tensors: [Tensor]

    /// All frames together, in bytes.
    public var byteCount: Int { tensors.reduce(header.byteCount) { $0 + $1.byteCount } }
    /// The frames in the order in which they are sent.
    public var frames: [Tensor] { [header] + tensors }
}

/// Messages to frames and back. Knows no sockets.
public enum WireCodec {
    /// Packs a message; `request` numbers it.
    ///
    /// - Throws: `WireError` when a field is outside of what a receiver would accept.
    public static func encode(_ message: WireMessage, request: UInt64) throws(WireError) -> EncodedMessage {
        do {
            let arena = Arena()
            // The C structs are reached by pointers, which do not keep the arena alive.
            defer { withExtendedLifetime(arena) {} }
            let tensors = try Encoder(arena: arena).tensors(of: message)
            let header = try arena.make(partialfc__header__init) { header in
                header.request = request
                try Encoder(arena: arena).encode(message, into: &header)
                try Encoder(arena: arena).describe(tensors, in: &header)
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
            partialfc__header__pack(header, packed.mutable(UInt8.self).baseAddress)
            return EncodedMessage(header: packed, tensors: tensors)
        } catch {
            throw wire(error)
        }
    }

    /// Checks and unpacks a message.
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
        var request: UInt64 = 0
        do {
            try checkSizes(header: bytes.count, frames: frames, limits: limits)
            let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
            guard let header = partialfc__header__unpack(nil, bytes.count, start) else {
                throw WireError(.header, "a header frame of \(bytes.count) bytes is not a Header of wire.proto")
            }
            defer { partialfc__header__free_unpacked(header, nil) }
            request = header.pointee.request
            let tensors = try Decoder.tensors(header.pointee, frames: frames)
            return (request, try Decoder.message(header.pointee, tensors: tensors))
        } catch {
            var error = wire(error)
            error.request = request
            throw error
        }
    }

    /// The same, of a message whose first frame is the header.
    static func decode(
        _ frames: ArraySlice<TensorStorage>, limits: WireLimits
    ) throws(WireError) -> (request: UInt64, message: WireMessage) {
        guard let header = frames.first else { throw WireError(.frameCount, "the message has no frames") }
        // The header's bytes are reached by a pointer, which does not keep them alive.
        defer { withExtendedLifetime(header) {} }
        return try decode(
            header: UnsafeRawBufferPointer(start: header.base, count: header.byteCount),
            frames: Array(frames.dropFirst()), limits: limits)
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
