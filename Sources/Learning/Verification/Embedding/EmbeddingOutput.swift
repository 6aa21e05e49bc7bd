internal import CRows
public import Dataset
internal import Foundation
internal import Tensors

/// A file of embeddings in the making, which goes on after a kill.
///
/// Rows are appended to `OUTPUT.rows`. Once they are on the disk, `OUTPUT.progress` says how many there are, and of which work. When all
/// are there, OUTPUT gets its form and its name, and the two are removed.
public final class EmbeddingOutput {
    /// What `OUTPUT.progress` holds.
    private struct Progress: Codable, Equatable {
        /// Everything that decides the values, by name: another work does not go on with this one's rows.
        var work: [String: String]
        var size: Int
        var rows: Int
    }

    /// Rows are synced when so many bytes were added since, or so much time went by.
    private static let syncByteCount = 64 << 20
    private static let syncInterval = Duration.seconds(1)

    public let path: String
    /// Rows that are there.
    public private(set) var count = 0
    /// D; 0 before the first row.
    public private(set) var size = 0
    /// The mean cosine of rows and what was written of them in bytes, once that is done.
    public private(set) var meanCosine: Double?
    private let work: [String: String]
    private let descriptor: Int32
    private var unsynced = 0
    private var synced = ContinuousClock.now

    private var rowsPath: String { path + ".rows" }
    private var progressPath: String { path + ".progress" }

    /// Begins, or goes on with what an earlier process did of the same work.
    ///
    /// - Parameter work: what decides the values, by the name of the option that gives it.
    /// - Throws: `DatasetError` if the files cannot be written, another process works on them, or they hold rows of another work.
    public init(path: String, work: [String: String]) throws(DatasetError) {
        self.path = path
        self.work = work
        let file = open(path + ".rows", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else {
            throw DatasetError(
                .unwritableFile, path: path + ".rows", "cannot be written: \(String(cString: strerror(errno)))")
        }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw DatasetError(.unwritableFile, path: path + ".rows", "is being written by another process")
        }
        descriptor = file
        if let data = FileManager.default.contents(atPath: progressPath) {
            let progress = try? JSONDecoder().decode(Progress.self, from: data)
            if let problem = Self.problem(progress, work) {
                throw DatasetError(
                    .invalidOption, path: progressPath, "\(problem); remove it to begin anew, or give another output")
            }
            if let progress, (1...1 << 20).contains(progress.size), progress.rows >= 0,
                let length = fileByteCount(rowsPath), progress.rows <= length / (progress.size * 4)
            {
                (size, count) = (progress.size, progress.rows)
            }
        }
        // What came after the last sync may be half a row.
        try check(ftruncate(descriptor, off_t(count * size * 4)) == 0)
        try check(lseek(descriptor, 0, SEEK_END) >= 0)
    }

    deinit { close(descriptor) }

    /// Why rows that are there cannot be gone on with; nil if they can.
    private static func problem(_ progress: Progress?, _ work: [String: String]) -> String? {
        guard let progress else { return "does not say what the rows beside it were made of" }
        let others = Set(work.keys).union(progress.work.keys).sorted().filter { work[$0] != progress.work[$0] }
        guard !others.isEmpty else { return nil }
        let changes = others.map { "\($0) was \(progress.work[$0] ?? "nothing"), is \(work[$0] ?? "nothing")" }
        return "has \(progress.rows) rows of another embedding: \(changes.joined(separator: "; "))"
    }

    /// Appends rows of `size` values.
    ///
    /// - Throws: `DatasetError` if they cannot be written, or are of another length than those before.
    public func append(_ values: UnsafeBufferPointer<Float>, size: Int) throws(DatasetError) {
        precondition(size > 0 && values.count % size == 0, "\(values.count) values are not whole rows of \(size)")
        guard self.size == 0 || self.size == size else {
            throw DatasetError(.unlikely, path: path, "embeddings of \(size) values follow such of \(self.size)")
        }
        self.size = size
        let bytes = UnsafeRawBufferPointer(values)
        var done = 0
        while done < bytes.count {
            let written = write(descriptor, bytes.baseAddress! + done, bytes.count - done)
            if written < 0 && errno == EINTR { continue }
            try check(written > 0)
            done += written
        }
        count += values.count / size
        unsynced += bytes.count
        if unsynced >= Self.syncByteCount || .now - synced >= Self.syncInterval { try sync() }
    }

    /// Notes what there is, so that it outlives the process.
    ///
    /// - Throws: `DatasetError` if that fails.
    public func sync() throws(DatasetError) {
        try check(fdatasync(descriptor) == 0)
        do {
            try JSONEncoder().encode(Progress(work: work, size: size, rows: count))
                .write(to: URL(fileURLWithPath: progressPath), options: .atomic)
        } catch { throw DatasetError(.unwritableFile, path: progressPath, "cannot be written: \(error)") }
        (unsynced, synced) = (0, .now)
    }

