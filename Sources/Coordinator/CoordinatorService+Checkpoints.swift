import Cluster
import Foundation
import Logging
import ParameterStore
import ProcessSupport
import StepProtocol
import Wire

/// The coordinator's part of a checkpoint: the manifest, and what is not kept.
extension CoordinatorService {
    /// Writes the manifest of the files that the shards have acknowledged.
    func writeCheckpoint(
        _ number: Int, _ checkpoint: CoordinatorRecord.CheckpointRecord, _ details: [MemberID: String]
    ) {
        beingWritten[number] = checkpoint.partialDirectory
        let setup = setup
        let operations = machine.operations.prefix(checkpoint.classVersion).map(\.operation)
        let (rates, head) = (machine.rates, machine.headChanges)
        let mailbox = mailbox
        files.submit {
            var problem: String?
            do {
                let written = try CheckpointManifest.files(details)
                try CheckpointReader.checkFiles(written, in: checkpoint.partialDirectory)
                let jobFiles = try CheckpointManifest.jobFiles(details)
                try CheckpointReader.checkFiles(jobFiles ?? [], in: checkpoint.partialDirectory)
                // Every slice must be there, or it is refused.
                try CheckpointManifest(
                    step: checkpoint.step, operations: operations, rates: rates, head: head, setup: setup,
                    files: written, past: checkpoint.past, jobFiles: jobFiles
                ).write(to: checkpoint.partialDirectory)
                try CheckpointReader.publish(checkpoint.partialDirectory, as: checkpoint.directory)
            } catch { problem = "\(error)" }
            mailbox.post(.checkpointWritten(number: number, problem: problem))
        }
    }

    /// Moves a checkpoint aside that the cluster went back behind.
    func abandonCheckpoint(_ checkpoint: CoordinatorRecord.CheckpointRecord) {
        let log = log
        files.submit {
            do {
                if let aside = try CheckpointReader.moveAside(checkpoint.directory) {
                    log.warning("\(checkpoint.directory) is \(aside) now: it is of what the cluster went back behind")
                }
            } catch {
                log.warning("\(checkpoint.directory) does not count any more, but cannot be moved aside: \(error)")
            }
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

    /// Notices when a checkpoint has failed, and removes what was written of it: on a disk that is full it would keep the next try from
    /// succeeding.
    func followCheckpoints(_ actions: [Machine.Action]) {
        var current: String?
        if case .checkpoint(let directory) = machine.record.task?.kind { current = directory }
        if let directory = checkpointUnderWay, directory != current {
            let isComplete = actions.contains { if case .writeCheckpoint = $0 { true } else { false } }
            if !isComplete { giveUp(directory) }
        }
        checkpointUnderWay = current
    }

    /// Removes a checkpoint that failed. A shard may write to it for a little longer: `sweepCheckpoints` finds that.
    func giveUp(_ directory: String) {
        guard !machine.checkpoints.contains(where: { $0.directory == directory }) else { return }
        do {
            guard let name = try CheckpointReader.giveUp(directory) else { return }
            remove([name])
        } catch { log.warning("\(error)") }
    }

    /// Removes what is left of checkpoints that were never completed: at the start, and whenever one is.
    func sweepCheckpoints() {
        let parent = machine.configuration.checkpointDirectory
        guard !parent.isEmpty else { return }
        do {
            let used = beingWritten.values + [checkpointUnderWay].compactMap(\.self)
            remove(try CheckpointReader.leftovers(in: parent, except: Set(used)))
        } catch { log.warning("\(error)") }
    }

    private func remove(_ directories: [String]) {
        let log = log
        files.submit {
            for directory in directories {
                do { try CheckpointReader.delete(directory) } catch {
                    log.warning(
                        "\(directory) is a checkpoint that was never completed, and cannot be removed: \(error)")
                }
            }
        }
    }
}
