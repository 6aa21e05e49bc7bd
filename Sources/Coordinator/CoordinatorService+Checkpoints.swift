import CenterStore
import Foundation
import Logging
import ProcessSupport
import StepProtocol
import Wire

/// The coordinator's part of a checkpoint: the manifest, and what is not kept.
extension CoordinatorService {
    /// Writes the manifest of the files that the shards have acknowledged.
    func writeCheckpoint(
        _ number: Int, _ checkpoint: CoordinatorRecord.CheckpointRecord, _ details: [MemberID: String]
    ) {
        let setup = setup
        let operations = machine.operations.prefix(checkpoint.classVersion).map(\.operation)
        let rates = machine.rates
        let mailbox = mailbox
        files.submit {
            var problem: String?
            do {
                try CheckpointManifest(
                    step: checkpoint.step, operations: operations, rates: rates, setup: setup,
                    files: CheckpointManifest.files(details)
                ).write(to: checkpoint.directory)
            } catch { problem = "\(error)" }
            mailbox.post(.checkpointWritten(number: number, problem: problem))
        }
    }

    /// Removes a checkpoint that is not kept: the manifest first, so that half of it is never taken for one.
    func deleteCheckpoint(_ checkpoint: CoordinatorRecord.CheckpointRecord) {
        let log = log
        files.submit {
            do { try CheckpointReader.delete(checkpoint.directory) } catch {
                log.warning("\(checkpoint.directory) is not kept, but cannot be removed: \(error)")
            }
        }
    }
}