    /// Writes the file: `.npy`, or safetensors with `features` f32 [n, D] and, if there are labels, `labels` i64 [n]. Beside it
    /// `OUTPUT.names.tsv` has a line for each row: label and name.
    ///
    /// - Parameter inBytes: safetensors with `features` i8 [n, D] and `scales` f32 [n] instead: x ≈ features · scale, scale = max|x| / 127.
    /// - Throws: `DatasetError` if it cannot be written. Traps if `.npy` is to have scales.
    public func finish(
        names: [String], labels: [Int64]?, metadata: [String: String], inBytes: Bool = false
    ) throws(DatasetError) {
        precondition(!inBytes || !path.hasSuffix(".npy"), "an array has no place for scales")
        precondition(names.count == count && (labels?.count ?? count) == count, "one name and label per row")
        try sync()
        var text = "label\tname\n"
        for (row, name) in names.enumerated() {
            // A name cannot be taken for two.
            let escaped = name.map { $0 == "\t" || $0.isNewline ? "\u{FFFD}" : $0 }
            text += "\(labels.map { String($0[row]) } ?? "")\t\(String(escaped))\n"
        }
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path + ".names.tsv"), options: .atomic)
            if path.hasSuffix(".npy") {
                try writeArray()
            } else if inBytes {
                try writeBytes(labels, metadata)
            } else {
                try writeTensors(labels, metadata)
            }
        } catch let error as DatasetError { throw error } catch {
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(error)")
        }
        unlink(progressPath)
        unlink(rowsPath)
    }

    private func writeTensors(_ labels: [Int64]?, _ metadata: [String: String]) throws {
        var tensors = [SafeTensorsWriter.Description("features", .f32, [count, size])]
        if labels != nil { tensors.append(.init("labels", .i64, [count])) }
        let writer = try SafeTensorsWriter(path, tensors: tensors, metadata: metadata)
        try copyRows { try writer.append($0) }
        try labels?.withUnsafeBytes { try writer.append($0) }
        try writer.finish()
    }

    private func writeBytes(_ labels: [Int64]?, _ metadata: [String: String]) throws {
        var tensors = [
            SafeTensorsWriter.Description(signedBytes: "features", [count, size]), .init("scales", .f32, [count]),
        ]
        if labels != nil { tensors.append(.init("labels", .i64, [count])) }
        let writer = try SafeTensorsWriter(path, tensors: tensors, metadata: metadata)
        var scales = [Float](repeating: 0, count: count)
        var codes: [Int8] = []
        var cosines = 0.0
        var row = 0
        try copyRows { bytes in
            let rows = bytes.bindMemory(to: Float.self)
            codes = [Int8](repeating: 0, count: rows.count)
            let rowCount = rows.count / size
            scales.withUnsafeMutableBufferPointer {
                pfc_bytes_encode(rows.baseAddress, rowCount, size, &codes, $0.baseAddress! + row)
            }
            for index in 0..<rowCount {
                cosines += Self.cosine(rows.baseAddress! + index * size, codes[index * size..<(index + 1) * size])
            }
            row += rowCount
            try codes.withUnsafeBytes { try writer.append($0) }
        }
        try scales.withUnsafeBytes { try writer.append($0) }
        try labels?.withUnsafeBytes { try writer.append($0) }
        try writer.finish()
        meanCosine = cosines / Double(max(count, 1))
    }

    /// The cosine of a row and its codes; 1 for a row of zeros.
    private static func cosine(_ row: UnsafePointer<Float>, _ codes: ArraySlice<Int8>) -> Double {
        var (product, squares, codeSquares) = (0.0, 0.0, 0.0)
        for (index, code) in codes.enumerated() {
            let (x, y) = (Double(row[index]), Double(code))
            product += x * y
            squares += x * x
            codeSquares += y * y
        }
        return squares > 0 && codeSquares > 0 ? product / (squares * codeSquares).squareRoot() : 1
    }

    private func writeArray() throws {
        let temporary = path + ".partial"
        guard FileManager.default.createFile(atPath: temporary, contents: nil),
            let file = FileHandle(forWritingAtPath: temporary)
        else { throw DatasetError(.unwritableFile, path: temporary, "cannot be written") }
        do {
            try file.write(contentsOf: NumPyHeader.bytes(rows: count, columns: size))
            try copyRows { try file.write(contentsOf: Data($0)) }
            try file.synchronize()
            try file.close()
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    /// Gives the bytes of all rows, some whole rows at a time.
    private func copyRows(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        let block = max(1, (4 << 20) / max(size * 4, 1))
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(block, max(count, 1)) * max(size, 1) * 4, alignment: 64)
        defer { buffer.deallocate() }
        for start in stride(from: 0, to: count, by: block) {
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(min(block, count - start) * size * 4)])
            var done = 0
            while done < part.count {
                let got = pread(
                    descriptor, part.baseAddress! + done, part.count - done, off_t(start * size * 4 + done))
                if got < 0 && errno == EINTR { continue }
                guard got > 0 else {
                    throw DatasetError(.unreadableFile, path: rowsPath, "became shorter while it was read")
                }
                done += got
            }
            try body(UnsafeRawBufferPointer(part))
        }
    }

    private func check(_ isRight: Bool) throws(DatasetError) {
        guard isRight else {
            throw DatasetError(
                .unwritableFile, path: rowsPath, "cannot be written: \(String(cString: strerror(errno)))")
        }
    }
}
