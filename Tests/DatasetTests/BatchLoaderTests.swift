import Dataset
import Foundation
import Tensors
import TestSupport
import Testing

/// Images whose pixels tell their index; those in `broken` do not decode.
struct NumberedImages: ImageDataset {
    var sampleCount = 40
    var classCount = 10
    var imageShape = ImageShape(channels: 3, height: 2, width: 3)
    var problems: [DatasetError] = []
    var fingerprint: UInt64 = 0
    var broken: Set<Int> = []

    func label(of index: Int) -> Int { index % classCount }
    func origin(of index: Int) -> String { "image \(index)" }

    func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        if broken.contains(index) { throw DatasetError(.corruptImage, index: index, "is broken") }
        for position in 0..<imageShape.count { pixels[position] = UInt8(index * 6 + position / 3) }
    }
}

private func loader(
    _ images: NumberedImages = .init(), augmentation: Augmentation = .init(), layout: ImageLayout = .nchw,
    threads: Int = 2,
    badSamples: BadSamplePolicy = .fatal
) throws -> BatchLoader {
    var options = BatchLoaderOptions()
    options.augmentation = augmentation
    options.layout = layout
    options.threads = threads
    options.badSamples = badSamples
    let order = try DataOrder(seed: 4, sampleCount: images.sampleCount, batchSize: 12)
    return try BatchLoader(dataset: images, order: order, microBatchSize: 2, options: options)
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct BatchLoaderTests {
    @Test func batchesFollowTheOrder() throws {
        let loader = try loader()
        for step in [0, 1, 2, 9, 1] {
            let indices = loader.order.indices(step: step)
            let batch = try loader.batch(step: step, microBatches: 0..<6)
            #expect(batch.images.shape == [12, 3, 2, 3])
            #expect(batch.labels.array(Int64.self) == indices.map { Int64($0 % 10) })
            let values = batch.images.array(Float.self)
            for (row, index) in indices.enumerated() {
                // All three channels of pixel p have the value 6·index + p.
                for position in 0..<18 {
                    let expected = (Float(index * 6 + position % 6) / 255 - 0.5) / 0.5
                    #expect(values[row * 18 + position] == expected)
                }
            }
        }
    }

    @Test func channelsLastHasTheSameValues() throws {
        let planar = try loader().batch(step: 3, microBatches: 0..<1).images.array(Float.self)
        let last = try loader(layout: .nhwc).batch(step: 3, microBatches: 0..<1).images
        #expect(last.shape == [2, 2, 3, 3])
        for n in 0..<2 {
            for pixel in 0..<6 {
                for c in 0..<3 {
                    #expect(last.array(Float.self)[(n * 6 + pixel) * 3 + c] == planar[(n * 3 + c) * 6 + pixel])
                }
            }
        }
    }

    /// Cutting a step among ranks, in any order of requests and with any number of threads, changes no value.
    @Test func rangesThreadsAndHistoryDoNotMatter() throws {
        let augmentation = Augmentation(
            flip: true, maximumShift: 1, changes: PixelChange.Kind.allCases.map { PixelChange($0, probability: 0.5) })
        let whole = try loader(augmentation: augmentation, threads: 1)
        let parts = try loader(augmentation: augmentation, threads: 3)
        for (step, cuts) in [(5, [0, 6]), (6, [0, 1, 6]), (7, [0, 2, 2, 3, 6]), (2, [0, 5, 6]), (7, [0, 3, 6])] {
            let expected = try whole.batch(step: step, microBatches: 0..<6)
            var images: [Float] = []
            var labels: [Int64] = []
            for (from, to) in zip(cuts, cuts.dropFirst()) {
                let batch = try parts.batch(step: step, microBatches: from..<to)
                images += batch.images.array(Float.self)
                labels += batch.labels.array(Int64.self)
                #expect(
                    try parts.labels(step: step, microBatches: from..<to).array(Int64.self)
                        == batch.labels.array(Int64.self))
            }
            #expect(images == expected.images.array(Float.self))
            #expect(labels == expected.labels.array(Int64.self))
        }
    }

    @Test func concurrentRequestsAllFinish() async throws {
        let loader = try loader(threads: 2)
        let expected = try loader.batch(step: 4, microBatches: 0..<6).images.array(Float.self)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for task in 0..<8 {
                group.addTask {
                    let range = task % 2 == 0 ? 0..<6 : task % 6..<6
                    let images = try loader.batch(step: 4, microBatches: range).images.array(Float.self)
                    return images == Array(expected[(range.lowerBound * 36)...])
                }
            }
            for try await same in group { #expect(same) }
        }
    }

    @Test func flipAndShiftAreWhatTheySay() throws {
        let source: [UInt8] = [0, 51, 102, 153, 204, 255]
        let shape = ImageShape(channels: 1, height: 2, width: 3)
        func normalized(_ change: (inout Augmentation.Choice) -> Void) -> [Int] {
            var choice = Augmentation.Choice()
            change(&choice)
            let target = Tensor(zeros: Float.self, shape: [6])
            source.withUnsafeBufferPointer {
                ImageTensor.normalize($0, shape: shape, choice: choice, layout: .nchw, into: target.mutable(Float.self))
            }
            return target.array(Float.self).map { Int((($0 + 1) * 2.5).rounded()) }
        }
        #expect(normalized { _ in } == [0, 1, 2, 3, 4, 5])
        #expect(normalized { $0.flip = true } == [2, 1, 0, 5, 4, 3])
        #expect(normalized { $0.shiftX = 1 } == [0, 0, 1, 3, 3, 4])
        #expect(normalized { $0.shiftY = -1 } == [3, 4, 5, 3, 4, 5])
        let choices = (0..<4000).map {
            Augmentation(flip: true, maximumShift: 2).choice(seed: 1, step: $0 / 40, position: $0 % 40)
        }
        #expect((1800..<2200).contains(choices.count { $0.flip }))
        for shift in -2...2 { #expect((640..<960).contains(choices.count { $0.shiftX == shift })) }
        #expect((0..<100).allSatisfy { !Augmentation(maximumShift: 2).choice(seed: 1, step: $0, position: 0).flip })
    }

    /// Nothing but what is switched on is changed, in the order of the kinds, before the image is shifted and mirrored.
    @Test func changesAreMadeToPixelsFirst() throws {
        let plain = try loader().batch(step: 3, microBatches: 0..<6).images.array(Float.self)
        #expect(
            try loader(augmentation: Augmentation(changes: [])).batch(step: 3, microBatches: 0..<6).images.array(
                Float.self)
                == plain)
        let changes = [PixelChange(.erase, probability: 1), PixelChange(.photometric, probability: 0.5)]
        let augmentation = Augmentation(flip: true, maximumShift: 1, changes: changes)
        #expect(augmentation.changes.map(\.kind) == [.photometric, .erase])
        let loader = try loader(augmentation: augmentation)
        let images = try loader.batch(step: 3, microBatches: 0..<6).images.array(Float.self)
        #expect(images != plain)
        for (position, index) in loader.order.indices(step: 3).enumerated() {
            let shape = loader.dataset.imageShape
            let target = Tensor(zeros: Float.self, shape: [shape.count])
            var pixels = [UInt8](repeating: 0, count: shape.count)
            try pixels.withUnsafeMutableBufferPointer { pixels in
                try loader.dataset.image(at: index, into: pixels)
                for change in augmentation.changes {
                    try change.choice(shape: shape, seed: 4, step: 3, position: position)?.apply(
                        to: pixels, shape: shape)
                }
                ImageTensor.normalize(
                    UnsafeBufferPointer(pixels), shape: shape,
                    choice: augmentation.choice(seed: 4, step: 3, position: position), layout: .nchw,
                    into: target.mutable(Float.self))
            }
            #expect(Array(images[position * 18..<(position + 1) * 18]) == target.array(Float.self))
        }
    }

    @Test func mirrorImages() {
        let images = Tensor((0..<12).map { Float($0) }, shape: [1, 2, 2, 3])
        #expect(ImageTensor.flipped(images, layout: .nchw).array(Float.self) == [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9])
        let last = Tensor((0..<12).map { Float($0) }, shape: [1, 2, 3, 2])
        #expect(ImageTensor.flipped(last, layout: .nhwc).array(Float.self) == [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7])
    }

    @Test func brokenImagesAreFatalOrReplacedWithinTheirClass() throws {
        var images = NumberedImages()
        let order = try DataOrder(seed: 4, sampleCount: 40, batchSize: 12)
        let bad = order.indices(step: 0)[3]
        images.broken = [bad, (bad + 10) % 40]
        let error = try #require(throws: DatasetError.self) { try loader(images).batch(step: 0, microBatches: 0..<6) }
        #expect(error.index == bad)
        let skipping = try loader(images, badSamples: .skip)
        let expected = try loader().batch(step: 0, microBatches: 0..<6)
        let batch = try skipping.batch(step: 0, microBatches: 1..<2)
        #expect(batch.labels.array(Int64.self) == Array(expected.labels.array(Int64.self)[2..<4]))
        let value = batch.images.array(Float.self)[18]
        #expect(value == (Float((bad + 20) % 40 * 6) / 255 - 0.5) / 0.5)
        #expect(skipping.replacedSamples >= 1 && skipping.replacedProblems.contains { $0.index == bad })
    }

    /// A class without a readable image is left out: its place goes to the next sample in the order that can be read, and so
    /// does the label, wherever and however often it is asked for.
    @Test func classesWithoutAReadableImageAreLeftOut() throws {
        var images = NumberedImages()
        let order = try DataOrder(seed: 4, sampleCount: 40, batchSize: 12)
        let lost: Set<Int> = [order.indices(step: 0)[3] % 10, order.indices(step: 0)[4] % 10]
        images.broken = Set((0..<40).filter { lost.contains($0 % 10) })
        // The whole epoch, cyclically: 36 positions of the 40 are used.
        let planned = (0..<3).flatMap { order.indices(step: $0) }
        for threads in [1, 3] {
            let loader = try loader(images, threads: threads, badSamples: .skip)
            for step in 0..<3 {
                let labels = try loader.labels(step: step, microBatches: 1..<5)
                let samples = loader.samples(step: step, microBatches: 1..<5)
                let batch = try loader.batch(step: step, microBatches: 1..<5)
                #expect(batch.labels.array(Int64.self) == labels.array(Int64.self))
                #expect(loader.samples(step: step, microBatches: 1..<5) == samples)
                let values = batch.images.array(Float.self)
                for (row, sample) in samples.enumerated() {
                    #expect(labels.array(Int64.self)[row] == Int64(sample % 10))
                    #expect(values[row * 18] == (Float(sample * 6) / 255 - 0.5) / 0.5)
                    let position = step * 12 + 2 + row
                    if !lost.contains(planned[position] % 10) {
                        #expect(sample == planned[position])
                    } else if let next = planned[(position + 1)...].first(where: { !lost.contains($0 % 10) }) {
                        #expect(sample == next)
                    }
                }
            }
            #expect(loader.unreadableIdentities == lost.count)
            #expect(loader.replacedProblems.contains { $0.message.contains("is left out") })
        }
    }

    @Test func nothingReadableIsAnErrorAndNeverGray() throws {
        let images = NumberedImages(broken: Set(0..<40))
        let error = try #require(throws: DatasetError.self) {
            try loader(images, badSamples: .skip).labels(step: 0, microBatches: 0..<6)
        }
        #expect(error.code == .noSamples && error.message.contains("no image can be read"))
    }

    @Test func sizesMustFit() throws {
        let order = try DataOrder(seed: 4, sampleCount: 40, batchSize: 12)
        #expect(throws: DatasetError.self) {
            try BatchLoader(dataset: NumberedImages(), order: order, microBatchSize: 5)
        }
        #expect(throws: DatasetError.self) {
            try BatchLoader(dataset: NumberedImages(sampleCount: 41), order: order, microBatchSize: 2)
        }
        #expect(try loader().batch(step: 0, microBatches: 3..<3).images.shape == [0, 3, 2, 3])
    }
}
