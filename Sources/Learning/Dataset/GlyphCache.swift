internal import Foundation

/// A glyph data set in one file, mapped into memory.
public final class GlyphCache: Sendable {
    public let path: String
    /// What the file was made from.
    public let record: GlyphRecord
    let imageShape: ImageShape
    let sampleCount: Int
    let fingerprint: UInt64
    private let data: Data
    private let layout: GlyphCacheFile.Layout

    /// Maps and checks the file at `path`.
    ///
    /// - Throws: `DatasetError` if it is missing, of another format or version, truncated or damaged.
    public init(path: String) throws(DatasetError) {
        func fail(_ problem: String) -> DatasetError {
            DatasetError(.damagedCache, path: path, "\(problem); delete the file to have it built again")
        }
        // Somebody's data: not to be deleted.
        let hint = "set data.kind to what it is (rec, folder, features), or name a file of `worker glyphs`"
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped) else {
            throw DatasetError(.missingFile, path: path, "cannot be read as a glyph cache; \(hint)")
        }
        func field<Value: FixedWidthInteger>(_ offset: Int, _ type: Value.Type) -> Value {
            data.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self)) }
        }
        guard data.count >= GlyphCacheFile.headerByteCount, data.starts(with: GlyphCacheFile.magic) else {
            throw DatasetError(.damagedCache, path: path, "is not a glyph cache; \(hint)")
        }
        let version = field(8, UInt32.self)
        guard GlyphCacheFile.versions.contains(version) else {
            throw fail("is a glyph cache of version \(version); this program reads 1 and 2")
        }
        let json = Int(clamping: field(24, UInt64.self))
        let height = Int(field(12, UInt32.self))
        let width = version == 1 ? height : Int(field(40, UInt32.self))
        guard
            let layout = GlyphCacheFile.Layout(
                json: json, samples: Int(clamping: field(16, UInt64.self)), height: height, width: width),
            layout.end == data.count
        else { throw fail("is \(data.count) bytes long, which its header contradicts: truncated") }
        let stored = field(32, UInt64.self)
        guard data.withUnsafeBytes({ GlyphCacheFile.checksum($0) }) == stored else {
            throw fail("has a wrong checksum")
        }
        let start = GlyphCacheFile.headerByteCount
        guard let record = try? JSONDecoder().decode(GlyphRecord.self, from: data[start..<start + json]) else {
            throw fail("has a record that is not the JSON of this version")
        }
        self.path = path
        self.record = record
        self.data = data
        self.layout = layout
        imageShape = ImageShape(channels: 1, height: height, width: width)
        sampleCount = Int(field(16, UInt64.self))
        fingerprint = stored
        let classCount = record.classCount
        guard record.heldOutCount >= 0, record.heldOutCount < classCount, record.recipe.imageShape == imageShape else {
            throw fail("has a record that contradicts its header")
        }
        var previous = 0
        for index in 0..<sampleCount {
            let (label, face) = (self.label(of: index), self.face(of: index))
            guard label >= previous, label < classCount, record.fonts.indices.contains(face) else {
                throw fail("has label \(label) and face \(face) at sample \(index)")
            }
            previous = label
        }
    }

    /// The classes to train on.
    public var training: GlyphDataset {
        GlyphDataset(cache: self, classes: 0..<record.classCount - record.heldOutCount)
    }

    /// The classes never trained on, or nil if the recipe holds out none.
    public var heldOut: GlyphDataset? {
        record.heldOutCount == 0
            ? nil
            : GlyphDataset(
                cache: self, classes: record.classCount - record.heldOutCount..<record.classCount)
    }

    func label(of index: Int) -> Int { int32(layout.labels, index) }
    func face(of index: Int) -> Int { int32(layout.faces, index) }

    func copyImage(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) {
        precondition(index >= 0 && index < sampleCount, "sample \(index) of \(sampleCount)")
        let start = layout.images + index * imageShape.count
        data.copyBytes(to: pixels, from: start..<start + imageShape.count)
    }

    private func int32(_ part: Int, _ index: Int) -> Int {
        precondition(index >= 0 && index < sampleCount, "sample \(index) of \(sampleCount)")
        return data.withUnsafeBytes {
            Int(Int32(littleEndian: $0.loadUnaligned(fromByteOffset: part + 4 * index, as: Int32.self)))
        }
    }
}
