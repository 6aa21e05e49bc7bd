import Determinism
import Foundation
import Inference
import Model
import ONNX
import Tensors
import TestSupport
import Testing

/// Networks in integers as ONNX files with codes between QuantizeLinear and DequantizeLinear, and back.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct QuantizedFileONNXTests {
    private func quantized(_ path: String) throws -> (FoldedNetwork, [IntegerLayer?]) {
        guard case .quantized(let network, let integers) = try ONNXFile.readNetwork(path) else {
            Issue.record("\(path) was read without integers")
            throw ONNXError(path: path, problem: "is not quantised")
        }
        return (network, integers)
    }

    @Test(arguments: [1, 2, 4]) func whatIsExportedIsReadBitForBit(groupWidth: Int) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/quantized.onnx"
        let (network, integers) = quantizedNetwork(groupWidth: groupWidth)
        #expect(network.problem(integers: integers) == nil)
        try ONNXFile.write(network, integers: integers, to: path)
        let (read, codes) = try quantized(path)
        #expect(codes == integers)
        #expect(read.layers.map(\.name) == network.layers.map(\.name))
        for (own, other) in zip(network.layers, read.layers) {
            #expect(own.weighted == other.weighted && own.first == other.first && own.second == other.second)
            #expect(own.inputs == other.inputs && own.residual == other.residual && own.extents == other.extents)
        }
        #expect(try embed(read, codes, smallImages(3)) == embed(network, integers, smallImages(3)))
        if groupWidth == 1, let keep = ProcessInfo.processInfo.environment["PFC_KEEP_ONNX"] {
            try ONNXFile.write(network, integers: integers, to: "\(keep)/qdq_exported.onnx")
        }
        let error = #expect(throws: ONNXError.self) { try ONNXFile.read(path) }
        #expect(error?.problem == "is quantised; a network in single precision is needed")
    }

    /// What onnxruntime computed below belongs to this file.
    @Test func theFileIsTheOneThatOnnxruntimeRan() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/quantized.onnx"
        let (network, integers) = quantizedNetwork()
        try ONNXFile.write(network, integers: integers, to: path)
        #expect(
            FileManager.default.contentsEqual(atPath: path, andPath: goldenFolder + "/onnx/qdq_exported.onnx"),
            "write it to Golden/onnx with PFC_KEEP_ONNX and run Golden/qdq_models.py")
    }

    /// 1/S loses S; what is kept with it gives it back.
    @Test func everyScaleComesBack() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/scales.onnx"
        let vector = Extents(channels: 4096, height: 1, width: 1)
        var random = KeyedRandom(seed: 5, purpose: .test)
        for round in 0..<8 {
            let layer = WeightedLayer(
                weights: .init(repeating: 0, count: 4096), bias: .init(repeating: 0, count: 4096), isDepthwise: true,
                window: .init(kernel: .init(1)), input: vector, output: vector)
            let scales = (0..<4096).map { _ in Float(0.01 + 1000 * random.unit()) }
            let input = Encoding(bits: 2 + round % 7, scale: Float(1 + random.unit()))
            let integer = IntegerLayer(input: input, weights: .init(repeating: 1, count: 4096), weightScales: scales)
            let network = FoldedNetwork(
                name: "scales", input: vector,
                layers: [
                    FoldedLayer(name: "layer", operation: .weighted(layer), inputs: [0], extents: vector)
                ], output: 1)
            try ONNXFile.write(network, integers: [integer], to: path)
            #expect(try quantized(path).1 == [integer])
        }
    }

    private func lines() throws -> [String: [Float]] {
        let text = try String(contentsOfFile: goldenFolder + "/qdq.txt", encoding: .utf8)
        return Dictionary(
            uniqueKeysWithValues: text.split(separator: "\n").map {
                let words = $0.split(separator: " ")
                return (String(words[0]), words.dropFirst().compactMap { Float($0) })
            })
    }

    /// What onnxruntime computes for every layer from the same codes is within one code of ours.
    @Test func layersAreOnnxruntimesWithinOneCode() throws {
        let golden = try lines()
        let (network, integers) = quantizedNetwork()
        let (kernels, blocks) = (try InferenceKernels.best(), ParallelBlocks(threads: 1))
        func values(_ value: Int) throws -> Tensor {
            guard value > 0 else { return smallImages(2) }
            let name = network.layers[value - 1].name
            let found = try #require(
                value == network.output
                    ? golden["embedding"]
                    : ["second", "add", "first"].lazy.compactMap { golden["\(name).\($0)"] }.first ?? golden[name])
            let extents = network.extents(of: value)
            try #require(found.count == 2 * extents.count)
            return Tensor(found, shape: [2, extents.pixels, extents.channels])
        }
        /// Codes that are not padded.
        func codes(_ x: Tensor, _ channels: Int, _ encoding: Encoding) -> [Int] {
            let codes = LayerRunner.encode(x, channels: channels, encoding, kernels: kernels, blocks: blocks)
            let stride = codes.shape[1]
            return codes.array(UInt8.self).enumerated().filter { $0.offset % stride < channels }
                .map { Int($0.element) - encoding.byteOffset }
        }
        for (position, layer) in network.layers.enumerated() {
            var inputs = try layer.inputs.map(values)
            if let integer = integers[position] {
                // The codes are the same in the first place.
                let source = layer.inputs[0] == 0 ? "data" : try #require(name(layer.inputs[0], network, golden))
                let theirs = try #require(golden["\(source).codes"]).map { Int($0) - 128 }
                let channels = network.extents(of: layer.inputs[0]).channels
                let ours = codes(inputs[0], channels, integer.input)
                #expect(zip(ours, theirs).allSatisfy { abs($0 - $1) <= 1 }, "\(layer.name)")
                let stride = (channels + 3) / 4 * 4
                var bytes = [UInt8](
                    repeating: UInt8(integer.input.zero + integer.input.byteOffset), count: 2 * theirs.count * stride)
                bytes.removeLast(bytes.count - theirs.count / channels * stride)
                for (index, code) in theirs.enumerated() {
                    bytes[index / channels * stride + index % channels] = UInt8(code + integer.input.byteOffset)
                }
                inputs[0] = Tensor(bytes, shape: [theirs.count / channels, stride])
            }
            let runner = LayerRunner(
                layer, inputs: layer.inputs.map(network.extents), integers: integers[position], kernels: kernels,
                blocks: blocks)
            let ours = runner.run(inputs, residual: try layer.residual.map(values), samples: 2)
            let theirs = try values(position + 1)
            for (reader, integer) in zip(network.layers, integers) where reader.inputs == [position + 1] {
                guard let encoding = integer?.input else { continue }
                let channels = layer.extents.channels
                #expect(
                    zip(codes(ours, channels, encoding), codes(theirs, channels, encoding))
                        .allSatisfy { abs($0 - $1) <= 1 }, "\(layer.name)")
            }
            let largest = theirs.array(Float.self).map(abs).max() ?? 0
            let error = zip(ours.array(Float.self), theirs.array(Float.self)).map { abs($0 - $1) }.max() ?? 1
            #expect(largest > 0.1 && error < 1e-5 * largest, "\(layer.name) \(error) of \(largest)")
        }
    }

    /// The name of a value in the file.
    private func name(_ value: Int, _ network: FoldedNetwork, _ golden: [String: [Float]]) -> String? {
        let name = network.layers[value - 1].name
        return ["\(name).second", "\(name).add", "\(name).first", name].first { golden[$0] != nil }
    }

    /// Files of onnxruntime's quantize_static, with codes at additions and means too: those round there, we do not.
    @Test(arguments: ["tensor_u8", "channel_u8", "channel_s8"]) func filesOfOnnxruntime(name: String) throws {
        let theirs = try #require(try lines()[name])
        let (network, integers) = try quantized("\(goldenFolder)/onnx/qdq_\(name).onnx")
        #expect(integers.compactMap(\.self).count == 4)
        #expect(network.layers.filter { $0.weighted != nil }.map(\.name) == ["first", "deep", "joined", "last"])
        let ours = try embed(network, integers, smallImages(3))
        try #require(ours.count == theirs.count)
        let largest = theirs.map(abs).max() ?? 0
        let error = zip(ours, theirs).map { abs($0 - $1) }.max() ?? 1
        #expect(error < 0.02 * largest, "\(error) of \(largest)")
    }

    @Test(arguments: [
        ("lowest", "Conv layer", "has the code -128.0"), ("axis", "Conv layer", "along another axis than its outputs"),
        ("scale", "DequantizeLinear decode", "not those of the QuantizeLinear"),
        ("codes", "MaxPool pool", "codes, which only DequantizeLinear reads"),
    ])
    func whatHasNoIntegerFormIsRefusedByName(name: String, node: String, problem: String) throws {
        let error = #expect(throws: ONNXError.self) {
            try ONNXFile.readNetwork("\(goldenFolder)/onnx/qdq_refused_\(name).onnx")
        }
        #expect(
            error?.problem.hasPrefix(node) == true && error?.problem.contains(problem) == true,
            "\(error?.problem ?? "")")
    }

    /// Bytes changed at random, and cut files: refused in words, or a network that can be run. Prints its seed.
    @Test func mutations() throws {
        let seed = UInt64(ProcessInfo.processInfo.environment["PFC_FUZZ_SEED"] ?? "") ?? UInt64.random(in: 0..<1 << 32)
        let count = Int(ProcessInfo.processInfo.environment["PFC_FUZZ_COUNT"] ?? "") ?? 300
        print("mutations of quantised ONNX files: PFC_FUZZ_SEED=\(seed)")
        var random = KeyedRandom(seed: seed, purpose: .test)
        func next(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }
        let folder = try TemporaryFolder()
        let (network, integers) = quantizedNetwork()
        try ONNXFile.write(network, integers: integers, to: folder.path + "/whole.onnx")
        let originals = try [
            folder.path + "/whole.onnx", goldenFolder + "/onnx/qdq_channel_u8.onnx",
            goldenFolder + "/onnx/qdq_refused_axis.onnx",
        ].map { [UInt8](try Data(contentsOf: URL(fileURLWithPath: $0))) }
        var refused = 0
        for round in 0..<count {
            var bytes = originals[round % originals.count]
            for _ in 0...next(4) { bytes[next(bytes.count)] = UInt8(next(256)) }
            if next(10) == 0 { bytes.removeLast(next(bytes.count)) }
            let path = try folder.write(bytes, to: "mutated.onnx")
            do throws(ONNXError) {
                if case .quantized(let network, let integers) = try ONNXFile.readNetwork(path) {
                    #expect(network.problem(integers: integers) == nil)
                }
            } catch {
                refused += 1
                #expect(!error.problem.isEmpty)
            }
        }
        #expect(refused > 0)
    }
}
