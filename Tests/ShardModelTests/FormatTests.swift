import Cluster
import Configuration
import Foundation
import Model
import ParameterStore
import Setup
import ShardModel
import ShardServer
import StepProtocol
import Tensors
import TestSupport
import Testing

/// Shards that keep rows and momentum in every format, without steps.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct FormatTests {
    private static let formats: [TableFormat] = [NumberFormat.f32, .bf16].flatMap { rows in
        NumberFormat.allCases.map { TableFormat(rows: rows, momentum: $0) }
    }
    private let classes = 51
    private let size = 6

    /// A run whose initial rows and momentum come from a file.
    private func setup(_ format: TableFormat, _ folder: String) throws -> RunSetup {
        let path = folder + "/initial.safetensors"
        let values = (0..<classes * size).map { (Float($0 % 97) - 48) / 7 }
        try SafeTensors(tensors: [
            "centers": Tensor(values, shape: [classes, size]),
            "momentum": Tensor(values.map { $0 * 0.3 }, shape: [classes, size]),
        ]).write(to: path)
        var configuration = RunConfiguration()
        configuration.data.kind = "features"
        configuration.data.classes = classes
        configuration.data.samples = 1000
        configuration.backbone.name = "none"
        configuration.backbone.embeddingSize = size
        configuration.backbone.denseSlices = 1
        configuration.head.slices = 4
        configuration.head.initial = path
        configuration.head.storage = format.rows.rawValue
        configuration.head.momentumStorage = format.momentum.rawValue
        configuration.optimizer.momentum = format.momentum == .none ? 0 : 0.9
        return try RunSetup(configuration)
    }

    private func store(_ directory: String) throws -> ShardStore {
        let store = try ShardStore(directory: directory, sync: .never, syncInterval: .seconds(3600))
        try store.adopt(ShardStore.Identity(clusterID: "cluster", member: 1, configurationHash: "abc"))
        return store
    }

    private let plan = Plan(
        id: StepID(step: 0, attempt: 0), committed: -1, mapVersion: 1, exchange: .features, learningRate: 0.1,
        ranks: [],
        shards: [.init(shard: MemberID(.shard, 1), endpoint: "", slices: [0, 1, 2, 3], denseSlices: [0])],
        activity: .wait(reason: ""))

    /// A shard that owns every slice at its initial values.
    private func owner(_ setup: RunSetup, _ store: ShardStore? = nil) throws -> ShardEngine {
        let model = try ShardEngine(setup: setup.shard, store: store, threads: 1)
        model.member = 1
        _ = try model.perform(
            StepID(step: 0, attempt: 0), .own(slices: [0, 1, 2, 3], denseSlices: [0], mapVersion: 1), plan: plan)
        return model
    }

    private func checkpoint(_ model: ShardEngine, _ setup: RunSetup, to directory: String) throws {
        let task = BoundaryTask(number: 1, step: -1, kind: .checkpoint(directory: directory))
        guard case .done(let detail) = try model.perform(task, plan: plan) else {
            Issue.record("no checkpoint")
            return
        }
        let files = try JSONDecoder().decode([CheckpointManifest.File].self, from: Data(detail.utf8))
        try CheckpointManifest(
            step: -1, classVersion: 0, operations: "[]", configuration: setup.configuration.canonicalText,
            fingerprint: setup.configuration.fingerprint, sliceCount: 4, denseSliceCount: 1, classCount: classes,
            embeddingSize: size, format: setup.head.format, created: "2026-01-01T00:00:00Z", files: files
        ).write(to: directory)
    }

    @Test(arguments: formats) func checkpointsAndDirectoriesComeBack(format: TableFormat) throws {
        let folder = try TemporaryFolder()
        let setup = try setup(format, folder.path)
        let owner = try owner(setup)
        try checkpoint(owner, setup, to: folder.path + "/checkpoint")
        let restore = BoundaryTask(number: 2, step: -1, kind: .restore(checkpoint: folder.path + "/checkpoint"))
        do {
            // From other values, so that all of them must come from the checkpoint.
            var other = setup.configuration
            other.head.initial = ""
            let model = try self.owner(RunSetup(other), store(folder.path + "/shard"))
            #expect(model.hashes().slices != owner.hashes().slices)
            #expect(try model.perform(restore, plan: plan) == .done(detail: ""))
            #expect(model.hashes() == owner.hashes())
        }
        // Its directory has snapshots now.
        #expect(
            try ShardEngine(setup: setup.shard, store: store(folder.path + "/shard"), threads: 1).hashes()
                == owner.hashes())
        for other in Self.formats where other != format {
            let setup = try self.setup(other, folder.path)
            let model = try self.owner(setup)
            let hashes = model.hashes()
            guard case .failed(let message) = try model.perform(restore, plan: plan) else {
                Issue.record("\(other) took a checkpoint of \(format)")
                continue
            }
            #expect(message.contains("keeps \(format)") && message.contains("\(other)"), "\(message)")
            #expect(model.hashes() == hashes)
            let error = #expect(throws: CenterStoreError.self) {
                try ShardEngine(setup: setup.shard, store: store(folder.path + "/shard"), threads: 1)
            }
            #expect(error?.code == .foreign)
        }
    }

    @Test(arguments: formats) func slicesMove(format: TableFormat) throws {
        let folder = try TemporaryFolder()
        let setup = try setup(format, folder.path)
        let owner = try owner(setup)
        let receiver = try ShardEngine(setup: setup.shard, store: store(folder.path + "/shard"), threads: 1)
        let slice = SliceName.centers(2)
        let request = TransferRequest(slice: slice, term: 0, mapVersion: 1, part: .chunk(0))
        guard case .chunk(let count, let step, let payload) = try owner.content(of: request) else {
            Issue.record("no piece")
            return
        }
        #expect(payload.map(\.dtype) == [format.rows.dtype, format.momentum.dtype])
        #expect(payload.map(\.byteCount) == [format.rows, format.momentum].map { 13 * $0.byteCount(width: 6) })
        for wrong in [
            [payload[0]], [payload[0], Tensor([UInt8](repeating: 0, count: 7))], [payload[0].rows(0..<12), payload[1]],
            [Tensor([Double](repeating: 0, count: 13 * 6), shape: [13, 6]), payload[1]],
        ] {
            #expect(throws: (any Error).self) {
                try receiver.storeChunk(slice, index: 0, count: count, step: step, wrong)
            }
        }
        try receiver.storeChunk(slice, index: 0, count: count, step: step, payload)
        let move = BoundaryTask(
            number: 1, step: -1,
            kind: .handOver([SliceMove(slice: slice, from: MemberID(.shard, 0), to: MemberID(.shard, 1))]))
        #expect(try receiver.perform(move, plan: plan) == .done(detail: ""))
        _ = try receiver.perform(
            StepID(step: 0, attempt: 0), .own(slices: [2], denseSlices: [], mapVersion: 2), plan: plan)
        #expect(receiver.hashes().slices == owner.hashes().slices.filter { $0.key == 2 })
    }
}
