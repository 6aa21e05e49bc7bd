internal import Cluster
internal import Foundation
internal import Model
internal import ParameterStore
internal import PartialFC
internal import StepProtocol
internal import Tensors

/// Checkpoints: written from memory at a boundary.
extension ShardEngine {
    /// Writes every owned slice: those that the map of `plan` gives to this shard.
    ///
    /// - Returns: the files, as JSON.
    func checkpoint(in directory: String, step: Int, _ plan: Plan) throws -> String {
        guard committed == step else {
            throw HeadError(.phase, "a checkpoint of step \(step) is asked for after step \(committed)")
        }
        try checkOwnership(plan)
        let writer = CheckpointWriter(directory: directory)
        var files: [CheckpointManifest.File] = []
        do {
            for slice in ownedSlices { files.append(try holder(of: slice).write(slice.number, by: writer)) }
        } catch {
            // On a disk that is full they would keep the next try from succeeding.
            writer.discard(files)
            throw error
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return String(decoding: try encoder.encode(files), as: UTF8.self)
    }
}

extension Tensor {
    /// The tensor's memory; whoever uses it keeps the tensor alive.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: rawPointer, count: byteCount) }
}
