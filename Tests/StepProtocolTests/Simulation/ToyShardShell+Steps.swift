internal import Cluster
internal import StepProtocol

/// The computations of a step.
extension ToyShardShell {
    /// The words of all micro-batches, from those of each rank.
    private func assemble(_ payloads: [Words], perBatch: Int = 1) throws(Violation) -> Words {
        var words = Words(repeating: 0, count: scenario.microBatches * perBatch)
        for (range, payload) in zip(ranges, payloads) {
            guard range.count * perBatch == payload.count else {
                throw Violation("\(name): \(payload.count) words for micro-batches \(range)")
            }
            words.replaceSubrange(range.lowerBound * perBatch..<range.upperBound * perBatch, with: payload)
        }
        return words
    }

    /// - Parameter plan: the one that was followed when the computation was asked for.
    /// - Returns: nil for `commit`, `rollback`, `own` and `task`.
    mutating func execute(
        _ computation: ShardComputation<Words>, _ id: StepID, plan: Plan, _ world: inout ToyWorld
    ) throws -> ShardResult<Words>? {
        switch computation {
        case .sample(let ranks, let learningRate, let exchange, let head):
            if undo != nil { throw Violation("\(name) samples \(id) while an update is not committed") }
            self.exchange = exchange
            ranges = ranks.map(\.microBatches)
            if sabotage == .swapsRanks { ranges.sort { $0.upperBound > $1.upperBound } }
            labels = Toy.fold(try assemble(ranks.map(\.payload)))
            record = ToyRecord(id: id, kind: exchange == .features ? .features : .rows, labels: labels)
            record?.learningRate = learningRate
            if let head { record?.head = head }
            headOfNow = head
            record?.classVersion = classVersion
            return .sample(sampled(id.step, head))
        case .forward(let rank, let microBatches, let features):
            if scenario.poisonsShards && scenario.poisoned.contains(id.step) {
                throw ToyRefusal(message: "a feature is nan")
            }
            let sampled = sampled(id.step, record?.head)
            guard exchange == .features else { return .forward(rank: rank, sampled) }
            guard features.count == microBatches.count else {
                throw Violation("\(name): \(features.count) features of micro-batches \(microBatches)")
            }
            let partials = features.flatMap { feature in
                centers.indices.map { Toy.partial(sampled: sampled[Toy.rows($0)], feature: feature) }
            }
            return .forward(rank: rank, partials)
        case .backward(let forward, let backward):
            if exchange == .features {
                let whole = forward.map { Words((sabotage == .swapsParts ? $0.reversed() : $0).joined()) }
                let (normalizers, features) = (try assemble(backward), try assemble(whole))
                record?.normalizers = normalizers
                record?.features = features
            } else {
                let rows = rows(centers)
                let gradients = try assemble(backward, perBatch: rows.count)
                for (position, row) in rows.enumerated() {
                    let column = stride(from: position, to: gradients.count, by: rows.count).lazy.map { gradients[$0] }
                    record?.gradients[row] = Toy.fold(column)
                }
            }
            return .backward
        case .dense(let payloads):
            let slices = dense + keptDense(plan)
            let gradients = try assemble(payloads, perBatch: slices.count)
            return .dense(
                slices.enumerated().compactMap { position, slice in
                    let column = stride(from: position, to: gradients.count, by: slices.count).lazy.map {
                        gradients[$0]
                    }
                    let sum = Toy.fold(column)
                    record?.gradients[Toy.rowCount + slice] = sum
                    return position < dense.count ? Toy.mix(9, sum) : nil
                })
        case .update(let payload, let learningRate):
            if undo != nil && sabotage == nil { throw Violation("\(name) applies \(id) twice") }
            guard var record, let norm = scenario.hasJobs ? 0 : payload.first else {
                throw Violation("\(name) updates \(id) without its inputs")
            }
            record.norm = norm
            record.learningRate = learningRate
            if sabotage != .commitsWhenPrepared { undo = undo ?? words }
            for row in rows(owned) { words[row] = try record.apply(to: words[row], row: row) }
            prepared = id
            if sabotage == .answersBeforeLogging { unlogged = record } else { log(record, sync: syncsAlways) }
            return .update(words(dense))
        case .parameters(let rank):
            if undo != nil && sabotage == nil { throw Violation("\(name) gives parameters not committed") }
            return .parameters(rank: rank, words(dense))
        case .rollback:
            if let undo, sabotage != .forgetsRollback { words = undo }
            (undo, prepared, unlogged) = (nil, nil, nil)
            return nil
        case .commit:
            guard prepared == id else { throw Violation("\(name) commits \(id) and not \(prepared as Any)") }
            committed = id.step
            (undo, prepared) = (nil, nil)
            if let unlogged { log(unlogged, sync: syncsAlways) }
            unlogged = nil
            try check(&world, plan)
            takeSnapshots(plan)
            return nil
        case .own(let slices, let denseSlices, _):
            try own(Toy.indices(slices, denseSlices), plan, &world)
            return nil
        case .task: throw Violation("\(name): a task gives no result")
        }
    }

    private func sampled(_ step: Int, _ head: HeadValues?) -> Words {
        words(centers).map { Toy.sampled(row: $0, step: step, labels: labels, head: head ?? Toy.head(0)) }
    }

    /// A record as it is done again.
    func again(_ record: ToyRecord) -> ToyRecord {
        guard sabotage == .replaysWithValuesOfNow else { return record }
        var changed = record
        changed.head = headOfNow ?? Toy.head(0)
        return changed
    }

    /// The state is that of the undisturbed run, unless a plan of a past that does not count any more is followed.
    func check(_ world: inout ToyWorld, _ plan: Plan) throws(Violation) {
        // The coordinator learns of a class change when everyone has made it.
        guard plan.id.term == world.term, classVersion <= plan.classVersion else { return }
        let expected = world.oracle.state(after: committed, classVersion: classVersion)
        for slice in owned where words([slice]) != Words(expected[Toy.rows(slice)]) {
            throw Violation(
                "\(name) differs from the undisturbed run in \(Toy.name(slice)) after step \(committed), classes \(classVersion)"
            )
        }
    }
}
