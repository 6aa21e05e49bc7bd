public import Dataset
internal import Foundation
internal import Tensors

/// Embeddings that are ready in a file, of which parts are read: `.npy` (float32, C order, [n, D]) or safetensors with `features` f32 [n, D].
public final class EmbeddingRows: @unchecked Sendable {
    public let path: String
    public let count: Int
    /// D.
    public let size: Int
    // `read` of either has no position to share.
    private let tensors: (file: SafeTensorsFile, entry: SafeTensorsFile.Entry)?
    private let array: (file: FileHandle, offset: Int)?

    /// - Throws: `DatasetError` if the file is not of these forms.
    public init(path: String) throws(DatasetError) {
        self.path = path
        if path.hasSuffix(".npy") {
            let header = try NumPyHeader(path: path)
            guard let file = FileHandle(forReadingAtPath: path) else {
                throw DatasetError(.missingFile, path: path, "cannot be read")
            }
            (count, size, array, tensors) = (header.rows, header.columns, (file, header.byteCount), nil)
        } else {
            let file: SafeTensorsFile
            let entry: SafeTensorsFile.Entry
            do {
                file = try SafeTensorsFile(path)
                entry = try file.entry("features", .f32)
            } catch { throw DatasetError(.malformedFile, path: error.path, error.problem) }
            guard entry.shape.count == 2, entry.shape[1] > 0 else {
                throw DatasetError(.malformedFile, path: path, "has features of shape \(entry.shape), not [n, D]")
            }
            (count, size, array, tensors) = (entry.shape[0], entry.shape[1], nil, (file, entry))
        }
        guard count > 0 else { throw DatasetError(.noSamples, path: path, "has no rows") }
    }

    /// The values of rows `range`.
    ///
    /// - Throws: `DatasetError` if they cannot be read.
    public func rows(_ range: Range<Int>) throws(DatasetError) -> [Float] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "rows \(range) of \(count)")
        var values = [Float](repeating: 0, count: range.count * size)
        var problem: String?
        values.withUnsafeMutableBytes { target in
            if let tensors {
                do throws(SafeTensorsError) {
                    try tensors.file.read(tensors.entry, from: range.lowerBound * size * 4, into: target)
                } catch { problem = error.problem }
            } else if let array {
                var done = 0
                while done < target.count {
                    let got = pread(
                        array.file.fileDescriptor, target.baseAddress! + done, target.count - done,
                        off_t(array.offset + range.lowerBound * size * 4 + done))
                    if got < 0 && errno == EINTR { continue }
                    if got <= 0 {
                        problem = got == 0 ? "the file ends early" : String(cString: strerror(errno))
                        return
                    }
                    done += got
                }
            }
        }
        if let problem { throw DatasetError(.unreadableFile, path: path, problem) }
        return values
    }

    /// Gives all rows to `body`, some at a time.
    public func readAll(_ body: (UnsafeBufferPointer<Float>) throws -> Void) throws {
        let block = max(1, (1 << 20) / size)
        for start in stride(from: 0, to: count, by: block) {
            try rows(start..<min(count, start + block)).withUnsafeBufferPointer(body)
        }
    }
}
