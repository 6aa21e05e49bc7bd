import ArgumentParser
import Cluster
import Configuration
import Foundation
import Model
import OperatorStatus
import ParameterStore
import Setup
import Tensors

/// `coordinator export`.
struct Export: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write centers and backbone as safetensors for PyTorch.",
        discussion: """
            Writes centers-*.safetensors with centers.safetensors.index.json, and backbone.safetensors with \
            InsightFace's parameter names, all of them f32. The tensors centers.00000, centers.00001, … one after the other are the rows \
            of all classes:

              index = json.load(open("centers.safetensors.index.json"))["weight_map"]
              centers = torch.cat([safe_open(f, "pt").get_tensor(k) for k, f in sorted(index.items())])

            With --int8 the centers are one file, centers-int8.safetensors, with features int8 [n, D], scales f32 [n] (a row is features * \
            scale) and labels, the classes that are not retired: a gallery for `worker identify`.

            Without --checkpoint the running cluster takes a checkpoint first.
            """)
    @Argument(help: "The directory to write, which must be empty or missing.", completion: .directory) var path: String
    @Option(help: "The checkpoint to export.", completion: .directory) var checkpoint: String?
    @Flag(
        name: [.customLong("optimizer"), .customLong("momentum")],
        help: """
            Export what the optimiser keeps too: of SGD momentum-*.safetensors and backbone-momentum.safetensors, of AdamW the same with \
            first_moment and second_moment, and age-*.safetensors.
            """)
    var optimizer = false
    @Flag(help: "Write the centers as int8 rows with a scale each, a quarter of the size. `import` does not read them.")
    var int8 = false
    @OptionGroup var connection: Connection

    /// The JSON that it prints.
    private struct Answer: Encodable {
        var directory: String
        var checkpoint: String
        var step: Int
        var classes: Int
    }

    func validate() throws {
        guard !int8 || !optimizer else { throw ValidationError("--int8 and --optimizer do not go together") }
    }

    func run() throws {
        let source = try checkpoint ?? connection.takeCheckpoint().directory
        try offline {
            let answer = try export(CheckpointReader(directory: URL(fileURLWithPath: source).standardizedFileURL.path))
            connection.print(answer) { "\(answer.classes) classes after step \(answer.step): \(answer.directory)" }
        }
    }

    private func export(_ reader: CheckpointReader) throws -> Answer {
        let directory = URL(fileURLWithPath: path).standardizedFileURL.path
        let manager = FileManager.default
        try manager.createDirectory(atPath: directory, withIntermediateDirectories: true)
        guard try manager.contentsOfDirectory(atPath: directory).isEmpty else {
            throw OfflineError("\(directory) is not empty")
        }
        let manifest = reader.manifest
        let state = optimizer ? manifest.format.state : []
        if let absent = state.first(where: { $0.format == .none }) {
            throw OfflineError(
                "\(reader.directory) has no \(absent.name) of class centers (head.momentum_storage is none): export without --momentum"
            )
        }
        let setup = try RunSetup(RunConfiguration(stored: manifest.configuration))
        let registry = try ClassRegistry(
            classCount: manifest.classCount, sliceCount: manifest.sliceCount, operationsJSON: manifest.operations)
        if int8 {
            try CenterFiles.exportBytes(
                "centers", format: manifest.format.rows, registry: registry, embeddingSize: manifest.embeddingSize,
                step: manifest.step, to: "\(directory)/centers-int8.safetensors"
            ) { try reader.path(ofSlice: $0) }
        }
        for plane in (int8 ? [] : [Plane("centers", manifest.format.rows)]) + state {
            try CenterFiles.export(
                plane.name, as: plane.name, format: plane.format, registry: registry,
                embeddingSize: plane.width(of: manifest.embeddingSize), step: manifest.step, to: directory
            ) { try reader.path(ofSlice: $0) }
        }
        if !setup.layout.segments.isEmpty {
            let planes = optimizer ? manifest.format(of: .dense(0)).state.map(\.name) : []
            for (tensor, file) in [("parameters", "backbone")] + planes.map({ ($0, "backbone-\($0)") }) {
                let values = try reader.backbone(tensor, setup.layout)
                try BackboneFile.write(
                    values, layout: setup.layout, to: "\(directory)/\(file).safetensors",
                    metadata: ["format": "pt", "step": "\(manifest.step)"])
            }
        }
        return Answer(
            directory: directory, checkpoint: reader.directory, step: manifest.step, classes: registry.classCount)
    }
}

extension CheckpointReader {
    /// The file of a slice of class centers.
    ///
    /// - Throws: `OfflineError` if the checkpoint has none.
    func path(ofSlice slice: Int) throws -> String { try path(of: .centers(slice)) }

    /// A flat vector f32 [P] of all dense slices.
    func backbone(_ name: String, _ layout: ParameterLayout) throws -> Tensor {
        let vector = Tensor(uninitialized: Float.self, shape: [layout.count])
        for slice in 0..<manifest.denseSliceCount {
            let range = layout.range(ofSlices: slice..<slice + 1, of: manifest.denseSliceCount)
            let file = try SafeTensorsFile(path(of: .dense(slice)))
            let entry = try file.reals(name)
            guard entry.shape == [range.count] else {
                throw OfflineError("\(file.path): \(name) is \(entry.shape), expected [\(range.count)]")
            }
            try file.read(
                entry, from: 0, into: UnsafeMutableBufferPointer(rebasing: vector.mutable(Float.self)[range]))
        }
        return vector
    }
}
