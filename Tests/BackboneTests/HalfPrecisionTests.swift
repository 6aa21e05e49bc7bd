import Determinism
import Model
import Tensors
import TestSupport
import Testing
import Training

/// Training with operands in bf16, where the processor multiplies them.
@Suite(.tags(.fast), .enabled(if: InstructionSet.multipliesBF16), .timeLimit(.minutes(20)))
struct BackboneHalfPrecisionTests {
    private func worker(
        _ compute: BackboneCompute, threads: Int = 1, microBatchSize: Int = 8, memoryBudget: Int = 1 << 30
    ) throws -> BackboneWorker {
        let worker = try BackboneWorker(
            layout: ParameterLayout(smallConfiguration()), microBatchSize: microBatchSize,
            blocks: ParallelBlocks(threads: threads), memoryBudget: memoryBudget, compute: compute)
        let parameters = randomParameters(worker.layout, seed: 5)
        for segment in worker.layout.segments where segment.name.hasSuffix("prelu.weight") {
            for i in segment.range { parameters.mutable(Float.self)[i] += 0.7 }
        }
        try worker.load(parameters)
        return worker
    }

    /// Rounding to 8 bits changes embeddings and gradients, and by no more than that.
    @Test func isNearSinglePrecision() throws {
        let images = randomTensor([64, 3, 8, 8], seed: 1)
        let upstream = randomTensor([64, 8], seed: 2)
        func run(_ compute: BackboneCompute) throws -> (embeddings: [Float], gradient: [Float], layout: ParameterLayout)
        {
            let worker = try worker(compute)
            let embeddings = try worker.forward(images: images).array(Float.self)
            return (
                embeddings, try worker.backward(upstream, microBatches: 0..<8, of: 8).gradients.array(Float.self),
                worker.layout
            )
        }
        let (single, half) = (try run(.f32), try run(.bf16))
        let error = relativeError(half.embeddings, single.embeddings)
        #expect(error > 1e-4 && error < 0.03, "\(error)")
        // Not one-sided: the mean of the differences is far below their size.
        let differences = zip(half.embeddings, single.embeddings).map { Double($0 - $1) }
        let mean = differences.reduce(0, +) / Double(differences.count)
        let deviation = (differences.map { $0 * $0 }.reduce(0, +) / Double(differences.count)).squareRoot()
        #expect(abs(mean) < 5 * deviation / Double(differences.count).squareRoot(), "\(mean) of \(deviation)")
        for segment in single.layout.segments where segment.kind == .parameter {
            let norm = single.gradient[segment.range].map { Double($0) * Double($0) }.reduce(0, +).squareRoot()
            // Zero in theory, for example a bias that only normalisations see.
            if norm < 1e-3 { continue }
            let error = relativeError(half.gradient[segment.range], single.gradient[segment.range])
            #expect(error < 0.1, "\(segment.name): \(error)")
        }
    }

    /// The derivative along the gradient itself, over steps that rounding does not drown.
    @Test func theGradientIsThatOfTheLoss() throws {
        let worker = try worker(.bf16)
        let images = randomTensor([8, 3, 8, 8], seed: 1)
        let upstream = randomTensor([8, 8], seed: 2)
        let parameters = randomParameters(worker.layout, seed: 5)
        for segment in worker.layout.segments where segment.name.hasSuffix("prelu.weight") {
            for i in segment.range { parameters.mutable(Float.self)[i] += 0.7 }
        }
        try worker.load(parameters)
        _ = try worker.forward(images: images)
        let gradient = try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)
        for name in ["conv1.weight", "layer1.0.conv1.weight", "layer2.0.conv2.weight", "fc.weight"] {
            let segment = try #require(worker.layout[name])
            let norm = segment.range.map { Double(gradient[$0]) * Double(gradient[$0]) }.reduce(0, +).squareRoot()
            let size = segment.range.map { Double(parameters.array(Float.self)[$0]) }.map { $0 * $0 }.reduce(0, +)
                .squareRoot()
            func loss(_ signedStep: Double) throws -> Double {
                let moved = Tensor(parameters.array(Float.self))
                for element in segment.range {
                    moved.mutable(Float.self)[element] += Float(signedStep / norm * Double(gradient[element]))
                }
                try worker.load(moved)
                return dot(try worker.forward(images: images), upstream)
            }
            // Two step lengths, extrapolated to 0 (Richardson): long enough for rounding to average out.
            let step = 0.02 * size
            let wide = (try loss(step) - loss(-step)) / (2 * step)
            let narrow = (try loss(step / 2) - loss(-step / 2)) / step
            let difference = (4 * narrow - wide) / 3
            #expect(
                abs(difference - norm) < 0.05 * norm, "\(name): difference quotient \(difference), gradient \(norm)")
        }
    }

    /// Ranks, threads and recomputed activations do not change a bit.
    @Test(arguments: [[0..<5], [0..<2, 2..<5]], [0, 1 << 30])
    func sharesDoNotChangeABit(ranges: [Range<Int>], memoryBudget: Int) throws {
        let (images, upstream) = (randomTensor([20, 3, 8, 8], seed: 3), randomTensor([20, 8], seed: 4))
        func leaves(_ ranges: [Range<Int>], threads: Int, _ budget: Int) throws -> [UInt32] {
            try ranges.flatMap { range -> [UInt32] in
                let worker = try worker(.bf16, threads: threads, microBatchSize: 4, memoryBudget: budget)
                let samples = range.lowerBound * 4..<range.upperBound * 4
                return bits(try worker.forward(images: images.rows(samples)))
                    + bits(
                        try worker.backward(
                            upstream.rows(samples), microBatches: 0..<range.count, of: range.count
                        ).gradients)
            }
        }
        #expect(try leaves(ranges, threads: 2, memoryBudget) == leaves(ranges, threads: 1, 1 << 30))
    }
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct BackboneComputeTests {
    @Test func aProcessorThatCannotIsRefused() {
        #expect(BackboneCompute.bf16.problem(multipliesBF16: true, instructionSet: "amx") == nil)
        #expect(BackboneCompute.f32.problem(multipliesBF16: false, instructionSet: "avx2") == nil)
        let problem = BackboneCompute.bf16.problem(multipliesBF16: false, instructionSet: "avx2")
        #expect(problem?.contains("AVX512-BF16 or AMX, and this one has avx2") == true)
    }

    @Test func theFastestOfAProcessorIsChosen() {
        #expect(BackboneCompute(fastestOn: .avx512bf16) == .bf16)
        for kernels in [HeadKernels.portable, .avx2, .avx512f, nil] {
            #expect(BackboneCompute(fastestOn: kernels) == .f32)
        }
    }
}
