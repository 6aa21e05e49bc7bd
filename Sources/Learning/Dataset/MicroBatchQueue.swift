internal import Foundation

/// Micro-batches that are wanted, being decoded, or ready; and the threads that decode them.
///
/// Holds at most the micro-batches of the last request and of the steps ahead of it, so memory is bounded.
final class MicroBatchQueue: @unchecked Sendable {
    private struct Key: Hashable {
        var step: Int
        var microBatch: Int
    }

    let decoder: MicroBatchDecoder
    /// Guards everything below.
    private let condition = NSCondition()
    private var wanted: [Key] = []
    private var running: Set<Key> = []
    private var ready: [Key: Result<MicroBatch, DatasetError>] = [:]
    private var stopped = false

    init(decoder: MicroBatchDecoder, threads: Int) {
        self.decoder = decoder
        for _ in 0..<threads {
            let thread = Thread { self.run() }
            thread.name = "image decoder"
            thread.start()
        }
    }

    /// Lets the threads end. Requests after this fail.
    func stop() {
        condition.withLock {
            stopped = true
            condition.broadcast()
        }
    }

    /// Waits for `microBatches` of `step`, in order, and lets the same ones of the next `ahead` steps be decoded.
    func take(step: Int, microBatches: Range<Int>, ahead: Int) throws(DatasetError) -> [MicroBatch] {
        let needed = microBatches.map { Key(step: step, microBatch: $0) }
        let later = (0..<ahead).flatMap { offset in microBatches.map { Key(step: step + 1 + offset, microBatch: $0) } }
        condition.lock()
        defer { condition.unlock() }
        let keep = Set(needed + later)
        ready = ready.filter { keep.contains($0.key) }
        wanted = (needed + later).filter { ready[$0] == nil && !running.contains($0) }
        condition.broadcast()
        while needed.contains(where: { ready[$0] == nil }) {
            // A concurrent request of other micro-batches may have dropped ours: want them again.
            let lost = needed.filter { ready[$0] == nil && !running.contains($0) && !wanted.contains($0) }
            if !lost.isEmpty {
                wanted.insert(contentsOf: lost, at: 0)
                condition.broadcast()
            }
            if stopped { throw DatasetError(.invalidOption, "the batch loader was stopped") }
            condition.wait()
        }
        var taken: [MicroBatch] = []
        var failure: DatasetError?
        for key in needed {
            switch ready.removeValue(forKey: key) {
            case .success(let microBatch): taken.append(microBatch)
            case .failure(let error): failure = failure ?? error
            case nil: break
            }
        }
        if let failure { throw failure }
        return taken
    }

    private func run() {
        condition.lock()
        while !stopped {
            guard !wanted.isEmpty else {
                condition.wait()
                continue
            }
            let key = wanted.removeFirst()
            running.insert(key)
            condition.unlock()
            let result: Result<MicroBatch, DatasetError>
            do throws(DatasetError) {
                result = .success(try decoder.decode(step: key.step, microBatch: key.microBatch))
            } catch { result = .failure(error) }
            condition.lock()
            running.remove(key)
            ready[key] = result
            condition.broadcast()
        }
        condition.unlock()
    }
}
