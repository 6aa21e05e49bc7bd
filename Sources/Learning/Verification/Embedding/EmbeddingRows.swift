internal import CRows
public import Dataset
internal import Foundation
internal import Tensors

/// Embeddings that are ready in a file, of which parts are read: `.npy` (float32, C order, [n, D]), or safetensors with `features` [n, D] of
/// real numbers, or of signed bytes with a scale for each row in `scales` f32 [n].
public final class EmbeddingRows: @unchecked Sendable {
    /// Where the values lie. Reading has no position to share.
    private enum Values {
        case array(FileHandle, offset: Int)
        case reals(SafeTensorsFile, SafeTensorsFile.RealEntry)
        case bytes(SafeTensorsFile, SafeTensorsFile.SignedByteEntry, scales: SafeTensorsFile.RealEntry)
    }

    public let path: String
    public let count: Int
    /// D.
    public let size: Int
    /// What `worker embed` says of how they were made; empty for `.npy`.
    public let metadata: [String: String]
    private let values: Values

    /// The key of `metadata` for what labels count.
    public static let classesKey = "classes"

    /// - Throws: `DatasetError` if the file is not of these forms.
    public init(path: String) throws(DatasetError) {
        self.path = path
        if path.hasSuffix(".npy") {
            let header = try NumPyHeader(path: path)
            guard let file = FileHandle(forReadingAtPath: path) else {
                throw DatasetError(.missingFile, path: path, "cannot be read")
            }
            (count, size, values) = (header.rows, header.columns, .array(file, offset: header.byteCount))
            metadata = [:]
        } else {
            let shape: [Int]
            do throws(SafeTensorsError) {
                let file = try SafeTensorsFile(path)
                metadata = file.metadata
                if file.isSignedBytes("features") {
                    let codes = try file.signedBytes("features")
                    (shape, values) = (codes.shape, .bytes(file, codes, scales: try file.reals("scales")))
                } else {
                    let entry = try file.reals("features")
                    (shape, values) = (entry.shape, .reals(file, entry))
                }
            } catch { throw DatasetError(.malformedFile, path: error.path, error.problem) }
            if case .bytes(_, _, let scales) = values, scales.shape != [shape.first ?? -1] {
                throw DatasetError(
                    .malformedFile, path: path,
                    "has features of shape \(shape) and scales of shape \(scales.shape), not [n, D] and [n]")
            }
            guard shape.count == 2, shape[1] > 0 else {
                throw DatasetError(.malformedFile, path: path, "has features of shape \(shape), not [n, D]")
            }
            (count, size) = (shape[0], shape[1])
        }
        guard count > 0 else { throw DatasetError(.noSamples, path: path, "has no rows") }
    }

    /// Whether the rows are signed bytes with scales.
    public var isBytes: Bool { if case .bytes = values { true } else { false } }

    /// The values of rows `range`.
    ///
    /// - Throws: `DatasetError` if they cannot be read.
    public func rows(_ range: Range<Int>) throws(DatasetError) -> [Float] {
        check(range)
        var result = [Float](repeating: 0, count: range.count * size)
        var failure: DatasetError?
        result.withUnsafeMutableBufferPointer { target in
            do throws(DatasetError) { try read(range, into: target) } catch { failure = error }
        }
        if let failure { throw failure }
        return result
    }

    /// Gives all rows to `body`, some at a time.
    public func readAll(_ body: (UnsafeBufferPointer<Float>) throws -> Void) throws {
        let block = max(1, (1 << 20) / size)
        for start in stride(from: 0, to: count, by: block) {
            try rows(start..<min(count, start + block)).withUnsafeBufferPointer(body)
        }
    }

    /// The labels i64 [n] (or i32) that are in the file, nil if there are none.
    ///
    /// - Throws: `DatasetError` if they are of another form.
    public func labels() throws(DatasetError) -> [Int64]? {
        let file: SafeTensorsFile
        switch values {
        case .array: return nil
        case .reals(let holder, _), .bytes(let holder, _, _): file = holder
        }
        guard let shape = file.shape("labels") else { return nil }
        guard shape == [count] else {
            throw DatasetError(.malformedFile, path: path, "has labels of shape \(shape) for \(count) rows")
        }
        do throws(SafeTensorsError) {
            if let entry = file.entries["labels"], entry.dtype == .i32 {
                return try file.tensor(entry).array(Int32.self).map { Int64($0) }
            }
            return try file.tensor(file.entry("labels", .i64)).array(Int64.self)
        } catch { throw DatasetError(.malformedFile, path: path, error.problem) }
    }

