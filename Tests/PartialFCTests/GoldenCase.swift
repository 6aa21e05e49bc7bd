import Foundation
import Model
import ParameterStore
import Tensors
import TestSupport
import Testing

/// One file of the golden directory.
struct GoldenCase: Sendable, CustomStringConvertible {
    var name: String
    var path: String
    var file: SafeTensors
    var description: String { name }

    static let names = [
        "arcface-full", "arcface-sampled", "combined-sampled", "cosface-full", "cosface-sampled", "filtered-sampled",
        "odd-sizes", "positives-only", "single-sample", "softmax-plain", "sphereface-full", "trained-hard",
    ]

    /// GOLDEN_DIR, or ../shared/golden beside the package.
    static var directory: String {
        if let path = ProcessInfo.processInfo.environment["GOLDEN_DIR"] { return path }
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return package.deletingLastPathComponent().appendingPathComponent("shared/golden").path
    }

    static var isAvailable: Bool {
        let found = FileManager.default.fileExists(atPath: directory)
        if !found { print("golden cases skipped: \(directory) is missing; set GOLDEN_DIR") }
        return found
    }

    init(_ name: String) throws {
        self.name = name
        path = "\(Self.directory)/\(name).safetensors"
        file = try SafeTensors(contentsOf: path)
    }

    func number(_ key: String) throws -> Double {
        try #require(file.metadata[key].flatMap(Double.init), "\(path) has no number \(key) in its metadata")
    }

    func doubles(_ name: String) throws -> [Double] { try file.tensor(name, .f64, in: path).array(Double.self) }
    var features: Tensor { get throws { try file.tensor("features", .f32, in: path) } }
    var labels: [Int64] { get throws { try file.tensor("labels", .i64, in: path).array(Int64.self) } }
    var sampled: [Int64] { get throws { try file.tensor("sampled", .i64, in: path).array(Int64.self) } }

    func configuration(slices: Int) throws -> HeadConfiguration {
        let centers = try file.tensor("centers", .f32, in: path)
        return HeadConfiguration(
            classCount: centers.shape[0], embeddingSize: centers.shape[1], sliceCount: slices,
            scale: try number("scale"),
            margins: HeadMargins(m1: try number("m1"), m2: try number("m2"), m3: try number("m3")),
            interclassFilter: try number("filter"), sampleRate: try number("sample_rate"),
            optimizer: .sgd(
                .init(momentum: Float(try number("momentum")), weightDecay: Float(try number("weight_decay")))))
    }
}

extension HeadConfiguration {
    /// Keeps rows and momentum of SGD like this.
    mutating func keep(_ format: TableFormat) {
        storage = format.rows
        guard case .sgd(var sgd) = optimizer else { return }
        sgd.storage = format.momentum
        optimizer = .sgd(sgd)
    }
}

/// |actual − expected| / |expected|, Frobenius.
func relativeError(_ actual: [Double], _ expected: [Double]) -> Double {
    if actual.count != expected.count { return .infinity }
    let difference = zip(actual, expected).reduce(0.0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let length = expected.reduce(0.0) { $0 + $1 * $1 }
    return (difference / max(length, 1e-300)).squareRoot()
}

func relativeError(_ actual: [Float], _ expected: [Double]) -> Double {
    relativeError(actual.map(Double.init), expected)
}
