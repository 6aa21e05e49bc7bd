public import Dataset
internal import Foundation

/// The images of a template set, aligned by their landmarks to 112×112 when they are needed.
public struct AlignedFaces: ImageSource {
    public let imageShape: ImageShape
    private let set: TemplateSet
    private let folder: String

    /// - Throws: `DatasetError` with the first image that is not there, before hours were spent on those before it.
    public init(_ set: TemplateSet, channels: Int = 3) throws(DatasetError) {
        precondition(set.landmarks.count == set.images.count * 10, "the landmarks were not read")
        imageShape = ImageShape(channels: channels, height: LandmarkAlignment.extent, width: LandmarkAlignment.extent)
        self.set = set
        folder = set.folder + "/loose_crop/"
        for (row, name) in set.images.enumerated() {
            guard !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
                throw DatasetError(
                    .malformedFile, path: set.folder, index: row, "has an image called \(name), which leads out of it")
            }
            guard fileByteCount(folder + name) != nil else {
                throw DatasetError(
                    .missingFile, path: folder + name,
                    "is not there; line \(row + 1) of \(set.name.rawValue)_face_tid_mid.txt names it")
            }
        }
    }

    public var sampleCount: Int { self.set.images.count }

    public func origin(of index: Int) -> String { folder + set.images[index] }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        let image = try RawImage(path: origin(of: index), channels: imageShape.channels)
        let points = set.landmarks[index * 10..<(index + 1) * 10].map(Double.init)
        guard LandmarkAlignment.align(image, landmarks: points, into: pixels) else {
            throw DatasetError(
                .corruptImage, path: origin(of: index), index: index,
                "has landmarks that cannot be brought to those of a face: they are at one place")
        }
    }
}
