internal import Cluster

/// Runs that are trained by a job: workers with a network of their own, all of its ranks or none.
///
/// The ranks of a job gather until all are there. Then the cluster goes back to the step that the job's own state is of, and trains with
/// these processes only. A job that is started again has another id, and takes over when its ranks are complete.
extension CoordinatorMachine {
    /// What is known of jobs besides the record.
    struct Jobs: Sendable {
        /// Why jobs were turned away, by id, for their ranks to hear; the oldest are forgotten.
        var turnedAway: [(id: UInt64, code: RefusalCode, message: String)] = []
        /// The rank 0 that the checkpoint under way waits for.
        var writer: MemberID?
        /// What was last said about a job that must not go back by itself.
        var question = ""

        mutating func turnAway(_ id: UInt64, _ code: RefusalCode, _ message: String) {
            turnedAway.removeAll { $0.id == id }
            turnedAway = (turnedAway + [(id, code, message)]).suffix(64)
        }
    }

    // MARK: Who is there

    /// The live ranks of a job, by rank.
    func ranks(ofJob id: UInt64) -> [Int: MemberID] {
        var found: [Int: MemberID] = [:]
        for (member, known) in live where known.isAlive && known.peer != nil {
            if let job = known.job, job.id == id { found[job.rank] = member }
        }
        return found
    }

    /// The ranks of the current job, in their order; nil if one of them is not there.
    var jobWorld: [MemberID]? {
        guard let current = record.jobs.current else { return nil }
        let present = ranks(ofJob: current.id)
        let world = current.incarnations.indices.compactMap { present[$0] }
        return world.count == current.incarnations.count ? world : nil
    }

    /// The rank 0 of the current job, if it is there.
    var jobLeader: MemberID? { record.jobs.current.flatMap { ranks(ofJob: $0.id)[0] } }

    /// A job other than the current one of which every rank is there; of several the one that came last.
    private var completeJob: JobRank.Start? {
        var starts: [JobRank.Start: (count: Int, newest: Int)] = [:]
        for (member, known) in live where known.isAlive && known.peer != nil {
            guard let job = known.job, job.id != record.jobs.current?.id else { continue }
            let before = starts[job.start] ?? (0, 0)
            starts[job.start] = (before.count + 1, max(before.newest, member.number))
        }
        return starts.filter { $0.value.count == $0.key.worldSize }.max { $0.value.newest < $1.value.newest }?.key
    }

    /// Why a worker may not join, or nil. Ranks that are to be replaced are in `replaced`.
    func objection(
        to job: JobRank?, of incarnation: UInt64, replaced: inout [MemberID]
    ) -> (code: RefusalCode, message: String)? {
        guard configuration.job != nil else {
            return job == nil
                ? nil
                : (.jobDisagrees, "this run trains a network of its own (data.kind is not external): it takes no job")
        }
        guard let job else {
            return (
                .jobDisagrees,
                "this run is trained by a job with a network of its own (data.kind external): a worker must say its rank"
            )
        }
        let name = JobRank.name(job.id)
        if let known = jobs.turnedAway.last(where: { $0.id == job.id }) { return (known.code, known.message) }
        if record.jobs.ended.contains(job.id) {
            return (.superseded, "\(name) has ended: start it again, from its checkpoint, under a new id")
        }
        let count = configuration.microBatchCount
        if job.id == 0 || job.worldSize < 1 || !(0..<job.worldSize).contains(job.rank) || job.step < -1 {
            return (
                .jobDisagrees,
                "rank \(job.rank) of \(job.worldSize) of \(name) after step \(job.step): there is no such rank"
            )
        }
        if count % job.worldSize != 0 {
            return (
                .jobDisagrees,
                "\(name) has \(job.worldSize) ranks, the batch \(Count.of(count, "micro-batch", "micro-batches")): choose a number "
                    + "of ranks that divides it, or another batch.micro_batch"
            )
        }
        for (member, known) in live.sorted(by: { $0.key < $1.key }) {
            guard let other = known.job, other.id == job.id,
                record.members[member]?.incarnation != incarnation
            else { continue }
            if other.start != job.start {
                return (
                    .jobDisagrees,
                    "rank \(job.rank) of \(name) says \(describe(job.start)), rank \(other.rank) \(describe(other.start)): all ranks "
                        + "must begin with the same"
                )
            }
            if other.rank == job.rank { replaced.append(member) }
        }
        guard let current = record.jobs.current, current.id == job.id else { return nil }
        guard current.incarnations.count == job.worldSize else {
            return (.jobDisagrees, "\(name) has \(current.incarnations.count) ranks, not \(job.worldSize)")
        }
        // Its state is gone with the process: only all ranks together can go back to a checkpoint.
        guard current.incarnations[job.rank] == incarnation else {
            return (
                .jobDisagrees,
                "another process was rank \(job.rank) of \(name), which trains: start the whole job again, under a new id"
            )
        }
        return nil
    }

