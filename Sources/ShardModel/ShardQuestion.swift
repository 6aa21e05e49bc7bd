package import Cluster
package import Tensors

/// What a question finds.
package enum ShardAnswer: Sendable {
    /// Rows and the first plane that the optimiser keeps of them, f32 [n, D] each, and when they took
    /// part in a step, i64 [n, 2].
    case rows(rows: Tensor, kept: Tensor, steps: Tensor)
    case hashes(SliceHashes)
}

/// What somebody asks of a shard besides the steps, answered in pieces: a step waits for one of them at most.
package protocol ShardQuestion: Sendable {
    /// Does the next piece.
    ///
    /// - Returns: the answer, nil while there is more to do.
    /// - Throws: `Refusal` if there is no answer.
    mutating func advance(_ model: ShardEngine) throws(Refusal) -> ShardAnswer?
}

/// Rows of some classes. Those of one answer may be as of different steps.
package struct RowsQuestion: ShardQuestion {
    private let ids: [Int64]
    private var answer: (rows: Tensor, kept: Tensor, steps: Tensor)?
    private var next = 0

    /// Bytes of an answer at most, but for one of a single row.
    package static let answerByteCount = 48 << 20
    /// Bytes of the rows of a piece.
    private static let pieceByteCount = 2 << 20

    /// - Throws: `Refusal` if these are no class ids, or too many.
    package init(ids: Tensor, embeddingSize: Int) throws(Refusal) {
        guard ids.dtype == .i64, ids.shape.count == 1 else {
            throw Refusal(.malformed, "class ids are \(ids.dtype) \(ids.shape), expected i64 [n]")
        }
        // A row is hundreds of times as long as its id: checked before any memory is asked for.
        let limit = Self.limit(embeddingSize: embeddingSize)
        guard ids.count <= limit else {
            throw Refusal(
                .tooLarge,
                "\(ids.count) rows are asked for at once; at most \(limit) are answered: ask for the rest later")
        }
        self.ids = ids.array(Int64.self)
    }

    /// Rows that are answered at once.
    package static func limit(embeddingSize: Int) -> Int {
        max(1, answerByteCount / (2 * embeddingSize * MemoryLayout<Float>.stride + 2 * MemoryLayout<Int64>.stride))
    }

    package mutating func advance(_ model: ShardEngine) throws(Refusal) -> ShardAnswer? {
        let size = model.embeddingSize
        let answer =
            answer ?? (
                Tensor(uninitialized: Float.self, shape: [ids.count, size]),
                Tensor(uninitialized: Float.self, shape: [ids.count, size]),
                Tensor(uninitialized: Int64.self, shape: [ids.count, 2])
            )
        self.answer = answer
        let piece = next..<min(ids.count, next + max(1, Self.pieceByteCount / (8 * size)))
        let (rows, kept, steps) = try model.read(ids: Array(ids[piece]))
        Self.copy(rows, to: answer.rows, at: piece.lowerBound)
        Self.copy(kept, to: answer.kept, at: piece.lowerBound)
        Self.copy(steps, to: answer.steps, at: piece.lowerBound)
        next = piece.upperBound
        guard next == ids.count else { return nil }
        return .rows(rows: answer.rows, kept: answer.kept, steps: answer.steps)
    }

    /// Copies rows of a tensor to the place of the first of them in another one, which nobody reads yet.
    private static func copy(_ part: Tensor, to whole: Tensor, at row: Int) {
        guard part.byteCount > 0 else { return }
        let rowByteCount = part.byteCount / part.shape[0]
        let target = whole.rawPointer + row * rowByteCount
        target.copyMemory(from: part.rawPointer, byteCount: part.byteCount)
        withExtendedLifetime((part, whole)) {}
    }
}

/// Hashes of everything that a shard owns, as of one committed step.
package struct HashesQuestion: ShardQuestion {
    /// What must not change from the first piece to the last.
    private struct Moment: Equatable {
        var committed: Int
        var prepared: StepID?
        var slices: SliceSet
        var denseSlices: SliceSet
    }

    private var moment: Moment?
    private var left: [Int] = []
    private var hashes: [Int: String] = [:]
    private var attempts = 0

    /// Bytes that are hashed in a piece; a slice is not divided.
    private static let pieceByteCount = 64 << 20
    private static let attemptLimit = 16

    package init() {}

    package mutating func advance(_ model: ShardEngine) throws(Refusal) -> ShardAnswer? {
        let now = Moment(
            committed: model.committed, prepared: model.prepared, slices: model.slices, denseSlices: model.denseSlices)
        if moment != now {
            guard attempts < Self.attemptLimit else {
                throw Refusal(
                    .busy,
                    "the state has changed \(attempts) times while it was hashed: pause the run first (`coordinator pause`)"
                )
            }
            attempts += 1
            moment = now
            left = model.slices.numbers.reversed()
            hashes = [:]
        }
        var byteCount = 0
        var piece: [Int] = []
        while byteCount < Self.pieceByteCount, let slice = left.popLast() {
            piece.append(slice)
            byteCount += model.byteCount(ofSlice: slice)
        }
        hashes.merge(model.sliceHashes(of: SliceSet(numbers: piece))) { $1 }
        guard left.isEmpty else { return nil }
        return .hashes(
            SliceHashes(step: now.committed, slices: hashes, denseSlices: model.denseHashes()))
    }
}
