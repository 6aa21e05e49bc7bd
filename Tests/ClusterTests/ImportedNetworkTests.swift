import ClusterHarness
import Foundation
import Model
import ONNX
import Tensors
import TestSupport
import Testing

/// Trainings that go on with a network from an ONNX file.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ImportedNetworkTests {
    /// The same network, once by its name and once as a graph of a file, and by other numbers of processes: the same bits.
    @Test func itTrainsAsTheSameNetworkByItsName() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            var shape = try BackboneConfiguration.named(
                "iresnet-small", channels: 1, height: 16, width: 16, embeddingSize: 16)
            (shape.widths, shape.stemWidth) = ([8, 8, 16, 16], 8)
            let layout = try ParameterLayout(shape)
            let values = layout.initialValues(in: 0..<layout.count, seed: 77)
            let tensors = directory.appending(path: "b.safetensors").path
            let model = directory.appending(path: "b.onnx").path
            try BackboneFile.write(values, layout: layout, to: tensors)
            try ONNXFile.write(try #require(layout.graph), parameters: values, to: model)

            let named = folderTraining(data, steps: 20)
            // `features.weight` is not trained by InsightFace; a file does not say so.
            let imported = named.replacing(
                "name: iresnet-small, embedding_size: 16, widths: [8, 8, 16, 16]",
                with: "embedding_size: 16, frozen: [features.weight]")
            func train(_ text: String, _ initial: String, _ world: TrainingRun.World, _ name: String) throws
                -> TrainingRun
            {
                try TrainingRun.run(
                    configuration: text, settings: ["backbone.initial=\(initial)"], world: world,
                    in: directory.appending(path: name), seconds: 120)
            }
            let reference = try train(named, tensors, .init(shards: 1, workers: 1), "named")
            #expect(reference.gap == nil && reference.losses.count == 20)
            for (index, world) in [TrainingRun.World(shards: 1, workers: 1), .init(shards: 3, workers: 2)].enumerated()
            {
                let run = try train(imported, model, world, "imported\(index)")
                let difference = run.gap ?? run.difference(from: reference)
                #expect(difference == nil, "\(world)")
            }
            // What it ends with can be used, and trained on, where the names alone would not tell what the network is.
            let result = directory.appending(path: "imported0/backbone.onnx").path
            let (graph, trained) = try ONNXFile.read(result, openHeight: 16)
            #expect(graph.outputShape == [16] && trained.array(Float.self) != values.array(Float.self))
            let names = try BackboneFile.read(
                directory.appending(path: "imported0/backbone.safetensors").path, layout: ParameterLayout(graph))
            #expect(names.array(Float.self) == trained.array(Float.self))
        }
    }
}
