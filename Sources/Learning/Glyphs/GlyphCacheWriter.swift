internal import Dataset
internal import Foundation
internal import ProcessSupport

/// Writes a glyph cache piece by piece, under another name until it is whole.
final class GlyphCacheWriter {
    private let path: String
    private let partial: String
    private let file: FileHandle

    /// Images that are drawn before they are written.
    private static let blockCount = 16_384

    /// Writes the file of a plan, a block of images at a time.
    ///
    /// - Parameter images: draws some of the plan's samples, one after the other.
    /// - Throws: `DatasetError` if it cannot be written.
    static func write(
        _ plan: GlyphPlan, as record: GlyphRecord, to path: String, images: (ArraySlice<GlyphSample>) -> Data
    ) throws(DatasetError) {
        let writer = try GlyphCacheWriter(
            path: path, record: record, labels: plan.samples.map(\.label), faces: plan.samples.map(\.face))
        for start in stride(from: 0, to: plan.samples.count, by: blockCount) {
            try writer.append(images(plan.samples[start..<min(start + blockCount, plan.samples.count)]))
        }
        try writer.finish()
    }

    /// Begins a file with everything up to its images.
    ///
    /// - Parameters:
    ///   - labels: the class of every image, ascending.
    ///   - faces: which of the record's fonts drew it.
    /// - Throws: `DatasetError` if the file cannot be written.
    private init(path: String, record: GlyphRecord, labels: [Int32], faces: [Int32]) throws(DatasetError) {
        self.path = path
        partial = path + ".partial"
        let start = try GlyphCacheFile.start(record: record, labels: labels, faces: faces)
        guard FileManager.default.createFile(atPath: partial, contents: nil),
            let file = FileHandle(forUpdatingAtPath: partial)
        else {
            throw DatasetError(.unwritableFile, path: path, "cannot be created: \(String(cString: strerror(errno)))")
        }
        self.file = file
        try append(start)
    }

    /// Appends images, in the order of the labels.
    ///
    /// - Throws: `DatasetError` if the disk is full, for instance.
    private func append(_ images: Data) throws(DatasetError) {
        try orUnwritable { try file.write(contentsOf: images) }
    }

    /// Writes the checksum and gives the file its name.
    ///
    /// - Throws: `DatasetError` if it cannot be written.
    private func finish() throws(DatasetError) {
        try orUnwritable {
            let whole = try Data(contentsOf: URL(fileURLWithPath: partial), options: .alwaysMapped)
            let sum = whole.withUnsafeBytes { GlyphCacheFile.checksum($0) }
            try file.seek(toOffset: UInt64(GlyphCacheFile.checksumOffset))
            try file.write(contentsOf: withUnsafeBytes(of: sum.littleEndian) { Data($0) })
            try file.synchronize()
            try file.close()
        }
        guard rename(partial, path) == 0 else {
            throw DatasetError(.unwritableFile, path: path, "cannot be renamed: \(String(cString: strerror(errno)))")
        }
    }

    private func orUnwritable(_ body: () throws -> Void) throws(DatasetError) {
        do { try body() } catch {
            try? FileManager.default.removeItem(atPath: partial)
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(SystemProblem.reason(error))")
        }
    }
}
