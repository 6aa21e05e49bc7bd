/// Glyph images of some classes of a cache: gray, ink 255 on paper 0, one image per face.
public struct GlyphDataset: ImageDataset {
    public let cache: GlyphCache
    public let sampleCount: Int
    private let classes: Range<Int>
    private let firstSample: Int

    init(cache: GlyphCache, classes: Range<Int>) {
        self.cache = cache
        self.classes = classes
        // Labels ascend over the samples of a cache.
        func start(ofLabel label: Int) -> Int {
            var range = 0..<cache.sampleCount
            while !range.isEmpty {
                let middle = (range.lowerBound + range.upperBound) / 2
                range = cache.label(of: middle) < label ? middle + 1..<range.upperBound : range.lowerBound..<middle
            }
            return range.lowerBound
        }
        firstSample = start(ofLabel: classes.lowerBound)
        sampleCount = start(ofLabel: classes.upperBound) - firstSample
    }

    public var classCount: Int { classes.count }
    public var imageShape: ImageShape { cache.imageShape }
    public var problems: [DatasetError] { [] }
    public var fingerprint: UInt64 { cache.fingerprint &+ UInt64(classes.lowerBound) }

    /// What class `label` shows: a word, or a character's number in Unicode.
    public func name(of label: Int) -> String { cache.record.name(of: classes.lowerBound + label) }

    public func label(of index: Int) -> Int { cache.label(of: firstSample + index) - classes.lowerBound }

    public func origin(of index: Int) -> String {
        let face = cache.record.fonts[cache.face(of: firstSample + index)]
        return "\(name(of: label(of: index))) in \(face.description)"
    }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        precondition(pixels.count >= imageShape.count, "\(pixels.count) bytes cannot hold \(imageShape)")
        cache.copyImage(at: firstSample + index, into: pixels)
    }
}
