import Dataset
import Determinism
import Foundation
import Tensors
import Verification

/// The images of a calibration, and as many others for a check, drawn by a seed: each of another identity while there are enough.
struct CalibrationImages {
    /// f32 [n, height, width, channels].
    let calibration: Tensor
    /// f32 [n, height, width, channels]; the calibration's where there are no others.
    let check: Tensor
    /// Whether the images of the check are others.
    let isCheckApart: Bool
    /// What is not as it was asked for; what it is of stands before it.
    let warnings: [String]
    /// Of the images of the calibration, and of the check.
    let names, checkNames: [String]

    /// - Parameter check: is told how many images the calibration will have, before any is decoded.
    /// - Throws: `DatasetError` if there are no images, or one does not decode; what `check` throws.
    init(
        _ path: String, shape: ImageShape, count: Int, seed: UInt64, preprocessing: Preprocessing, threads: Int,
        check isPossible: (Int) throws -> Void
    ) throws {
        let images = try NamedImages(path, shape: shape)
        let total = images.source.sampleCount
        guard total > 0 else { throw DatasetError(.noSamples, path: path, "has no images to calibrate with") }
        try isPossible(min(count, total))
        var order = Array(0..<total)
        var random = KeyedRandom(seed: seed, purpose: .calibration)
        for last in stride(from: total - 1, to: 0, by: -1) {
            order.swapAt(last, Int(random.below(UInt64(last + 1))))
        }
        // A new identity first; then what is left, in the same order.
        var seen: Set<Int64> = []
        var (chosen, others) = ([Int](), [Int]())
        for index in order {
            if let label = images.labels?[index], !seen.insert(label).inserted {
                others.append(index)
            } else {
                chosen.append(index)
            }
            if chosen.count == 2 * count { break }
        }
        let identities = images.labels == nil ? count : seen.count
        warnings =
            (total < count ? ["has \(total) images; \(count) were asked for"] : [])
            + (identities < min(count, total) ? ["has \(identities) identities: some images show the same person"] : [])
        let drawn = Array((chosen + others).prefix(2 * count))
        let first = Array(drawn.prefix(count))
        let rest = Array(drawn.dropFirst(count))
        func decode(_ indices: [Int]) throws -> Tensor {
            try ImageEmbedder.images(images.source, indices, preprocessing: preprocessing, threads: threads)
        }
        names = first.map(images.source.origin)
        calibration = try decode(first)
        check = rest.isEmpty ? calibration : try decode(rest)
        isCheckApart = !rest.isEmpty
        checkNames = rest.isEmpty ? names : rest.map(images.source.origin)
    }
}
