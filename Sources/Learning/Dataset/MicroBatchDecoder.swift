internal import Foundation
internal import Tensors

/// The images of a micro-batch, f32, and the samples that they are of, for their labels.
struct MicroBatch: Sendable {
    var images: Tensor
    var samples: [Int]
}

/// Decodes one micro-batch on the calling thread.
struct MicroBatchDecoder: Sendable {
    /// How many samples of other identities are tried in place of one of an identity without a readable image.
    static let maximumReplacements = 10_000

    let dataset: any ImageDataset
    let order: DataOrder
    let size: Int
    let options: BatchLoaderOptions
    let replaced = ReplacedSamples()

    /// `microBatch` of `step`, in the layout of the options.
    func decode(step: Int, microBatch: Int) throws(DatasetError) -> MicroBatch {
        let shape = dataset.imageShape
        let positions = microBatch * size..<(microBatch + 1) * size
        let images = Tensor(uninitialized: Float.self, shape: options.layout.batchShape(size, shape))
        let target = images.mutable(Float.self)
        let pixels = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: shape.count)
        defer { pixels.deallocate() }
        var samples = order.indices(step: step, positions: positions)
        for row in samples.indices {
            let position = positions.lowerBound + row
            samples[row] = try decode(samples[row], step: step, position: position, into: pixels)
            try options.augmentation.change(
                pixels, shape: shape, seed: order.seed, step: step, position: position)
            ImageTensor.normalize(
                UnsafeBufferPointer(pixels), shape: shape,
                choice: options.augmentation.choice(seed: order.seed, step: step, position: position),
                layout: options.layout,
                into: UnsafeMutableBufferPointer(rebasing: target[row * shape.count..<(row + 1) * shape.count]))
        }
        return MicroBatch(images: images, samples: samples)
    }

    /// Decodes a sample, or what takes its place: another image of its identity, or else of another identity.
    ///
    /// - Returns: the sample whose label goes with the pixels.
    private func decode(
        _ index: Int, step: Int, position: Int, into pixels: UnsafeMutableBufferPointer<UInt8>
    ) throws(DatasetError) -> Int {
        do {
            try dataset.image(at: index, into: pixels)
            return index
        } catch {
            if options.badSamples == .fatal { throw error }
            replaced.record(error)
        }
        if decodeSibling(of: index, into: pixels) { return index }
        let other = order.replacement(step: step, position: position, limit: Self.maximumReplacements) { candidate in
            if replaced.isUnreadable(dataset.label(of: candidate)) { return false }
            if (try? dataset.image(at: candidate, into: pixels)) != nil { return true }
            return decodeSibling(of: candidate, into: pixels)
        }
        guard let other else {
            throw DatasetError(
                .noSamples,
                "no image can be read: neither \(dataset.origin(of: index)) nor any of the next \(min(Self.maximumReplacements, dataset.sampleCount - 1)) samples"
            )
        }
        return other
    }

    /// Decodes the next readable image of the identity of `index`, in order of sample index, cyclically.
    ///
    /// - Returns: false if the identity has none but perhaps `index` itself, which did not decode.
    private func decodeSibling(of index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) -> Bool {
        let label = dataset.label(of: index)
        if replaced.isUnreadable(label) { return false }
        if let known = replaced.sibling(of: index), (try? dataset.image(at: known, into: pixels)) != nil { return true }
        for offset in 1..<max(dataset.sampleCount, 1) {
            let candidate = (index + offset) % dataset.sampleCount
            guard dataset.label(of: candidate) == label else { continue }
            if (try? dataset.image(at: candidate, into: pixels)) != nil {
                replaced.remember(candidate, insteadOf: index)
                return true
            }
        }
        replaced.leaveOut(label, dataset.origin(of: index))
        return false
    }
}

/// Counts the images that were replaced and the identities that have none, and keeps the first errors.
final class ReplacedSamples: @unchecked Sendable {
    private static let remembered = 1 << 20

    private let lock = NSLock()
    private var total = 0
    private var errors: [DatasetError] = []
    private var unreadable: Set<Int> = []
    private var siblings: [Int: Int] = [:]
    private var named: Set<Int> = []

    var count: Int { lock.withLock { total } }
    var first: [DatasetError] { lock.withLock { errors } }
    var unreadableIdentities: Int { lock.withLock { unreadable.count } }

    func record(_ error: DatasetError) {
        lock.withLock {
            total += 1
            // Named once, however often its turn comes.
            if named.count < 100, error.index.map({ named.insert($0).inserted }) ?? true { keep(error) }
        }
    }

    func isUnreadable(_ label: Int) -> Bool { lock.withLock { unreadable.contains(label) } }

    /// Notes that no image of a class can be read.
    func leaveOut(_ label: Int, _ origin: String) {
        lock.withLock {
            guard unreadable.insert(label).inserted else { return }
            keep(
                DatasetError(
                    .noSamples,
                    "no image of class \(label) (\(origin)) can be read: the class is left out, samples of others take its place"
                ))
        }
    }

    /// The image that was decoded before in place of `index`.
    func sibling(of index: Int) -> Int? { lock.withLock { siblings[index] } }

    func remember(_ sibling: Int, insteadOf index: Int) {
        lock.withLock { if siblings.count < Self.remembered { siblings[index] = sibling } }
    }

    private func keep(_ error: DatasetError) { if errors.count < 100 { errors.append(error) } }
}
