internal import Cluster
internal import StepProtocol

/// Second copies of the slices of other shards.
extension ToyShardShell {
    mutating func keepChunk(_ slice: Int, index: Int, step: Int, _ word: UInt64, classVersion: Int) {
        let empty = ToyDisk.Snapshot(
            words: repeatElement(0, count: Toy.rowsPerSlice), step: -1, classVersion: classVersion)
        making[slice, default: empty].words[index] = word
        making[slice]?.steps[index] = step
    }

    /// Slices of the backbone whose gradients it gets for the copies that it keeps.
    func keptDense(_ plan: Plan) -> [Int] {
        if scenario.sabotage == .losesGradientsOfCopies { return [] }
        return plan.shards.first { "\($0.shard)" == name }?.keptDense.numbers.map { Toy.slices + $0 } ?? []
    }

    mutating func install(_ slice: Int) throws(Violation) {
        guard let made = making[slice] else {
            throw Violation("\(name) is to keep a copy of \(Toy.name(slice)) and has made none")
        }
        disk.kept[slice] = made
        if scenario.sabotage == .dropsLogBehindCopies { return disk.dropLog(forCopies: false) }
        making[slice] = nil
        disk.dropLog()
    }

    /// Whether the log has every step since the pieces of a copy that is being made.
    func reachesBackToCopy(of slice: Int) -> Bool {
        guard let oldest = making[slice]?.steps.min() else { return false }
        let first = disk.effective.first { $0.kind != .classes }?.step ?? disk.newest + 1
        return scenario.sabotage == .dropsLogBehindCopies || first <= oldest + 1
    }

    var keptCopies: [SliceName: KeptCopy] {
        var copies: [SliceName: KeptCopy] = [:]
        for (slice, snapshot) in disk.kept {
            copies[Toy.name(slice)] = KeptCopy(
                oldest: snapshot.steps.min() ?? -1, newest: snapshot.steps.max() ?? -1,
                classVersion: snapshot.classVersion)
        }
        return copies
    }

    /// The slices that it has a copy of which fits its classes, and the newest step that a row of these is of.
    var usableCopies: [Int] { logs ? disk.kept.filter { $0.value.classVersion == classVersion }.map(\.key) : [] }
    var newestCopy: Int { usableCopies.flatMap { disk.kept[$0]?.steps ?? [] }.max() ?? -1 }

    /// The rows of a slice after `committed`, from its copy and the shard's own log.
    func made(_ slice: Int) throws(Violation) -> Words {
        guard let kept = disk.kept[slice] else { throw Violation("\(name) has no copy of \(Toy.name(slice))") }
        var (words, steps) = (kept.words, kept.steps)
        for record in disk.effective where record.kind != .classes && record.step <= committed {
            for (index, row) in Toy.rows(slice).enumerated() where record.step > steps[index] {
                if record.step != steps[index] + 1 {
                    throw Violation("\(name) has no record of step \(steps[index] + 1) for its copy of row \(row)")
                }
                words[index] = try again(record).apply(to: words[index], row: row)
                steps[index] = record.step
            }
        }
        return words
    }

    /// Why a copy cannot be loaded, or nil.
    func flaw(ofCopy slice: Int) -> String? {
        guard let kept = disk.kept[slice] else { return "\(name) keeps no copy of \(Toy.name(slice))" }
        return kept.classVersion == classVersion ? nil : "its copy of \(Toy.name(slice)) is of other classes"
    }
}
