public import Dataset
internal import Determinism
internal import Foundation

/// The images of a source that decode: every one is tried before the first is used.
public struct DecodableImages: ImageSource {
    /// An image that is left out, and why.
    public struct LeftOut: Sendable, Hashable, Codable {
        /// Its index in the source.
        public var index: Int
        public var name: String
        public var problem: String
    }

    private let source: any ImageSource
    /// The index in the source of each image.
    public let indices: [Int]
    public let leftOut: [LeftOut]

    /// - Parameter progress: is told how many images were tried.
    public init(of source: any ImageSource, threads: Int, progress: (Int) -> Void = { _ in }) {
        self.source = source
        var leftOut: [LeftOut] = []
        let block = 1024
        for start in stride(from: 0, to: source.sampleCount, by: block) {
            let range = start..<min(source.sampleCount, start + block)
            let failures = Failures()
            ParallelBlocks(threads: max(1, threads)).forEach(range.count) { place, _ in
                var pixels = [UInt8](repeating: 0, count: source.imageShape.count)
                var problem: DatasetError?
                pixels.withUnsafeMutableBufferPointer { pixels in
                    do throws(DatasetError) { try source.image(at: start + place, into: pixels) } catch {
                        problem = error
                    }
                }
                if let problem { failures.add(start + place, problem) }
            }
            leftOut += failures.all.map { index, error in
                LeftOut(index: index, name: source.origin(of: index), problem: error.message)
            }
            progress(range.upperBound)
        }
        self.leftOut = leftOut
        let missing = Set(leftOut.map(\.index))
        indices = (0..<source.sampleCount).filter { !missing.contains($0) }
    }

    public var sampleCount: Int { indices.count }
    public var imageShape: ImageShape { source.imageShape }

    public func origin(of index: Int) -> String { source.origin(of: indices[index]) }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try source.image(at: indices[index], into: pixels)
    }

    /// Writes the images that are left out, a line each: index, name, problem.
    ///
    /// - Throws: `DatasetError` if the file cannot be written.
    public func writeLeftOut(to path: String) throws(DatasetError) {
        var text = "index\tname\tproblem\n"
        for image in leftOut {
            let fields = [image.name, image.problem].map { field in
                String(field.map { $0 == "\t" || $0.isNewline ? "\u{FFFD}" : $0 })
            }
            text += "\(image.index)\t\(fields[0])\t\(fields[1])\n"
        }
        do { try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(error)")
        }
    }
}
