internal import CWire
package import Tensors

/// A piece of the tensors of a large message, which was announced before.
struct Fragment {
    var series: UInt64
    /// Bytes of the same series before this piece.
    var offset: Int
    var bytes: TensorStorage
}

/// What one message of ZeroMQ is.
enum WirePart {
    /// A whole message.
    case message(WireMessage)
    /// The beginning of a large one: the bytes of its large tensors follow.
    case announcement(UnfinishedMessage)
    case fragment(Fragment)

    /// The message itself, or the one that was begun.
    var message: WireMessage? {
        switch self {
        case .message(let message): message
        case .announcement(let unfinished): unfinished.message
        case .fragment: nil
        }
    }

    var name: String { message?.name ?? "fragment" }
}

extension WireCodec {
    /// The frames of a fragment: its header and the bytes themselves, which are not copied.
    static func fragment(series: UInt64, offset: Int, bytes: Tensor) -> [Tensor] {
        Arena.lend { arena in
            let header = arena.make(partialfc__header__init) { header in
                let info = arena.make(partialfc__tensor_info__init) {
                    $0.dtype = UInt32(DType.u8.rawValue)
                    $0.n_shape = 1
                    $0.shape = arena.array([UInt64(bytes.byteCount)])
                }
                header.n_tensors = 1
                header.tensors = arena.messages([info])
                header.fragment = arena.make(partialfc__fragment__init) {
                    $0.series = series
                    $0.offset = UInt64(offset)
                }
                header.body_case = PARTIALFC__HEADER__BODY_FRAGMENT
            }
            let packed = Tensor(uninitialized: UInt8.self, shape: [partialfc__header__get_packed_size(header)])
            packed.withMutablePointer(UInt8.self) { _ = partialfc__header__pack(header, $0.baseAddress) }
            return [packed, bytes]
        }
    }
}

extension EncodedMessage {
    /// The messages of ZeroMQ that it is sent as: one, or an announcement and the fragments of its large tensors.
    package var parts: [[Tensor]] {
        guard series != 0 else { return [frames] }
        let empty = Tensor([UInt8]())
        var parts = [[header] + tensors.map { isFragmented($0) ? empty : $0 }]
        var offset = 0
        for tensor in tensors where isFragmented(tensor) {
            for start in stride(from: 0, to: tensor.byteCount, by: WireLimits.fragmentByteCount) {
                let count = min(WireLimits.fragmentByteCount, tensor.byteCount - start)
                let bytes = Tensor(
                    dtype: .u8, shape: [count], storage: tensor.storage, byteOffset: tensor.byteOffset + start)
                parts.append(WireCodec.fragment(series: series, offset: offset, bytes: bytes))
                offset += count
            }
        }
        return parts
    }

    private func isFragmented(_ tensor: Tensor) -> Bool { tensor.byteCount > WireLimits.fragmentByteCount }
}

extension Decoder {
    static func fragment(_ header: Partialfc__Header, frames: [TensorStorage]) throws -> Fragment {
        let fragment = try Field.required(header.fragment, "fragment")
        let infos = try descriptions(header, frames: frames)
        guard infos.count == 1, infos[0].dtype == .u8, infos[0].shape.count == 1, !infos[0].inFragments else {
            throw WireError(.tensor, "a fragment needs one tensor u8 [n]")
        }
        guard (1...WireLimits.longestFragment).contains(frames[0].byteCount) else {
            throw WireError(
                .tooLarge,
                "a fragment of \(frames[0].byteCount) bytes; 1 to \(WireLimits.longestFragment) are allowed")
        }
        return Fragment(
            series: fragment.series, offset: try Field.number(fragment.offset, "offset of a fragment"),
            bytes: frames[0])
    }
}
