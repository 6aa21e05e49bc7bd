internal import Dataset

/// Encoded images in memory.
struct EncodedImages: ImageSource {
    let imageShape: ImageShape
    private let path: String
    private let bytes: [UInt8]
    private let ranges: [Range<Int>]

    init(path: String, bytes: [UInt8], ranges: [Range<Int>], imageShape: ImageShape) {
        self.path = path
        self.bytes = bytes
        self.ranges = ranges
        self.imageShape = imageShape
    }

    var sampleCount: Int { ranges.count }

    func origin(of index: Int) -> String { "\(path), image \(index)" }

    func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        do throws(DatasetError) {
            try bytes.withUnsafeBufferPointer { buffer throws(DatasetError) in
                try ImageDecoder.decode(
                    UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: buffer[ranges[index]])), shape: imageShape,
                    into: pixels)
            }
        } catch {
            var located = error
            located.index = index
            located.path = path
            throw located
        }
    }
}