    private func describe(_ start: JobRank.Start) -> String {
        "\(Count.of(start.worldSize, "rank")) after step \(start.step)"
    }

    /// The current job, for plans.
    var planJob: PlanJob? {
        guard let policy = configuration.job, let current = record.jobs.current else { return nil }
        return PlanJob(id: current.id, worldSize: current.incarnations.count, setsRate: policy.setsRate)
    }

    /// The current job, for operators.
    var jobStatus: CoordinatorStatus.Job? {
        guard let current = record.jobs.current else { return nil }
        let present = ranks(ofJob: current.id)
        return .init(
            name: JobRank.digits(current.id), since: current.since,
            ranks: current.incarnations.indices.map { present[$0] })
    }

    // MARK: Taking over

    /// While a job trains: another one that is complete ends the attempt, or, if it is not let in, hears why and disturbs nobody.
    mutating func noticeCompleteJob() -> [Action] {
        guard configuration.job != nil, let start = completeJob else { return [] }
        switch wayBack(to: start) {
        case .none(let message), .question(let message): return turnAway(start.id, .stepGone, message)
        case .nothing, .log, .checkpoint: return abort("another job is there", .info)
        }
    }

    /// Takes up a job whose ranks are complete: the cluster goes back to where its state is. Called between steps, when every owner is
    /// there and nothing is decided.
    ///
    /// - Returns: nil if there is none, or if it has to wait for an operator.
    mutating func takeUpJob() -> [Action]? {
        guard configuration.job != nil, let start = completeJob else { return nil }
        let present = ranks(ofJob: start.id)
        let incarnations = (0..<start.worldSize).compactMap { present[$0].flatMap { record.members[$0]?.incarnation } }
        guard incarnations.count == start.worldSize else { return nil }
        switch wayBack(to: start) {
        case .none(let message): return turnAway(start.id, .stepGone, message)
        // While another one trains nobody waits for an operator's word.
        case .question(let text) where jobWorld != nil: return turnAway(start.id, .stepGone, text)
        case .question(let text):
            if jobs.question == text { return nil }
            jobs.question = text
            return [.event(.warning, text)]
        case .nothing: return begin(start, incarnations)
        case .log: return begin(start, incarnations) + goBack(to: start.step)
        case .checkpoint(let checkpoint): return begin(start, incarnations) + goBack(to: checkpoint, forJob: true)
        }
    }

    private mutating func begin(_ start: JobRank.Start, _ incarnations: [UInt64]) -> [Action] {
        jobs.question = ""
        var actions = endJob(
            .superseded, "\(JobRank.name(start.id)) has taken over: another start of the training", isAwaited: false)
        var history = record.jobs
        history.current = .init(id: start.id, incarnations: incarnations, since: start.step)
        actions += decide(.jobs(history))
        let text =
            "\(JobRank.name(start.id)) trains, with \(Count.of(start.worldSize, "rank")), after step \(start.step)"
        return actions + [.event(.info, text)]
    }

    /// How the cluster comes to the step that a job begins after.
    ///
    /// By the logs only to the last committed step, which every log has: how far back a log reaches changes while snapshots are taken, and
    /// shards of which some have gone back and others cannot have nothing in common.
    private enum WayBack {
        /// Nothing was trained yet.
        case nothing
        case log
        case checkpoint(CoordinatorRecord.CheckpointRecord)
        /// It would lose more than a job may by itself.
        case question(String)
        /// There is none.
        case none(String)
    }

