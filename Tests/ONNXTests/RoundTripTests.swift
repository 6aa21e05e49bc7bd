import Foundation
import Model
import ONNX
import Tensors
import TestSupport
import Testing

/// What is exported is read again, and files of others.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RoundTripTests {
    private func values(_ count: Int) -> Tensor {
        Tensor((0..<count).map { Float(($0 &* 2_654_435_761) % 1009) / 1009 + 0.1 })
    }

    @Test(arguments: ["iresnet-small", "iresnet18", "mbf"]) func exportAndImport(name: String) throws {
        let folder = try TemporaryFolder()
        let layout = try ParameterLayout(BackboneConfiguration.named(name))
        let graph = try #require(layout.graph)
        let parameters = values(layout.count)
        let path = folder.path + "/b.onnx"
        try ONNXFile.write(graph, parameters: parameters, to: path)
        let (read, same) = try ONNXFile.read(path)
        let kept = graph.nodes.filter { $0.operation != .dropout }
        #expect(read.nodes.map(\.name) == kept.map(\.name))
        #expect(read.nodes.map(\.operation.title) == kept.map(\.operation.title))
        #expect(read.parameters.map(\.name) == graph.parameters.map(\.name))
        #expect(read.parameters.map(\.shape) == graph.parameters.map(\.shape))
        #expect(read.inputShape == graph.inputShape && read.outputShape == graph.outputShape)
        #expect(same.array(Float.self) == parameters.array(Float.self))
        if let keep = ProcessInfo.processInfo.environment["PFC_KEEP_ONNX"] {
            try ONNXFile.write(graph, parameters: parameters, to: "\(keep)/\(name).onnx")
            try ONNXFile.write(graph, parameters: parameters, to: "\(keep)/\(name)_norm.onnx", withNormalization: true)
        }
    }

    @Test(.enabled(if: dataDirectory != nil), arguments: ["b1_opset10", "dyn_opset12"])
    func filesOfOthers(name: String) throws {
        let path = try #require(dataDirectory) + "/models/mobilefacenet_\(name).onnx"
        let (graph, parameters) = try ONNXFile.read(path)
        #expect(graph.inputShape == [3, 112, 112])
        #expect(graph.outputShape == [128])
        #expect(graph.nodes.filter { if case .convolution = $0.operation { true } else { false } }.count == 51)
        #expect(parameters.count == 989_952)
        if let keep = ProcessInfo.processInfo.environment["PFC_KEEP_ONNX"] {
            try ONNXFile.write(graph, parameters: parameters, to: "\(keep)/\(name).onnx")
        }
    }

    /// What Golden/onnx_models.py has PyTorch's exporters write.
    @Test(arguments: ["script_17", "dynamo_18"]) func whatExportersWriteOutIsOneOperator(exporter: String) throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Golden/onnx").path
        let padded = try ONNXFile.read("\(folder)/pad_\(exporter).onnx").graph
        guard case .convolution(let convolution) = padded.nodes[0].operation else {
            Issue.record("the first node is \(padded.nodes[0].operation.title)")
            return
        }
        #expect(convolution.padding == .init(top: 3, left: 1, bottom: 4, right: 2))
        #expect(padded.nodes.count == 2 && padded.inputShape == [3, 8, 6])
        let gelu = try ONNXFile.read("\(folder)/gelu_\(exporter).onnx").graph
        #expect(gelu.nodes.map(\.operation.title) == ["convolution", "gelu", "reshape"])
    }

    /// The same from before operator set 17, when layer normalisations were written out; and which constants are trained.
    @Test(arguments: [11, 16]) func layerNormalizationsWrittenOutAreOneOperator(opset: Int) throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Golden/onnx").path
        let (graph, parameters) = try ONNXFile.read("\(folder)/normalized_script_\(opset).onnx")
        #expect(
            graph.nodes.map(\.operation.title) == [
                "multiply", "convolution", "multiply", "add", "layer normalisation", "reshape", "transposition",
                "layer normalisation", "transposition", "layer normalisation", "multiply", "layer normalisation",
                "reshape",
            ])
        let layout = ParameterLayout(graph)
        var found: [(weight: [Int], hasBias: Bool, epsilon: Float)] = []
        for node in graph.nodes {
            guard case .layerNormalization(let weight, let bias, let epsilon) = node.operation else { continue }
            found.append((graph[weight].shape, bias != nil, epsilon))
        }
        #expect(found.map(\.weight) == [[4, 6, 4], [4], [24], [24]])
        #expect(found.map(\.hasBias) == [true, true, false, false])
        #expect(found.map(\.epsilon) == [1e-3, 1e-5, 1e-5, 1e-5])
        let trained = layout.segments.filter { $0.kind == .parameter }.map(\.name)
        #expect(
            Set(trained) == [
                "convolution.weight", "scale", "shift", "whole.weight", "whole.bias", "channels.weight",
                "channels.bias", "unbiased.weight",
            ])
        // What is done to the image, a single number, and ones.
        let frozen = layout.segments.filter { $0.kind == .frozen }
        #expect(frozen.map { parameters.rows($0.range).array(Float.self)[0] }.sorted() == [0.5, 1, 3])
    }

    /// Bytes changed at random, and cut files: read or refused. Prints its seed.
    @Test func mutations() throws {
        let seed = UInt64(ProcessInfo.processInfo.environment["PFC_FUZZ_SEED"] ?? "") ?? UInt64.random(in: 0..<1 << 32)
        let count = Int(ProcessInfo.processInfo.environment["PFC_FUZZ_COUNT"] ?? "") ?? 300
        print("mutations of ONNX files: PFC_FUZZ_SEED=\(seed)")
        var state = seed | 1
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(truncatingIfNeeded: (state >> 33) % UInt64(bound))
        }
        let folder = try TemporaryFolder()
        let layout = try ParameterLayout(
            BackboneConfiguration.named("iresnet-small", height: 16, width: 16, embeddingSize: 4))
        let whole = folder.path + "/whole.onnx"
        try ONNXFile.write(try #require(layout.graph), parameters: values(layout.count), to: whole)
        let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: whole)))
        // Nodes stand first, where structure is; weights are the rest.
        let structure = min(original.count, 8192)
        var refused = 0
        for _ in 0..<count {
            var bytes = original
            for _ in 0...next(4) { bytes[next(structure)] = UInt8(next(256)) }
            if next(10) == 0 { bytes.removeLast(next(bytes.count)) }
            do { _ = try ONNXFile.read(folder.write(bytes, to: "mutated.onnx")) } catch is ONNXError { refused += 1 }
        }
        #expect(refused > 0)
    }
}
