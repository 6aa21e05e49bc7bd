internal import Foundation

/// A safetensors file of which parts are read: only the header is in memory.
public final class SafeTensorsFile: @unchecked Sendable {
    /// Where a tensor lies.
    public struct Entry: Sendable, Hashable {
        public var dtype: DType
        public var shape: [Int]
        /// Its bytes in the file.
        public var bytes: Range<Int>
    }

    /// A tensor of a type that only `floats` reads, or nothing does.
    struct OtherEntry: Sendable, Hashable {
        var type: String
        var shape: [Int]
        var bytes: Range<Int>
    }

    public let path: String
    /// The tensors but those of types that are not known here, which are in nobody's way.
    public let entries: [String: Entry]
    private let others: [String: OtherEntry]
    public let metadata: [String: String]
    // Never changed; pread has no position to share.
    private let descriptor: Int32

    /// Reads the header.
    ///
    /// - Throws: `SafeTensorsError` if the file is missing, truncated, or its header does not fit its contents.
    public init(_ path: String) throws(SafeTensorsError) {
        self.path = path
        // A pipe that nobody writes to would be waited for.
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw SafeTensorsError(path: path, problem: "cannot be read: \(unsafe String(cString: strerror(errno)))")
        }
        do throws(SafeTensorsError) {
            let size = Int(lseek(descriptor, 0, SEEK_END))
            guard size >= 0 else { throw SafeTensorsError(path: path, problem: "is no file but a pipe or a device") }
            let prefix = try Self.bytes(descriptor, 0..<min(8, size), path)
            let length = try SafeTensorsHeader.length(prefix, fileByteCount: size, path: path)
            let json = try Self.bytes(descriptor, 8..<8 + length, path)
            let header = try SafeTensorsHeader(json: Data(json), fileByteCount: size, path: path)
            entries = header.tensors
            others = header.others
            metadata = header.metadata
        } catch {
            Foundation.close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// The tensor `name`, checked for its type.
    ///
    /// - Throws: `SafeTensorsError` if it is missing or of another type.
    public func entry(_ name: String, _ dtype: DType) throws(SafeTensorsError) -> Entry {
        guard let found = description(of: name) else { throw missing(name) }
        guard let entry = entries[name], entry.dtype == dtype else {
            throw SafeTensorsError(
                path: path, problem: "tensor \(name) is \(found.type), expected \(dtype.safeTensorsName)")
        }
        return entry
    }

    /// The names of all tensors, of whatever type.
    public var names: [String] { Array(entries.keys) + Array(others.keys) }

    /// The shape of the tensor `name`, of whatever type, or nil if there is none.
    public func shape(_ name: String) -> [Int]? { entries[name]?.shape ?? others[name]?.shape }

    /// Type, shape and place of the tensor `name`, of whatever type, or nil if there is none.
    func description(of name: String) -> OtherEntry? {
        entries[name].map { OtherEntry(type: $0.dtype.safeTensorsName, shape: $0.shape, bytes: $0.bytes) }
            ?? others[name]
    }

    func missing(_ name: String) -> SafeTensorsError {
        let sorted = names.sorted()
        let list = sorted.prefix(20).joined(separator: ", ") + (sorted.count > 20 ? ", … (\(sorted.count))" : "")
        return SafeTensorsError(path: path, problem: "has no tensor \(name); it has \(list)")
    }

    /// Reads bytes of a tensor, from `offset` in it, until `target` is full.
    ///
    /// - Throws: `SafeTensorsError` if they cannot be read. Traps if they are not the tensor's.
    public func read(
        _ entry: Entry, from offset: Int = 0, into target: UnsafeMutableRawBufferPointer
    ) throws(SafeTensorsError) {
        precondition(offset >= 0 && offset + target.count <= entry.bytes.count, "bytes outside of a tensor")
        try unsafe Self.read(descriptor, entry.bytes.lowerBound + offset, target, path)
    }

    func read(bytesAt offset: Int, into target: UnsafeMutableRawBufferPointer) throws(SafeTensorsError) {
        try unsafe Self.read(descriptor, offset, target, path)
    }

    /// A whole tensor.
    public func tensor(_ entry: Entry) throws(SafeTensorsError) -> Tensor {
        let storage = TensorStorage(byteCount: entry.bytes.count)
        try unsafe read(entry, into: UnsafeMutableRawBufferPointer(start: storage.base, count: entry.bytes.count))
        return Tensor(dtype: entry.dtype, shape: entry.shape, storage: storage)
    }

    private static func bytes(
        _ descriptor: Int32, _ range: Range<Int>, _ path: String
    ) throws(SafeTensorsError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var failure: SafeTensorsError?
        unsafe bytes.withUnsafeMutableBytes { target in
            do throws(SafeTensorsError) { try unsafe read(descriptor, range.lowerBound, target, path) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    private static func read(
        _ descriptor: Int32, _ offset: Int, _ target: UnsafeMutableRawBufferPointer, _ path: String
    ) throws(SafeTensorsError) {
        var done = 0
        while done < target.count {
            let count = unsafe pread(descriptor, target.baseAddress! + done, target.count - done, off_t(offset + done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let problem = count == 0 ? "the file ends early" : unsafe String(cString: strerror(errno))
                throw SafeTensorsError(path: path, problem: "cannot be read at byte \(offset + done): \(problem)")
            }
            done += count
        }
    }
}
