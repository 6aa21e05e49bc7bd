internal import Foundation

/// Writes a safetensors file piece by piece, for tensors that do not fit into memory together.
///
/// The file gets its name when it is complete and on the disk; what was begun and not finished is removed.
public final class SafeTensorsWriter {
    /// A tensor that will be written.
    public struct Description: Sendable, Hashable {
        public let name: String
        /// The element type's name in the file.
        let typeName: String
        private let elementSize: Int
        public let shape: [Int]

        public var byteCount: Int { shape.reduce(elementSize, *) }

        public init(_ name: String, _ dtype: DType, _ shape: [Int]) {
            (self.name, typeName, elementSize, self.shape) = (name, dtype.safeTensorsName, dtype.size, shape)
        }

        /// A tensor of signed bytes (I8), which files have and messages have not.
        public init(signedBytes name: String, _ shape: [Int]) {
            (self.name, typeName, elementSize, self.shape) = (name, SafeTensorsFile.signedByteType, 1, shape)
        }
    }

    public let path: String
    private var temporary: String { path + ".partial" }
    private let descriptor: Int32
    private var bytesLeft: Int
    private var isFinished = false

    /// Begins the file with its header.
    ///
    /// - Throws: `SafeTensorsError` if the file cannot be made.
    public init(
        _ path: String, tensors: [Description], metadata: [String: String] = [:]
    ) throws(SafeTensorsError) {
        self.path = path
        bytesLeft = tensors.reduce(0) { $0 + $1.byteCount }
        let header: Data
        do { header = try SafeTensorsHeader.encode(tensors, metadata: metadata) } catch {
            throw SafeTensorsError(path: path, problem: "has a header that cannot be written: \(error)")
        }
        descriptor = unsafe open(path + ".partial", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failure(path) }
        bytesLeft += header.count
        let bytes = [UInt8](header)
        var failure: SafeTensorsError?
        unsafe bytes.withUnsafeBytes { source in
            do throws(SafeTensorsError) { try unsafe append(source) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    deinit {
        close(descriptor)
        if !isFinished { unsafe unlink(temporary) }
    }

    /// Appends the next bytes of the tensors, in the order in which they were described.
    ///
    /// - Throws: `SafeTensorsError` if they cannot be written, or are more than was described.
    public func append(_ bytes: UnsafeRawBufferPointer) throws(SafeTensorsError) {
        guard bytes.count <= bytesLeft else {
            throw SafeTensorsError(path: path, problem: "would be longer than its header says")
        }
        var done = 0
        while done < bytes.count {
            let count = unsafe write(descriptor, bytes.baseAddress! + done, bytes.count - done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(path) }
            done += count
        }
        bytesLeft -= bytes.count
    }

    /// Syncs the file and gives it its name.
    ///
    /// - Throws: `SafeTensorsError` if bytes are missing, or the file cannot be synced or renamed.
    public func finish() throws(SafeTensorsError) {
        guard bytesLeft == 0 else {
            throw SafeTensorsError(path: path, problem: "lacks \(bytesLeft) bytes of what its header says")
        }
        guard fdatasync(descriptor) == 0, unsafe rename(temporary, path) == 0 else { throw Self.failure(path) }
        isFinished = true
    }

    private static func failure(_ path: String) -> SafeTensorsError {
        SafeTensorsError(path: path, problem: "cannot be written: \(unsafe String(cString: strerror(errno)))")
    }
}
