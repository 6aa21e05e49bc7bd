import Configuration
import Foundation
import Model
import ONNX
import Setup
import Tensors
import TestSupport
import Testing

/// `backbone.initial` names an ONNX file: its network is the one that is trained.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ImportedNetworkTests {
    private let folder: TemporaryFolder
    private let path: String
    private let graph: Graph
    private let values: Tensor

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path + "/n.onnx"
        let layout = try ParameterLayout(
            .named("iresnet-small", channels: 1, height: 16, width: 16, embeddingSize: 24))
        graph = try #require(layout.graph)
        values = layout.initialValues(in: 0..<layout.count, seed: 5)
        try ONNXFile.write(graph, parameters: values, to: path)
    }

    private func setup(_ settings: String...) throws -> RunSetup {
        let yaml = """
            data: {classes: 100, samples: 1000, image_size: 16, channels: 1}
            backbone: {initial: "\(path)", embedding_size: 24}
            """
        return try RunSetup(RunConfiguration(yaml: yaml, settings: settings))
    }

    private func problem(_ settings: String...) -> String {
        do {
            let yaml = """
                data: {classes: 100, samples: 1000, image_size: 16, channels: 1}
                backbone: {initial: "\(path)", embedding_size: 24}
                """
            _ = try RunSetup(RunConfiguration(yaml: yaml, settings: settings))
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func theNetworkIsThatOfTheFile() throws {
        let setup = try setup()
        #expect(setup.layout.isImported && setup.initialBackbone.isEmpty)
        #expect(setup.layout.segments.map(\.name) == graph.parameters.map(\.name))
        #expect(setup.backbone.embeddingSize == 24 && setup.backbone.inputHeight == 16)
        // In parts, as shards take it.
        let parts = (0..<7).map { setup.layout.range(ofSlices: $0..<$0 + 1, of: 7) }
        #expect(
            parts.flatMap { setup.layout.initialValues(in: $0, seed: 1).array(Float.self) }
                == values.array(Float.self))
        let frozen = try self.setup("backbone.frozen=[conv1.*]").layout
        #expect(frozen["conv1.weight"]?.kind == .frozen && frozen["fc.weight"]?.kind == .parameter)
        #expect(problem("backbone.frozen=[nothing]").contains("no parameter"))
    }

    @Test func membersAgreeOnTheFile() throws {
        let first = try setup()
        let graph = try #require(first.configuration.backbone.graph)
        #expect(graph.count == 32)
        // What members receive, and what a run that goes on has stored.
        let text = first.configuration.canonicalText
        #expect(
            try RunSetup(RunConfiguration(stored: text)).configuration.fingerprint == first.configuration.fingerprint)
        let others = values.array(Float.self)
        let changed = Tensor([others[0] + 1] + others.dropFirst())
        try ONNXFile.write(self.graph, parameters: changed, to: path)
        let error = #expect(throws: ConfigurationError.self) { try RunSetup(RunConfiguration(stored: text)) }
        #expect(error?.key == "backbone.initial" && error?.problem.contains("another file here") == true)
        #expect(try setup().configuration.fingerprint != first.configuration.fingerprint)
        // Runs without such a file have the text that they had before there was the key.
        let plain = try RunSetup(RunConfiguration(yaml: "data: {classes: 100, samples: 1000}"))
        #expect(!plain.configuration.canonicalText.contains("\"graph\""))
    }

    @Test func whatDoesNotFitIsRefused() throws {
        #expect(problem() == "accepted")
        #expect(problem("data.image_size=32").contains("takes [1, 16, 16]"))
        #expect(problem("data.channels=3").contains("takes [1, 16, 16]"))
        #expect(problem("backbone.embedding_size=32").contains("gives [24] for each image"))
        #expect(problem("backbone.depths=[1,1,1,1]").contains("do not go with the network of a file"))
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
        #expect(problem().contains("n.onnx"))
        try FileManager.default.removeItem(atPath: path)
        #expect(problem().contains("n.onnx"))
    }
}
