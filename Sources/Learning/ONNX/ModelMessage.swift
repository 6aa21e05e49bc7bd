internal import COnnx
internal import CProtobufC
internal import Foundation

/// The memory that protobuf-c may take for one file.
private final class ProtoBudget {
    var left: Int

    init(_ left: Int) { self.left = left }
}

/// An ONNX file, unpacked. Owns the C structs.
final class ModelMessage {
    /// What protobuf allows.
    static let limit = 1 << 31

    let path: String
    let model: UnsafeMutablePointer<Onnx__ModelProto>
    let graph: Onnx__GraphProto
    /// The bytes of the file, in whose proportion the reader may take memory.
    let byteCount: Int

    /// - Throws: `Problem` if the file cannot be read, is no model, or would take more than eight times its size.
    init(_ path: String) throws {
        self.path = path
        guard let size = try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int else {
            throw Problem("cannot be read: there is no such file, or it may not be opened")
        }
        guard size > 0, size < Self.limit else { throw Problem("has \(size) bytes; an ONNX file has 1 to 2^31") }
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) } catch {
            throw Problem("cannot be read: \(error.localizedDescription)")
        }
        byteCount = data.count
        let budget = ProtoBudget(8 * data.count + (1 << 20))
        let unpacked = data.withUnsafeBytes { bytes in
            withExtendedLifetime(budget) {
                var allocator = ProtobufCAllocator(
                    alloc: { budget, size in
                        guard let budget else { return nil }
                        let account = Unmanaged<ProtoBudget>.fromOpaque(budget).takeUnretainedValue()
                        guard size <= account.left else { return nil }
                        account.left -= size
                        return malloc(max(1, size))
                    }, free: { _, memory in free(memory) },
                    allocator_data: Unmanaged.passUnretained(budget).toOpaque())
                return onnx__model_proto__unpack(
                    &allocator, bytes.count, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
        }
        guard let unpacked else {
            throw Problem("is no ONNX file, is cut off, or would take more than eight times its size in memory")
        }
        guard let graph = unpacked.pointee.graph else {
            onnx__model_proto__free_unpacked(unpacked, nil)
            throw Problem("is no ONNX model: it has no graph")
        }
        model = unpacked
        self.graph = graph.pointee
    }

    deinit { onnx__model_proto__free_unpacked(model, nil) }
}

/// A C string, or "".
func string(_ text: UnsafeMutablePointer<CChar>?) -> String { text.map { String(cString: $0) } ?? "" }

/// The elements of a repeated field.
func array<V>(_ elements: UnsafeMutablePointer<V>?, _ count: Int) -> UnsafeBufferPointer<V> {
    UnsafeBufferPointer(start: elements, count: elements == nil ? 0 : count)
}
