internal import Cluster
internal import Determinism
internal import StepProtocol

/// What travels in the simulation instead of tensors.
typealias Words = [UInt64]

/// A model as small as can be in which everything depends on everything: hashes instead of sums.
///
/// There are eight slices of class centers and four of the backbone, of two rows each, a word per row. A row depends on
/// nothing but itself and what a step's log record holds, as in the real model. Values are of one micro-batch and folded
/// in micro-batch order, so that the world must not matter and everything else does.
enum Toy {
    static let slices = 8
    static let denseSlices = 4
    static let sliceCount = slices + denseSlices
    static let rowsPerSlice = 2
    static let rowCount = sliceCount * rowsPerSlice

    static func index(_ slice: SliceName) -> Int { slice.isDense ? slices + slice.number : slice.number }
    static func name(_ index: Int) -> SliceName { index < slices ? .centers(index) : .dense(index - slices) }
    static func indices(_ slices: SliceSet, _ denseSlices: SliceSet) -> [Int] {
        slices.numbers + denseSlices.numbers.map { Self.slices + $0 }
    }
    static func rows(_ slice: Int) -> Range<Int> { slice * rowsPerSlice..<(slice + 1) * rowsPerSlice }

    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        KeyedRandom.mix((a &+ 0x9E37_79B9_7F4A_7C15) ^ KeyedRandom.mix(b))
    }
    static func mix(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64 { mix(mix(a, b), c) }
    static func mix(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) -> UInt64 { mix(mix(a, b, c), d) }
    static func fold(_ words: some Sequence<UInt64>) -> UInt64 { words.reduce(0x5EED) { mix($0, $1) } }

    static let initial: Words = (0..<rowCount).map { mix(10, UInt64($0)) }
    /// - Parameter inputs: 0, or what makes the data of one attempt differ from those of another.
    static func label(step: Int, microBatch: Int, classVersion: Int, inputs: UInt64 = 0) -> UInt64 {
        let label = mix(1, UInt64(step), UInt64(microBatch), UInt64(classVersion))
        return inputs == 0 ? label : mix(label, inputs)
    }
    static func inputs(of id: StepID) -> UInt64 { mix(12, UInt64(id.term), UInt64(id.attempt)) }
    static func feature(parameters: Words, label: UInt64) -> UInt64 { mix(2, fold(parameters), label) }
    /// What a row gives to a step: the row itself, chosen by the step and the labels of the batch.
    static func sampled(row: UInt64, step: Int, labels: UInt64, head: HeadValues) -> UInt64 {
        mix(3, row, UInt64(step), mix(labels, word(head)))
    }
    static func partial(sampled: ArraySlice<UInt64>, feature: UInt64) -> UInt64 { mix(4, fold(sampled), feature) }
    static func normalizer(partials: Words, head: HeadValues) -> UInt64 { mix(5, fold(partials), word(head)) }
    static func loss(normalizer: UInt64) -> Double { Double(normalizer >> 44) / 8 }
    static func rowGradient(normalizer: UInt64, feature: UInt64, sampled: UInt64) -> UInt64 {
        mix(6, normalizer, mix(feature, sampled))
    }
    static func denseGradient(normalizer: UInt64, feature: UInt64, slice: Int) -> UInt64 {
        mix(7, normalizer, feature, UInt64(slice))
    }
    static func norm(replies: Words) -> UInt64 { mix(8, fold(replies)) }
    static func gradientNorm(_ norm: UInt64) -> Double { Double(norm >> 11) }
    static func learningRate(_ step: Int) -> Float { 1 / Float(step + 1) }

    /// The configuration's values of the head, in stages of three steps.
    static func head(_ step: Int) -> HeadValues {
        HeadValues(sampleRate: step < 3 ? 0.1 : 1, m1: 1, m2: Double(step / 3), m3: 0, scale: 64)
    }
    static func word(_ head: HeadValues) -> UInt64 { fold(HeadValues.Name.allCases.map { head[$0].bitPattern }) }

    static func updated(
        row: UInt64, gradient: UInt64, step: Int, learningRate: Float, head: HeadValues
    ) -> UInt64 {
        mix(row, gradient, mix(UInt64(step), word(head)), UInt64(learningRate.bitPattern))
    }
    static func updated(parameter: UInt64, row: Int, gradient: UInt64, norm: UInt64) -> UInt64 {
        mix(parameter, gradient, norm, UInt64(row))
    }
    static func changed(row: UInt64, by operation: ClassOperation, version: Int) -> UInt64 {
        let kind =
            switch operation {
            case .add(let count, _, _): UInt64(count)
            case .retire(let classes): 100 + UInt64(classes.count)
            case .merge(let from, let into): 200 + UInt64(from ^ into)
            }
        return mix(11, row, kind, UInt64(version))
    }
}

