import ClusterHarness
import Foundation
import Tensors

/// A new directory, removed when `body` succeeds; kept, and named in the error, when it fails.
func withDirectory<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appending(path: "partialfc-tests/\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    do {
        let result = try body(directory)
        try FileManager.default.removeItem(at: directory)
        return result
    } catch {
        throw HarnessError("\(error) (logs in \(directory.path))")
    }
}

/// Images of 12 identities, 5 each, as a folder data set of gray PGM files: identities differ by a pattern, images by noise.
func writeFolderDataset(to directory: URL) throws -> URL {
    let root = directory.appending(path: "data")
    for identity in 0..<12 {
        let folder = root.appending(path: String(format: "id%02d", identity))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for image in 0..<5 {
            var bytes = Array("P5\n16 16\n255\n".utf8)
            for y in 0..<16 {
                for x in 0..<16 {
                    let pattern = (x * (identity + 1) + y * (identity * 7 % 5 + 1)) % 16 * 15
                    bytes.append(UInt8(clamping: pattern + (x * 31 + y * 17 + image * 101) % 20))
                }
            }
            try Data(bytes).write(to: folder.appending(path: "\(image).pgm"))
        }
    }
    return root
}

/// A small training on the folder data set.
func folderTraining(_ data: URL, steps: Int, exchange: String = "features", lease: Double = 2) -> String {
    """
    data: {kind: folder, path: "\(data.path)", image_size: 16, channels: 1}
    backbone: {name: iresnet-small, embedding_size: 16, widths: [8, 8, 16, 16], dense_slices: 8}
    head: {scale: 16, m1: 1, m2: 0, m3: 0.1, sample_rate: 0.5, slices: 8, exchange: \(exchange)}
    batch: {size: 16, micro_batch: 4}
    schedule: {steps: \(steps), learning_rate: 0.05}
    evaluation: {held_out_pairs: 0}
    cluster: {lease_seconds: \(lease)}
    """
}
