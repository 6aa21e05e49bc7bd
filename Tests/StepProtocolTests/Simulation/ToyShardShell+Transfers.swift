internal import Cluster
internal import StepProtocol

/// What a shard sends and receives of a slice.
extension ToyShardShell {
    func content(_ part: TransferRequest.Part, of slice: Int) throws(Violation) -> TransferReply<ToyParcel>.Content {
        switch part {
        case .chunk(let index):
            if undo != nil { throw Violation("\(name) gives a row of an update that is not committed") }
            if !owned.contains(slice) {
                throw Violation("\(name) is asked for \(Toy.name(slice)), which it does not own")
            }
            return .chunk(count: Toy.rowsPerSlice, step: committed, .row(words[Toy.rows(slice).lowerBound + index]))
        case .record(let after):
            if after >= committed { return .upToDate(step: committed) }
            let records = logs ? disk.effective : recent
            guard let record = records.first(where: { $0.step == after + 1 && $0.kind != .classes }) else {
                return .gone
            }
            return .record(step: record.step, header: "", .record(record))
        }
    }

    /// - Parameter operations: those on the classes that the slice has seen, if that is known.
    mutating func store(
        _ slice: Int, index: Int, step: Int, _ word: UInt64, classVersion: Int, operations: [ClassOperation]?
    ) throws(Violation) {
        if owned.isEmpty, disk.receipts.isEmpty {
            if classVersion != self.classVersion {
                throw Violation("\(name) receives \(Toy.name(slice)) and knows classes \(self.classVersion)")
            }
            if let operations, let known = self.operations, operations != known {
                throw Violation("\(name) receives \(Toy.name(slice)) after \(operations) and knows \(known)")
            }
        }
        if copies[slice] == nil {
            copies[slice] = ToyDisk.Snapshot(
                words: repeatElement(0, count: Toy.rowsPerSlice), step: -2, classVersion: classVersion)
            disk.receipts[slice] = nil
        }
        copies[slice]?.classVersion = classVersion
        copies[slice]?.words[index] = word
        copies[slice]?.steps[index] = step
    }

    mutating func replay(_ record: ToyRecord, on slice: Int) throws(Violation) {
        guard var copy = copies[slice] else { return }
        for (index, row) in Toy.rows(slice).enumerated() {
            guard copy.steps[index] < record.step || sabotage == .replaysOnRowsAhead else { continue }
            copy.words[index] = try again(record).apply(to: copy.words[index], row: row)
            copy.steps[index] = record.step
        }
        copies[slice] = copy
    }

    mutating func drop(_ slice: Int) {
        copies[slice] = nil
        disk.receipts[slice] = nil
    }
}
