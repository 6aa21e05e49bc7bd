internal import Cluster
internal import Determinism
internal import StepProtocol

/// Whoever starts a job: all of its ranks at once, again when one of them is lost, from what was saved.
extension Simulation {
    /// Starts a job, from the newest pair or from something else that was saved.
    func startJob() {
        guard scenario.hasJobs else { return }
        let start = pickStart()
        let job = ToyJob(
            id: UInt64(nextNode), worldSize: scenario.workers, start: start, microBatches: scenario.microBatches)
        jobs.append(job)
        everyJob[job.id] = job
        feats["job started", default: 0] += 1
        note("job \(job.id) begins after step \(start.step)")
        for rank in 0..<scenario.workers {
            let worker = WorkerProcess(node: nextNode, scenario: scenario)
            worker.job = job
            var said = start.step
            if scenario.sabotage == .saysAnotherStep, start.step > 0 { said -= 1 }
            worker.jobRank = JobRank(
                id: job.id, rank: rank, worldSize: scenario.workers, step: said, past: start.past)
            job.nodes.append(nextNode)
            workers[nextNode] = worker
            queue.insert(.beat(nextNode), at: now + Int64(jobRandom.below(300)))
            nextNode += 1
        }
    }

    /// What a job is started from: as a rule the newest pair, but people make mistakes, and keep states of their own.
    private func pickStart() -> ToyJob.Saved {
        let pairs = world.jobCheckpoints.filter { world.isPublished($0.key) }.sorted {
            ($0.value.step, $0.key) < ($1.value.step, $1.key)
        }.map(\.value)
        let isRefused = refusedStarts > 0
        refusedStarts = max(0, refusedStarts - 1)
        if isRefused || isCalm { return (isRefused && jobRandom.below(2) == 0 ? nil : pairs.last) ?? ToyJob.Saved() }
        switch jobRandom.below(8) {
        case 0: return ToyJob.Saved()
        case 1, 2, 3: return savedStates.isEmpty ? pairs.last ?? ToyJob.Saved() : savedStates[savedStates.count - 1]
        case 4:
            return savedStates.isEmpty
                ? ToyJob.Saved() : savedStates[Int(jobRandom.below(UInt64(savedStates.count)))]
        default: return pairs.last ?? ToyJob.Saved()
        }
    }

    /// A process is gone: the others of its job are ended, and sooner or later a new one is started.
    func noticeLostRanks() {
        guard scenario.hasJobs else { return }
        for job in jobs where job.nodes.contains(where: { workers[$0] == nil }) {
            note("job \(job.id) ends")
            for node in job.nodes { (workers[node], stopped[node]) = (nil, nil) }
        }
        jobs.removeAll { job in job.nodes.contains { workers[$0] == nil } }
        guard jobs.isEmpty, !isJobStarting else { return }
        isJobStarting = true
        queue.insert(.startJob, at: now + 1 + Int64(jobRandom.below(isCalm ? 500 : 4_000)))
    }

    /// The coordinator has turned a rank away for good.
    func turnAway(_ worker: WorkerProcess, _ code: RefusalCode) {
        note("node \(worker.node) is turned away: \(code)")
        feats["job turned away", default: 0] += 1
        if code == .stepGone { refusedStarts = 3 }
        (workers[worker.node], stopped[worker.node]) = (nil, nil)
        noticeLostRanks()
    }

    /// A step is committed by the job that trains: it may save what it has.
    func noteJob(_ report: StepReport, attempted: StepID) {
        for job in jobs where report.loss == nil { job.skip(report.step) }
        guard let id = world.jobOfTerm[attempted.term] else { return }
        // Its processes may be gone by now.
        guard let job = everyJob[id] else { return }
        if report.loss != nil { world.oracle.set(inputs: job.inputs, of: report.step) }
        guard jobRandom.below(3) == 0, let parameters = job.parameters(after: report.step) else { return }
        let past = coordinator?.machine.plan.past ?? 0
        savedStates.append(.init(step: report.step, past: past, parameters: parameters))
    }

    /// What made the data of the job that trained in a term.
    func inputs(ofTerm term: Int) -> UInt64? { world.jobOfTerm[term].flatMap { everyJob[$0]?.inputs } }

    /// A job takes over: what is behind it is done again.
    func noteTakeover(_ history: JobHistory) {
        guard let current = history.current, current.id != database.record?.jobs.current?.id else { return }
        (trained, floor) = (min(trained, current.since), min(floor, current.since))
        isTakenOver = true
        feats["job took over", default: 0] += 1
    }
}
