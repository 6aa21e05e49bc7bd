import ArgumentParser
import Cluster
import Configuration
import Determinism
import Foundation
import Model
import ParameterStore
import RunData
import Setup
import Tensors

/// `coordinator import`.
struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a checkpoint of weights from elsewhere, to begin a run with.",
        discussion: """
            Reads what `export` writes, a head as a single safetensors file (a matrix [classes, embedding size] called \
            centers or weight), and a backbone with InsightFace's names. What is left out starts as it would in a new \
            run; momentum, or the moments of AdamW, are zero. Numbers are rounded to nearest if the run keeps them in fewer bits. Then: coordinator serve --config CONFIG --resume OUTPUT.
            """)
    @Option(help: "The YAML file that describes the run to be.", completion: .file(extensions: ["yaml", "yml"]))
    var config: String
    @Option(
        name: .customLong("set"), parsing: .singleValue,
        help: ArgumentHelp("Override a key of the configuration; may be repeated.", valueName: "section.key=value"))
    var settings: [String] = []
    @Option(help: "Centers: an exported directory, an index file, or a safetensors file.", completion: .file())
    var centers: String?
    @Option(help: "Momentum of the centers, likewise.", completion: .file()) var momentum: String?
    @Option(help: "A safetensors file of the backbone.", completion: .file(extensions: ["safetensors"]))
    var backbone: String?
    @Option(help: "A safetensors file of the backbone's momentum.", completion: .file(extensions: ["safetensors"]))
    var backboneMomentum: String?
    @Option(help: "The checkpoint's directory to write, empty or missing.", completion: .directory) var output: String
    @Flag(help: "Print JSON.") var json = false

    /// The JSON that it prints.
    private struct Answer: Encodable {
        var directory: String
        var classes: Int
        var embeddingSize: Int
    }

    func run() throws {
        try offline {
            let setup = try RunSetup(
                RunConfiguration(file: config, settings: settings).countingData().decided(like: nil))
            let directory = URL(fileURLWithPath: output).standardizedFileURL.path
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            guard try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty else {
                throw OfflineError("\(directory) is not empty")
            }
            try checkMomentum(setup)
            var files = try writeCenters(setup, directory)
            files += try writeBackbone(setup, directory)
            try CheckpointManifest(step: -1, operations: [], setup: setup, files: files).write(to: directory)
            let answer = Answer(
                directory: directory, classes: setup.head.classCount, embeddingSize: setup.head.embeddingSize)
            if json {
                try StatusJSON.print(answer)
            } else {
                print("\(answer.classes) classes × \(answer.embeddingSize): \(directory)")
            }
        }
    }

    /// Whether the run takes up the momentum that is given.
    private func checkMomentum(_ setup: RunSetup) throws {
        for (option, path) in [("--momentum", momentum), ("--backbone-momentum", backboneMomentum)] where path != nil {
            guard case .sgd(let sgd) = setup.head.optimizer else {
                throw OfflineError(
                    "\(option): the run trains with AdamW, which has no momentum; its moments begin with the run, as its bias correction does"
                )
            }
            if option == "--momentum", sgd.storage == .none {
                throw OfflineError(
                    "\(option): the run keeps no momentum of class centers (head.momentum_storage is none)")
            }
        }
    }

    private func writeCenters(_ setup: RunSetup, _ directory: String) throws -> [CheckpointManifest.File] {
        let layout = try setup.classes(after: []).layout
        let size = setup.head.embeddingSize
        func source(_ path: String?, _ stem: String) throws -> RowSource? {
            guard let path else { return nil }
            let source = try RowSource(path, stem: stem)
            guard source.rowCount == layout.classCount, source.width == size else {
                throw OfflineError(
                    "\(path) has \(source.rowCount) rows of \(source.width), the run \(layout.classCount) classes of \(size)"
                )
            }
            return source
        }
        let rows = try source(centers, "centers")
        let momentum = try source(momentum, "momentum")
        let format = setup.head.format
        let initial: CenterSource =
            setup.configuration.head.initial.isEmpty
            ? .random(seed: setup.configuration.seed) : .safeTensors(path: setup.configuration.head.initial)
        let parallel = ParallelBlocks(threads: ProcessInfo.processInfo.activeProcessorCount)
        return try (0..<layout.sliceCount).map { slice in
            let classes = layout.classes(of: slice)
            let table = try CenterTable(
                layout: layout, embeddingSize: size, format: format, slices: [slice],
                source: rows == nil ? initial : .zeros, parallel: parallel)
            try table.withRows(0..<classes.count, of: slice) { planes in
                var row = 0
                for range in classes.ranges {
                    try rows?.read(range, as: format.rows, into: planes[0], row: row)
                    try momentum?.read(range, as: setup.head.optimizer.storage, into: planes[1], row: row)
                    row += range.count
                }
            }
            return try CheckpointWriter(directory: directory).write(slice: slice, of: table)
        }
    }

    private func writeBackbone(_ setup: RunSetup, _ directory: String) throws -> [CheckpointManifest.File] {
        let layout = setup.layout
        let count = setup.configuration.denseSliceCount
        func vector(_ path: String) throws -> Tensor {
            try BackboneFile.read(path, layout: layout)
        }
        let all = SliceSet(0..<count)
        let initial = backbone ?? setup.initialBackbone
        let start = try DenseShard(
            layout: layout, slices: all, of: count, seed: setup.configuration.seed, initial: initial,
            optimizer: setup.optimizer, microBatchCount: setup.configuration.microBatchCount)
        let state = try backboneMomentum.map { [try vector($0)] } ?? Array(start.planes.dropFirst())
        return try (0..<count).map { slice in
            let range = layout.range(ofSlices: slice..<slice + 1, of: count)
            return try CheckpointWriter(directory: directory).write(
                denseSlice: slice, format: start.format, planes: ([start.parameters] + state).map { $0.rows(range) })
        }
    }
}
