import Determinism
import Foundation
import Inference
import Quantization
import Tensors
import TestSupport
import Testing

/// Scales against Tests/Golden/easyquant.py, which has the paper's algorithm in NumPy and nothing else in common.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EasyQuantGoldenTests {
    @Test(arguments: [(7, true), (7, false), (4, true), (4, false)], WeightObjective.allCases)
    func scalesAreNumPys(bits: (Int, zeroPoint: Bool), objective: WeightObjective) throws {
        let (bits, zeroPoint) = bits
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../Golden/easyquant.txt")
        let prefix = "\(bits) \(zeroPoint ? 1 : 0) \(objective.rawValue) "
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix(prefix) }
        var options = QuantizationOptions()
        options.bits = bits
        options.zeroPoint = zeroPoint
        options.objective = objective
        options.places = nil
        let result = try Quantizer(
            smallNetwork(), options: options, kernels: try .best(), blocks: ParallelBlocks(threads: 2)
        ).run(smallImages(6))
        try #require(lines.count == result.integers.count)
        for (line, integers) in zip(lines, result.integers) {
            let words = line.split(separator: " ")
            let integers = try #require(integers)
            let expected = try words.dropFirst(6).map { try #require(Float($0)) }
            let scale = try #require(Float(words[4]))
            #expect(abs(integers.input.scale / scale - 1) < 1e-5, "\(words[3]) \(integers.input)")
            #expect(integers.input.zero == Int(words[5]), "\(words[3])")
            for (own, other) in zip(integers.weightScales, expected) {
                #expect(abs(own / other - 1) < 1e-5, "\(words[3]) \(own) \(other)")
            }
        }
    }
}
