import Cluster
import Configuration
import CoordinatorStore
import Foundation
import Model
import ParameterStore
import Setup
import StepProtocol

/// Why a run cannot go on as it is configured.
struct StoredRunError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// What a coordinator starts with: the database, and the run that it is about.
struct StoredRun {
    var store: CoordinatorDatabase
    var cluster: CoordinatorDatabase.Cluster
    var record: CoordinatorRecord
    /// What is trained, with what the configuration leaves to the run decided.
    var setup: RunSetup
    /// Whether another coordinator has begun it.
    var isContinued: Bool
    /// What is to be said of a run whose state was made again from what the shards have; nil for any other.
    var adopted: String?

    /// Reads the run in `store`, or begins one there.
    ///
    /// - Parameters:
    ///   - resume: the directory of a checkpoint that a new run begins with.
    ///   - accepted: keys of the configuration that may differ from the checkpoint's.
    ///   - adopt: finds what shards have of a run whose state is lost; nil if it is not.
    /// - Throws: `StoredRunError` with a line for each key that differs from the stored run's; `CoordinatorStoreError` if the
    ///   database cannot be used; what reading the checkpoint throws.
    init(
        store: CoordinatorDatabase, setup: RunSetup, resume: String?, accepted: [String],
        adopt: ((RunSetup) throws -> Adopter.Found)? = nil
    ) throws {
        self.store = store
        if let adopt, try store.load() == nil {
            let found = try adopt(setup)
            let stored = try RunConfiguration(stored: found.cluster.configuration)
            try Self.check(
                found.cluster, stored, setup.configuration.decided(like: stored), nil, "the record of \(found.source)")
            try store.create(found.cluster, deciding: found.record.decisions)
            adopted = found.summary
        }
        if let stored = try store.load() {
            let configuration = try RunConfiguration(stored: stored.cluster.configuration)
            let setup = try RunSetup(setup.configuration.decided(like: configuration))
            let origin = try resume.map { try Self.checkpoint($0, setup, accepted) }
            try Self.check(stored.cluster, configuration, setup.configuration, origin?.record, store.path)
            self.setup = setup
            (cluster, record, isContinued) = (stored.cluster, stored.record, true)
            return
        }
        let begun = try resume.map { path in
            try RunConfiguration(stored: CheckpointReader(directory: path).manifest.configuration)
        }
        let setup = try RunSetup(setup.configuration.decided(like: begun))
        self.setup = setup
        let origin = try resume.map { try Self.checkpoint($0, setup, accepted) }
        let id = String(UInt64.random(in: .min ... .max), radix: 16)
        cluster = CoordinatorDatabase.Cluster(
            id: id, configuration: setup.configuration.canonicalText, origin: origin?.record)
        record = CoordinatorRecord()
        isContinued = false
        var decisions: [CoordinatorRecord.Decision] = []
        if let origin, !origin.operations.isEmpty {
            let changes = origin.operations.map {
                CoordinatorRecord.ClassChange(operation: $0, afterStep: origin.record.step)
            }
            decisions.append(.operations(changes, classVersion: changes.count))
        }
        if let origin, !origin.rates.isEmpty { decisions.append(.rates(origin.rates)) }
        if let origin, !origin.head.isEmpty { decisions.append(.head(origin.head)) }
        // At once: a run that began without its classes would not be the one that is resumed.
        try store.create(cluster, deciding: decisions)
        for decision in decisions { record.apply(decision) }
    }

    private static func check(
        _ cluster: CoordinatorDatabase.Cluster, _ stored: RunConfiguration, _ configuration: RunConfiguration,
        _ origin: CoordinatorRecord.CheckpointRecord?, _ path: String
    ) throws {
        let differences = configuration.differences(from: stored)
        guard differences.isEmpty else {
            throw StoredRunError(
                """
                the configuration differs from that of the run in \(path):
                  \(differences.joined(separator: "\n  "))
                go on with the stored one, or begin another run in another --state directory
                """)
        }
        if let origin, origin.directory != cluster.origin?.directory {
            throw StoredRunError(
                "the run in \(path) began with \(cluster.origin?.directory ?? "initial values"), not with \(origin.directory); begin another run in another --state directory, or use `coordinator restore`"
            )
        }
    }

    /// A checkpoint that a run can begin with.
    private struct Origin {
        var record: CoordinatorRecord.CheckpointRecord
        /// The class operations that it includes.
        var operations: [ClassOperation]
        /// The operator's changes of the learning rate.
        var rates: [LearningRateChange]
        /// Those of the head's values.
        var head: [HeadChange]
    }

    /// A checkpoint that fits the configuration.
    private static func checkpoint(_ path: String, _ setup: RunSetup, _ accepted: [String]) throws -> Origin {
        let directory = URL(fileURLWithPath: path).standardizedFileURL.path
        let manifest = try CheckpointReader(directory: directory).manifest
        let configuration = setup.configuration
        let stored = try RunConfiguration(stored: manifest.configuration)
        let keys = Set(RunConfiguration.keys)
        if let unknown = accepted.first(where: { !keys.contains($0) }) {
            throw StoredRunError("--accept \(unknown) is not a key of the configuration")
        }
        let differences = configuration.differences(from: stored).filter { line in
            !accepted.contains { line.hasPrefix("\($0):") }
        }
        guard differences.isEmpty else {
            throw StoredRunError(
                """
                the configuration differs from that of the checkpoint \(directory):
                  \(differences.joined(separator: "\n  "))
                a difference that is meant needs --accept KEY
                """)
        }
        try fits("head.slices", manifest.sliceCount, setup.head.sliceCount, directory)
        try fits("backbone.dense_slices", manifest.denseSliceCount, configuration.denseSliceCount, directory)
        try fits("data.classes", manifest.classCount, setup.head.classCount, directory)
        try fits("backbone.embedding_size", manifest.embeddingSize, setup.head.embeddingSize, directory)
        let way = ". `coordinator export` and `import` take the values into a run of this configuration"
        try fits("head.storage", manifest.format.rows, setup.head.format.rows, directory, way)
        for (slice, format) in [
            (SliceName.centers(0), setup.head.format), (.dense(0), setup.optimizer.rule.denseFormat),
        ] { try fits("the format", manifest.format(of: slice), format, directory, way) }
        guard manifest.step < configuration.totalSteps else {
            throw StoredRunError(
                "\(directory) is of step \(manifest.step); a run of \(configuration.totalSteps) steps has nothing left to do"
            )
        }
        let registry = try ClassRegistry(
            classCount: setup.head.classCount, sliceCount: setup.head.sliceCount,
            operationsJSON: manifest.operations)
        let record = CoordinatorRecord.CheckpointRecord(
            step: manifest.step, directory: directory, classVersion: registry.version)
        return Origin(
            record: record, operations: registry.operations, rates: manifest.rates ?? [],
            head: manifest.head ?? [])
    }

    private static func fits<Value: Equatable>(
        _ key: String, _ stored: Value, _ now: Value, _ directory: String, _ way: String = ""
    ) throws {
        guard stored == now else {
            throw StoredRunError(
                "\(directory) has \(key) \(stored), the configuration \(now): this cannot be accepted\(way)")
        }
    }
}
