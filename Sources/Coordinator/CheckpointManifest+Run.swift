import Cluster
import Configuration
import Foundation
import Model
import ParameterStore
import Setup

extension CheckpointManifest {
    /// The manifest of a run's checkpoint after `step`, with the class operations that were applied by then and the changes of the
    /// learning rate and of the head's values that belong to a step.
    ///
    /// - Throws: `CenterStoreError` if the operations do not fit the run.
    init(
        step: Int, operations: [ClassOperation], rates: [LearningRateChange] = [], head: [HeadChange] = [],
        setup: RunSetup, files: [File], past: UInt64? = nil, jobFiles: [JobFile]? = nil
    ) throws {
        let registry = try setup.classes(after: operations)
        self.init(
            step: step, classVersion: registry.version, operations: registry.operationsJSON,
            rates: rates.filter { $0.fromStep != nil }, head: head.filter { $0.fromStep != nil },
            configuration: setup.configuration.canonicalText, fingerprint: setup.configuration.fingerprint,
            sliceCount: setup.head.sliceCount, denseSliceCount: setup.configuration.denseSliceCount,
            classCount: setup.head.classCount, embeddingSize: setup.head.embeddingSize,
            format: setup.head.format, denseFormat: setup.optimizer.rule.denseFormat,
            created: ISO8601DateFormatter().string(from: Date()),
            files: files.sorted { $0.path < $1.path }, past: past, jobFiles: jobFiles)
    }

    /// The files that shards have listed in their acknowledgements, a JSON array each.
    ///
    /// - Throws: `OfflineError` that names the shard whose list cannot be read.
    static func files(_ details: [MemberID: String]) throws -> [File] {
        try list(details, of: .shard, as: File.self).flatMap(\.self)
    }

    /// The files that the job's rank 0 has listed; nil without a job.
    ///
    /// - Throws: `OfflineError` that names the worker whose list cannot be read.
    static func jobFiles(_ details: [MemberID: String]) throws -> [JobFile]? {
        try list(details, of: .worker, as: JobFile.self).first
    }

    private static func list<Entry: Decodable>(
        _ details: [MemberID: String], of role: MemberRole, as entry: Entry.Type
    ) throws -> [[Entry]] {
        try details.filter { $0.key.role == role }.sorted { $0.key < $1.key }.map { member, detail in
            do { return try JSONDecoder().decode([Entry].self, from: Data(detail.utf8)) } catch {
                throw OfflineError("the list of files of \(member) cannot be read: \(error)")
            }
        }
    }
}