/// The inputs of a step, from which any row that it is about can be computed again.
struct ToyRecord: Sendable, Hashable {
    enum Kind: Sendable, Hashable { case features, rows, skip, classes }

    var id: StepID
    var kind: Kind
    var learningRate: Float = 0
    var head = Toy.head(0)
    var norm: UInt64 = 0
    /// Of all labels, and of `features` what each micro-batch had.
    var labels: UInt64 = 0
    var features: Words = []
    var normalizers: Words = []
    /// Of `rows`, by row, and of the backbone, by slice: of those that the shard owned.
    var gradients: [Int: UInt64] = [:]
    var operation: ClassOperation?
    var classVersion = 0
    /// Only a part of it reached the disk.
    var isTorn = false

    var step: Int { id.step }
    /// The attempt that it is of; all skips of a step are the same.
    var attempt: StepID { kind == .skip ? .skipped(step) : id }

    /// The row after the step.
    func apply(to word: UInt64, row: Int) throws(Violation) -> UInt64 {
        let slice = row / Toy.rowsPerSlice
        switch kind {
        case .skip: return word
        case .classes:
            guard let operation, slice < Toy.slices else { return word }
            return Toy.changed(row: word, by: operation, version: classVersion)
        case .features, .rows:
            if slice >= Toy.slices {
                guard let gradient = gradients[Toy.rowCount + slice] else {
                    throw Violation("the record of \(id) says nothing of \(Toy.name(slice))")
                }
                return Toy.updated(parameter: word, row: row, gradient: gradient, norm: norm)
            }
            let gradient: UInt64
            if kind == .rows {
                guard let found = gradients[row] else {
                    throw Violation("the record of \(id) says nothing of \(Toy.name(slice))")
                }
                gradient = found
            } else {
                let sampled = Toy.sampled(row: word, step: step, labels: labels, head: head)
                gradient = Toy.fold(
                    zip(normalizers, features).lazy.map {
                        Toy.rowGradient(normalizer: $0, feature: $1, sampled: sampled)
                    })
            }
            return Toy.updated(row: word, gradient: gradient, step: step, learningRate: learningRate, head: head)
        }
    }
}

/// The undisturbed run, computed without any of the machines, as far as it is asked for.
///
/// It is a function of the scenario and of when the classes were changed, which the coordinator decides.
struct ToyRun {
    let microBatches: Int
    let batchSize: Int
    /// Steps whose gradient is not finite: they change nothing.
    let poisoned: Set<Int>
    /// The class changes that count, by the step they follow.
    private(set) var changes: [(afterStep: Int, operation: ClassOperation)] = []
    /// The rates that an operator has set, by the first step that they hold for, ascending.
    private(set) var rates: [(step: Int, factor: Float)] = []
    /// The orders about the head that an operator has given, likewise.
    private(set) var heads: [HeadChange] = []
    /// What made the data of the attempt of each step that counts, if attempts differ.
    private var inputs: [Int: UInt64] = [:]
    /// After each step, before the class changes that follow it.
    private var states: [Words] = []
    private var losses: [Double?] = []
    /// By micro-batch.
    private var lossSums: [[Double]] = []
    private var norms: [Double] = []

    init(microBatches: Int, batchSize: Int, poisoned: Set<Int>) {
        self.microBatches = microBatches
        self.batchSize = batchSize
        self.poisoned = poisoned
    }

    /// Sets the class changes, in order; steps that they affect are computed anew.
    mutating func set(_ new: [(afterStep: Int, operation: ClassOperation)]) {
        var common = 0
        while common < min(new.count, changes.count), new[common] == changes[common] { common += 1 }
        let first = min(
            common < new.count ? new[common].afterStep : .max, common < changes.count ? changes[common].afterStep : .max
        )
        changes = new
        forget(from: first < .max ? first + 1 : .max)
    }

    /// Sets the rates, in order; steps that they affect are computed anew.
    mutating func set(rates new: [(step: Int, factor: Float)]) {
        var common = 0
        while common < min(new.count, rates.count), new[common] == rates[common] { common += 1 }
        let first = (new.dropFirst(common) + rates.dropFirst(common)).map(\.step).min() ?? .max
        rates = new
        forget(from: first)
    }

