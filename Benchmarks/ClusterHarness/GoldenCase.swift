internal import Foundation
public import Tensors

/// One golden case: inputs of a single step of the head and its answers in double precision.
public struct GoldenCase: Sendable {
    public let name: String
    public let path: String
    public let file: SafeTensors

    /// The cases in `directory`, by name.
    ///
    /// - Throws: `SafeTensorsError` if a file cannot be read.
    public static func all(in directory: String) throws -> [GoldenCase] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return try names.filter { $0.hasSuffix(".safetensors") }.sorted().map { name in
            let path = directory + "/" + name
            return GoldenCase(
                name: String(name.dropLast(".safetensors".count)), path: path, file: try SafeTensors(contentsOf: path))
        }
    }

    /// Where golden cases lie: `GOLDEN_DIR`, or `../shared/golden` beside the working directory.
    public static var directory: String {
        ProcessInfo.processInfo.environment["GOLDEN_DIR"] ?? "../shared/golden"
    }

    /// B, the number of features.
    public var batchSize: Int { file.tensors["features"]?.shape[0] ?? 0 }

    /// A number of the case's metadata.
    public func number(_ key: String) -> Double { file.metadata[key].flatMap(Double.init) ?? .nan }

    /// A run of one step of the head alone on the case's features, with its centers, momentum and sampled classes.
    public func configuration(microBatch: Int, exchange: String, shards: Int, workers: Int) -> String {
        let centers = file.tensors["centers"]?.shape ?? [0, 0]
        return """
            data: {kind: features, path: "\(path)", classes: \(centers[0])}
            backbone: {name: none, embedding_size: \(centers[1])}
            head:
              scale: \(number("scale"))
              m1: \(number("m1"))
              m2: \(number("m2"))
              m3: \(number("m3"))
              interclass_filter: \(number("filter"))
              sample_rate: \(number("sample_rate"))
              slices: 8
              exchange: \(exchange)
              initial: "\(path)"
              sampled: "\(path)"
            batch: {size: \(batchSize), micro_batch: \(microBatch)}
            optimizer: {momentum: \(number("momentum")), weight_decay: \(number("weight_decay"))}
            schedule: {steps: 1, learning_rate: \(number("lr")), warmup: 0, decay_power: 0}
            evaluation: {held_out_pairs: 0}
            cluster: {shards: \(shards), workers: \(workers)}
            """
    }

    /// A tensor of the case in double precision.
    public func values(_ name: String) -> [Double] {
        guard let tensor = file.tensors[name] else { return [] }
        return switch tensor.dtype {
        case .f32: tensor.buffer(Float.self).map(Double.init)
        case .f64: tensor.array(Double.self)
        case .i64: tensor.buffer(Int64.self).map(Double.init)
        case .i32: tensor.buffer(Int32.self).map(Double.init)
        case .u8: tensor.buffer(UInt8.self).map(Double.init)
        case .bf16: tensor.array(UInt16.self).map { Double(Float(bitPattern: UInt32($0) << 16)) }
        }
    }

    /// Relative error in the Frobenius norm: |a − b| / |b|.
    public static func relativeError(_ a: [Double], _ b: [Double]) -> Double {
        guard a.count == b.count else { return .infinity }
        var difference = 0.0
        var norm = 0.0
        for (x, y) in zip(a, b) {
            difference += (x - y) * (x - y)
            norm += y * y
        }
        return norm == 0 ? difference.squareRoot() : (difference / norm).squareRoot()
    }
}