    private func wayBack(to start: JobRank.Start) -> WayBack {
        let origin = beginning
        let step = start.step == -1 ? origin.step : start.step
        if step == committed, start.step == -1, record.jobs.current == nil, record.jobs.ended.isEmpty {
            return .nothing
        }
        if configuration.job?.goesBackFreely != true, let newest = newestCheckpoint, step < newest.step,
            step < committed
        {
            return .question(
                "\(JobRank.name(start.id)) begins after step \(step), behind the checkpoint of step \(newest.step): start it from that "
                    + "checkpoint, or go back with `coordinator restore` first, or set cluster.job_goes_back to allow")
        }
        if start.step == -1 { return .checkpoint(origin) }
        let isOfThePresent = start.past == 0 || record.pasts.contains(start.past, upTo: step)
        if isOfThePresent, step == committed, !isChanged(after: step) { return .log }
        let fitting = record.checkpoints.last {
            $0.step == step && (start.past == 0 || $0.past == nil || $0.past == start.past || isOfThePresent)
        }
        if let fitting { return .checkpoint(fitting) }
        if step == origin.step, step >= 0 { return .checkpoint(origin) }
        let steps = Set(record.checkpoints.map(\.step) + [origin.step]).sorted().suffix(16).map { "\($0)" }
        return .none(
            "\(JobRank.name(start.id)) begins after step \(step), to which the cluster cannot go back"
                + (isOfThePresent ? "" : " (its state is of a past that the cluster has left)")
                + ": it can go back to the checkpoints of steps \(steps.joined(separator: ", ")), and stay at step \(committed)"
        )
    }

    /// Whether the classes were changed after `step`: a log is not undone behind that.
    private func isChanged(after step: Int) -> Bool {
        record.operations.prefix(classVersion).contains { ($0.afterStep ?? .max) > step }
    }

    // MARK: Ends

    /// The current job has ended: its ranks are told why, and a new start of the job is waited for.
    mutating func endJob(_ code: RefusalCode, _ message: String, isAwaited: Bool = true) -> [Action] {
        guard let current = record.jobs.current else { return [] }
        let actions = decide(.jobs(record.jobs.ending(current.id))) + dismiss(current.id, code, message)
        let event = "\(JobRank.name(current.id)) has ended: \(message)"
        return actions + (isAwaited ? [.event(.warning, event)] : [])
    }

    /// The last rank of the current job has gone as it should: nobody waits for its return.
    mutating func endJobThatHasLeft(_ id: UInt64) -> [Action] {
        guard record.jobs.current?.id == id, ranks(ofJob: id).isEmpty else { return [] }
        let name = JobRank.name(id)
        return endJob(.superseded, "\(name) has ended: its ranks have left", isAwaited: false)
            + [.event(.info, "\(name) has ended")]
    }

    /// A job that cannot begin.
    private mutating func turnAway(_ id: UInt64, _ code: RefusalCode, _ message: String) -> [Action] {
        decide(.jobs(record.jobs.ending(id))) + dismiss(id, code, message) + [.event(.error, message)]
    }

    private mutating func dismiss(_ id: UInt64, _ code: RefusalCode, _ message: String) -> [Action] {
        jobs.turnAway(id, code, message)
        var actions: [Action] = []
        for member in live.keys.sorted() where live[member]?.job?.id == id {
            if let peer = live[member]?.peer { actions.append(.refuse(peer, code, message: message)) }
            actions += forget(worker: member)
        }
        return actions
    }

    /// What is wrong with a job ends the job; what is wrong with a run that has none ends the run.
    mutating func failJob(_ code: RefusalCode, _ message: String) -> [Action]? {
        guard configuration.job != nil, record.jobs.current != nil else { return nil }
        let aborted = abort(message)
        return aborted + endJob(code, message)
    }

    // MARK: Waiting

    /// Why the job does not train, or nil.
    var jobObstacle: String? {
        guard configuration.job != nil, jobWorld == nil else { return nil }
        if !jobs.question.isEmpty, completeJob != nil { return jobs.question }
        var texts: [String] = []
        if let current = record.jobs.current {
            let present = ranks(ofJob: current.id)
            let missing = current.incarnations.indices.filter { present[$0] == nil }
            if present.isEmpty {
                texts.append("\(JobRank.name(current.id)) is gone")
            } else {
                let names = missing.prefix(8).map { "rank \($0)" }.joined(separator: ", ")
                texts.append("\(names) of \(JobRank.name(current.id)) is lost: the other ranks wait for it to return")
            }
        }
        let gathering = Dictionary(grouping: live.values.compactMap(\.job)) { $0.start }
        for (start, ranks) in gathering.sorted(by: { $0.key.id < $1.key.id }) where start.id != record.jobs.current?.id
        {
            texts.append(
                "\(JobRank.name(start.id)) gathers: \(ranks.count) of \(Count.of(start.worldSize, "rank")) are there")
        }
        return (texts.prefix(4) + ["waiting for a job to train"]).joined(separator: "; ")
    }
}