    /// Sets the values of the head, likewise.
    mutating func set(heads new: [HeadChange]) {
        let old = heads
        heads = new
        forget(
            from: states.indices.first {
                old.values(of: $0, scheduled: Toy.head($0)) != new.values(of: $0, scheduled: Toy.head($0))
            } ?? .max)
    }

    /// Notes which attempt of a step counts; steps that it affects are computed anew.
    mutating func set(inputs new: UInt64, of step: Int) {
        if inputs.updateValue(new, forKey: step) != new { forget(from: step) }
    }

    /// Which attempts the state after `step` is made of.
    func attempts(upTo step: Int) -> [Int: UInt64] { inputs.filter { $0.key <= step } }

    /// The cluster goes back to a state that is made of these attempts.
    mutating func set(attempts: [Int: UInt64]) {
        for (step, attempt) in attempts { set(inputs: attempt, of: step) }
    }

    func learningRate(_ step: Int) -> Float {
        Toy.learningRate(step) * (rates.last { $0.step <= step }?.factor ?? 1)
    }

    func head(_ step: Int) -> HeadValues { heads.values(of: step, scheduled: Toy.head(step)) }

    private mutating func forget(from count: Int) {
        guard count < states.count else { return }
        states.removeLast(states.count - count)
        losses.removeLast(losses.count - count)
        lossSums.removeLast(lossSums.count - count)
        norms.removeLast(norms.count - count)
    }

    func classVersion(after step: Int) -> Int { changes.count { $0.afterStep <= step } }

    /// The rows after `step` (-1: the initial ones) with the first `classVersion` changes.
    mutating func state(after step: Int, classVersion: Int? = nil) -> Words {
        compute(step)
        var state = step < 0 ? Toy.initial : states[step]
        for (index, change) in changes.enumerated()
        where change.afterStep == step && index < classVersion ?? .max {
            for row in 0..<Toy.slices * Toy.rowsPerSlice {
                state[row] = Toy.changed(row: state[row], by: change.operation, version: index + 1)
            }
        }
        return state
    }

    /// Nil for a step that was skipped.
    mutating func loss(_ step: Int) -> Double? {
        compute(step)
        return losses[step]
    }

    /// The loss of each micro-batch; empty for a step that was skipped.
    mutating func lossSums(_ step: Int) -> [Double] {
        compute(step)
        return lossSums[step]
    }

    mutating func gradientNorm(_ step: Int) -> Double {
        compute(step)
        return norms[step]
    }

    private mutating func compute(_ last: Int) {
        while states.count <= last { computeNext() }
    }

    private mutating func computeNext() {
        let step = states.count
        var state = state(after: step - 1)
        if poisoned.contains(step) {
            states.append(state)
            losses.append(nil)
            lossSums.append([])
            norms.append(0)
            return
        }
        let version = classVersion(after: step - 1)
        let inputs = inputs[step] ?? 0
        let labels = (0..<microBatches).map {
            Toy.label(step: step, microBatch: $0, classVersion: version, inputs: inputs)
        }
        let fold = Toy.fold(labels)
        let centers = Toy.slices * Toy.rowsPerSlice
        let head = head(step)
        let sampled = state[..<centers].map { Toy.sampled(row: $0, step: step, labels: fold, head: head) }
        let parameters = Words(state[centers...])
        let features = labels.map { Toy.feature(parameters: parameters, label: $0) }
        let normalizers = features.map { feature in
            Toy.normalizer(
                partials: (0..<Toy.slices).map { Toy.partial(sampled: sampled[Toy.rows($0)], feature: feature) },
                head: head)
        }
        let dense = (0..<Toy.denseSlices).map { slice in
            Toy.fold(zip(normalizers, features).map { Toy.denseGradient(normalizer: $0, feature: $1, slice: slice) })
        }
        let norm = Toy.norm(replies: dense.map { Toy.mix(9, $0) })
        let rate = learningRate(step)
        for row in 0..<centers {
            let gradient = Toy.fold(
                zip(normalizers, features).map {
                    Toy.rowGradient(normalizer: $0, feature: $1, sampled: sampled[row])
                })
            state[row] = Toy.updated(row: state[row], gradient: gradient, step: step, learningRate: rate, head: head)
        }
        for row in centers..<Toy.rowCount {
            let gradient = dense[row / Toy.rowsPerSlice - Toy.slices]
            state[row] = Toy.updated(parameter: state[row], row: row, gradient: gradient, norm: norm)
        }
        states.append(state)
        lossSums.append(normalizers.map(Toy.loss))
        losses.append(normalizers.map(Toy.loss).reduce(0, +) / Double(batchSize))
        norms.append(Toy.gradientNorm(norm))
    }
}
