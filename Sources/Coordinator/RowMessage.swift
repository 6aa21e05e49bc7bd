import Cluster
import Configuration
package import Model
import ParameterStore
import ProcessSupport
import Setup
import StepProtocol
import Wire

/// The message in which a shard sends its sampled rows in the exchange `rows`, or gets their gradients: one for a step and worker.
package struct RowMessage {
    package var classes: Int
    /// The part of all slices that one shard has.
    package var share: Double
    package var head: HeadConfiguration

    package init(classes: Int, share: Double, head: HeadConfiguration) {
        (self.classes, self.share, self.head) = (classes, share, head)
    }

    /// Why steps with this rate could not be done, nil if they can.
    package func excess(sampleRate: Double) -> String? {
        let size = head.embeddingSize
        let row = max(
            head.exchangedRows.byteCount(width: size) + MemoryLayout<Int64>.size,
            head.exchangedGradients.byteCount(width: size))
        let (bytes, limit) = (sampleRate * Double(classes) * share * Double(row), WireLimits.client.messageByteCount)
        if bytes <= Double(limit) { return nil }
        return
            "in the exchange rows a shard's sampled rows are one message, of \(Units.bytes(Int(bytes))) then, and at most \(Units.bytes(limit)) are possible: "
            + "set a sample_rate up to \(Units.fixed((sampleRate * Double(limit) / bytes * 1000).rounded(.down) / 1000, 3)), or add shards first"
    }
}

extension CoordinatorService {
    /// The message of the shard that owns most slices.
    var rowMessage: RowMessage {
        let owned = Dictionary(grouping: machine.record.owners.filter { !$0.key.isDense }, by: \.value)
        let most = owned.values.map(\.count).max() ?? setup.head.sliceCount / setup.configuration.cluster.shards
        return RowMessage(
            classes: registry?.classCount ?? setup.head.classCount,
            share: Double(most) / Double(setup.head.sliceCount), head: setup.head)
    }
}
