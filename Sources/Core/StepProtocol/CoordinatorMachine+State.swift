internal import Cluster

/// What the world does, with what belongs to it: nothing of an attempt, a task or the end of the run outlives it.
extension CoordinatorMachine {
    enum State: Sendable {
        /// Nothing can be done yet; the reason is for the operator.
        case waiting(reason: String)
        /// Step `id` is computed.
        case training(Attempt)
        /// Shards execute the task.
        case task(BoundaryTask)
        /// Every step is committed, and the writer, if there is one, writes the results. `unconfirmed`: the shards that have not said yet
        /// that they have the last step.
        case finishing(writer: MemberID?, unconfirmed: Set<Int>)
        /// The results are written. `unconfirmed`: nil once it is said that the run is over.
        case finished(unconfirmed: Set<Int>?)
        /// The run cannot go on.
        case failed(reason: String)
    }

    /// The attempt that is computed.
    struct Attempt: Sendable {
        /// Who computes what.
        let ranks: [Plan.Rank]
        /// When it was announced.
        let since: Duration
        /// What ranks have reported.
        var results: [Int: StepResult] = [:]
        /// Since when every shard is prepared for it.
        var preparedSince: Duration?
        /// What members say of why it fails.
        var failure = AttemptFailure()
    }

    /// What members do, as the plan says it.
    public var activity: Plan.Activity {
        switch state {
        case .waiting(let reason): .wait(reason: reason)
        case .training: .train
        case .task(let task): .task(task)
        case .finishing(let writer, _): .finishing(writer: writer)
        case .finished: .finished
        case .failed(let reason): .failed(reason: reason)
        }
    }

    /// The attempt that is computed, if one is. Changing it begins or ends nothing.
    var attempt: Attempt? {
        get { if case .training(let attempt) = state { attempt } else { nil } }
        set { if case .training = state, let newValue { state = .training(newValue) } }
    }

    /// Who takes part in what the plan announces: the ranks of the attempt, or the worker that writes the results.
    var ranks: [Plan.Rank] {
        switch state {
        case .training(let attempt): attempt.ranks
        case .finishing(let writer?, _): [Plan.Rank(worker: writer, microBatches: 0..<configuration.microBatchCount)]
        case .waiting, .task, .finishing, .finished, .failed: []
        }
    }

    var results: [Int: StepResult] { attempt?.results ?? [:] }

    var preparedSince: Duration? {
        get { attempt?.preparedSince }
        set { attempt?.preparedSince = newValue }
    }

    var failure: AttemptFailure {
        get { attempt?.failure ?? AttemptFailure() }
        set { attempt?.failure = newValue }
    }

    /// Shards that have not said yet that they have the last step; nil before the end, and once it is said that the run is over.
    var unconfirmedShards: Set<Int>? {
        switch state {
        case .finishing(_, let unconfirmed): unconfirmed
        case .finished(let unconfirmed): unconfirmed
        case .waiting, .training, .task, .failed: nil
        }
    }

    /// The shard has heard that the run is finished: it has committed the last step.
    mutating func confirm(_ number: Int) {
        guard var unconfirmed = unconfirmedShards, unconfirmed.remove(number) != nil else { return }
        switch state {
        case .finishing(let writer, _): state = .finishing(writer: writer, unconfirmed: unconfirmed)
        case .finished: state = .finished(unconfirmed: unconfirmed)
        case .waiting, .training, .task, .failed: break
        }
    }

    /// Changes what the world does, and tells it.
    mutating func turn(to state: State) -> [Action] {
        self.state = state
        return broadcast()
    }
}
