internal import Determinism
public import Foundation
internal import Tensors

/// Data sets that are made, not downloaded.
public enum SyntheticData {
    /// Images of `identities` identities, 5 each, as a folder data set of gray PGM files of 16×16 pixels in `directory/data`: identities
    /// differ by a pattern, images by noise.
    ///
    /// - Returns: the folder.
    /// - Throws: if the files cannot be written.
    public static func writeFolder(to directory: URL, identities: Int = 12) throws -> URL {
        let root = directory.appending(path: "data")
        for identity in 0..<identities {
            let folder = root.appending(path: "id" + (identity < 10 ? "0" : "") + "\(identity)")
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

    /// Features with labels for training a head alone: `data.kind: features`.
    ///
    /// Values are uniform in [-1, 1), labels uniform over the classes, both by `seed`.
    ///
    /// - Parameter poison: samples whose first value is not a number.
    /// - Throws: if the file cannot be written.
    public static func writeFeatures(
        to path: URL, samples: Int, size: Int, classes: Int, seed: UInt64, poison: Set<Int> = []
    ) throws {
        var random = KeyedRandom(seed: seed, purpose: .test)
        var values = [Float](repeating: 0, count: samples * size)
        for index in values.indices { values[index] = Float(random.unit() * 2 - 1) }
        for sample in poison { values[sample * size] = .nan }
        try write(values, labels: (0..<samples).map { _ in Int64(random.below(UInt64(classes))) }, size: size, to: path)
    }

    /// Features that look like their class: a direction per class, and noise of `noise` times its length.
    ///
    /// - Parameter present: how many of the classes have samples; these are spread over all of them.
    /// - Throws: if the file cannot be written.
    public static func writeClusters(
        to path: URL, samples: Int, size: Int, classes: Int, present: Int, noise: Double = 0.5, seed: UInt64
    ) throws {
        var random = KeyedRandom(seed: seed, purpose: .test)
        let ids = (0..<present).map { _ in Int64(random.below(UInt64(classes))) }
        let directions = (0..<present * size).map { _ in random.unit() * 2 - 1 }
        var values: [Float] = []
        let labels = (0..<samples).map { _ in
            let index = Int(random.below(UInt64(present)))
            for d in 0..<size { values.append(Float(directions[index * size + d] + noise * (random.unit() * 2 - 1))) }
            return ids[index]
        }
        try write(values, labels: labels, size: size, to: path)
    }

    /// Class centers to start from, in random directions and of length 1: `head.initial`.
    ///
    /// - Throws: if the file cannot be written.
    public static func writeCenters(to path: URL, classes: Int, size: Int, seed: UInt64) throws {
        var random = KeyedRandom(seed: seed, purpose: .test)
        var values: [Float] = []
        for _ in 0..<classes {
            let row = (0..<size).map { _ in random.unit() * 2 - 1 }
            let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
            values += row.map { Float($0 / length) }
        }
        try SafeTensors(tensors: ["centers": Tensor(values, shape: [classes, size])]).write(to: path.path)
    }

    private static func write(_ values: [Float], labels: [Int64], size: Int, to path: URL) throws {
        try FileManager.default.createDirectory(
            at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
        try SafeTensors(tensors: ["features": Tensor(values, shape: [labels.count, size]), "labels": Tensor(labels)])
            .write(to: path.path)
    }
}
