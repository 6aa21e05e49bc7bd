internal import Foundation
internal import Tensors

/// Decodes one micro-batch on the calling thread.
struct MicroBatchDecoder: Sendable {
    let dataset: any Dataset
    let order: DataOrder
    let size: Int
    let options: BatchLoaderOptions
    let replaced = ReplacedSamples()

    /// The images of `microBatch` of `step`, f32, in the layout of the options.
    func images(step: Int, microBatch: Int) throws(DatasetError) -> Tensor {
        let shape = dataset.imageShape
        let positions = microBatch * size..<(microBatch + 1) * size
        let images = Tensor(uninitialized: Float.self, shape: options.layout.batchShape(size, shape))
        let target = images.mutable(Float.self)
        let pixels = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: shape.count)
        defer { pixels.deallocate() }
        for (row, index) in order.indices(step: step, positions: positions).enumerated() {
            try decode(index, into: pixels)
            let position = positions.lowerBound + row
            ImageTensor.normalize(
                UnsafeBufferPointer(pixels), shape: shape,
                choice: options.augmentation.choice(seed: order.seed, step: step, position: position),
                layout: options.layout,
                into: UnsafeMutableBufferPointer(rebasing: target[row * shape.count..<(row + 1) * shape.count]))
        }
        return images
    }

    private func decode(_ index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        do { return try dataset.image(at: index, into: pixels) } catch {
            if options.badSamples == .fatal { throw error }
            replaced.record(error)
        }
        let label = dataset.label(of: index)
        for offset in 1..<max(dataset.sampleCount, 1) {
            let candidate = (index + offset) % dataset.sampleCount
            guard dataset.label(of: candidate) == label else { continue }
            if (try? dataset.image(at: candidate, into: pixels)) != nil { return }
        }
        pixels.update(repeating: 128)
    }
}

/// Counts the images that were replaced, and keeps the first errors.
final class ReplacedSamples: @unchecked Sendable {
    private let lock = NSLock()
    private var total = 0
    private var errors: [DatasetError] = []

    var count: Int { lock.withLock { total } }
    var first: [DatasetError] { lock.withLock { errors } }

    func record(_ error: DatasetError) {
        lock.withLock {
            total += 1
            if errors.count < 100 { errors.append(error) }
        }
    }
}
