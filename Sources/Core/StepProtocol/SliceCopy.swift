internal import Cluster

/// How far the copy of one slice is.
struct SliceCopy: Sendable {
    enum Progress: Sendable, Hashable {
        case asked(next: Duration)
        case storing
    }

    let owner: MemberID
    /// The term, the classes and the slice map under which it was begun.
    let term: Int
    let classVersion: Int
    let firstMap: Int
    /// Nothing new is asked for before this time.
    var pausedUntil: Duration?
    /// Pieces there are; known with the first.
    private(set) var chunkCount: Int?
    private(set) var storedChunks = 0
    var outstanding: [TransferRequest.Part: Progress] = [:]
    private var nextChunk = 0
    /// The oldest and the newest step that a chunk is as of.
    private(set) var oldest = Int.max
    private(set) var newest = -1
    /// Every record up to this step is replayed; nil while chunks are missing.
    private var replayed: Int?
    /// The step that is being replayed.
    var replaying: Int?

    init(owner: MemberID, _ plan: Plan, pausedUntil: Duration? = nil) {
        self.owner = owner
        term = plan.id.term
        classVersion = plan.classVersion
        firstMap = plan.mapVersion
        self.pausedUntil = pausedUntil
    }

    /// The step that the whole copy is as of, or nil while its parts are of different steps.
    var completeStep: Int? { replayed.flatMap { $0 >= newest ? $0 : nil } }

    /// Whether every piece there is has been stored.
    var hasEveryChunk: Bool { storedChunks == chunkCount }

    /// When something has to be asked for again.
    var nextDeadline: Duration? {
        var deadline = pausedUntil
        for case .asked(let next) in outstanding.values { deadline = min(deadline ?? next, next) }
        return deadline
    }

    /// Parts to ask for again. A pause that is over is forgotten.
    mutating func overdue(_ now: Duration) -> [TransferRequest.Part] {
        if let pausedUntil, pausedUntil <= now { self.pausedUntil = nil }
        return outstanding.compactMap { part, progress in
            if case .asked(let next) = progress, next <= now { part } else { nil }
        }.sorted { $0.order < $1.order }
    }

    mutating func repeatAll(at time: Duration) {
        for (part, progress) in outstanding where progress != .storing { outstanding[part] = .asked(next: time) }
    }

    mutating func postpone(to time: Duration) {
        for case (let part, .asked(let next)) in outstanding { outstanding[part] = .asked(next: max(next, time)) }
    }

    /// The next part to ask for, given the step that the plan says is committed.
    mutating func nextPart(committed: Int) -> TransferRequest.Part? {
        if let replayed {
            return replayed < max(committed, newest) && outstanding.isEmpty ? .record(after: replayed) : nil
        }
        guard nextChunk < chunkCount ?? 1 else { return nil }
        nextChunk += 1
        return .chunk(nextChunk - 1)
    }

    /// A chunk as of `step` has arrived. False if it does not fit the others.
    mutating func take(count: Int, step: Int) -> Bool {
        if count < 1 || chunkCount != nil && chunkCount != count { return false }
        chunkCount = count
        oldest = min(oldest, step)
        newest = max(newest, step)
        return true
    }

    mutating func stored(_ part: TransferRequest.Part) {
        outstanding[part] = nil
        switch part {
        case .chunk:
            storedChunks += 1
            if storedChunks == chunkCount { replayed = oldest }
        case .record:
            replayed = replaying
            replaying = nil
        }
    }
}

extension TransferRequest.Part {
    fileprivate var order: Int {
        switch self {
        case .chunk(let index): index
        case .record(let after): after
        }
    }
}