    /// All rows, at length 1.
    ///
    /// - Throws: `DatasetError` if they cannot be read, or a number is not finite.
    public func features() throws(DatasetError) -> TemplateFeatures {
        let all = try rows(0..<count)
        try checkFinite(all, 0..<count)
        return TemplateFeatures(normalizing: all, size: size)
    }

    /// Rows as signed bytes: as they are, or encoded.
    ///
    /// - Throws: `DatasetError` if they cannot be read, a number is not finite, or a scale is negative.
    func bytes(
        _ range: Range<Int>, codes: UnsafeMutablePointer<Int8>, scales: UnsafeMutablePointer<Float>
    ) throws(DatasetError) {
        check(range)
        if case .bytes(let file, let entry, let scaleEntry) = values {
            do throws(SafeTensorsError) {
                try file.read(
                    entry, from: range.lowerBound * size,
                    into: UnsafeMutableBufferPointer(start: codes, count: range.count * size))
                try file.read(
                    scaleEntry, from: range.lowerBound,
                    into: UnsafeMutableBufferPointer(start: scales, count: range.count))
            } catch { throw DatasetError(.unreadableFile, path: path, error.problem) }
            for row in 0..<range.count where !(scales[row] >= 0 && scales[row].isFinite) {
                throw DatasetError(
                    .badEmbedding, path: path, index: range.lowerBound + row,
                    "has the scale \(scales[row]), which is no finite number of at least 0")
            }
        } else {
            let reals = try rows(range)
            try checkFinite(reals, range)
            reals.withUnsafeBufferPointer { pfc_bytes_encode($0.baseAddress, range.count, size, codes, scales) }
        }
    }

    /// Rows at length 1; a row of zeros stays.
    ///
    /// - Throws: `DatasetError` if they cannot be read, or a number is not finite.
    func directions(_ range: Range<Int>) throws(DatasetError) -> [Float] {
        let reals = try rows(range)
        try checkFinite(reals, range)
        return TemplateFeatures(normalizing: reals, size: size).values
    }

    private func read(_ range: Range<Int>, into target: UnsafeMutableBufferPointer<Float>) throws(DatasetError) {
        guard let base = target.baseAddress else { return }
        switch values {
        case .array(let file, let offset):
            let bytes = UnsafeMutableRawBufferPointer(target)
            var done = 0
            while done < bytes.count {
                let got = pread(
                    file.fileDescriptor, bytes.baseAddress! + done, bytes.count - done,
                    off_t(offset + range.lowerBound * size * 4 + done))
                if got < 0 && errno == EINTR { continue }
                guard got > 0 else {
                    throw DatasetError(
                        .unreadableFile, path: path, got == 0 ? "the file ends early" : String(cString: strerror(errno))
                    )
                }
                done += got
            }
        case .reals(let file, let entry):
            do throws(SafeTensorsError) { try file.read(entry, from: range.lowerBound * size, into: target) } catch {
                throw DatasetError(.unreadableFile, path: path, error.problem)
            }
        case .bytes:
            let codes = UnsafeMutablePointer<Int8>.allocate(capacity: target.count)
            let scales = UnsafeMutablePointer<Float>.allocate(capacity: range.count)
            defer {
                codes.deallocate()
                scales.deallocate()
            }
            try bytes(range, codes: codes, scales: scales)
            pfc_bytes_decode(codes, scales, range.count, size, base)
        }
    }

    private func check(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "rows \(range) of \(count)")
    }

    private func checkFinite(_ reals: [Float], _ range: Range<Int>) throws(DatasetError) {
        guard let bad = reals.firstIndex(where: { !$0.isFinite }) else { return }
        let row = range.lowerBound + bad / size
        throw DatasetError(.badEmbedding, path: path, index: row, "has a number that is not finite in row \(row)")
    }
}
