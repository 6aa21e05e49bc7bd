import CKernels
import Cluster
import Determinism
import Foundation
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// Products by fused multiply-adds: near the formulas, the same bits however a step is spread, and on every instruction set.
@Suite(.tags(.fast), .timeLimit(.minutes(20)), .serialized)
struct FusedProductTests {
    @Test(.enabled(if: GoldenCase.isAvailable), arguments: GoldenCase.names) func matchesTheFormulas(name: String)
        throws
    {
        let golden = try GoldenCase(name)
        let (labels, sampled) = (try golden.labels, try golden.sampled)
        for slices in [1, 16] {
            var configuration = try golden.configuration(slices: slices)
            configuration.compute = .fma
            for spread in GoldenTests.spreads(batch: labels.count) {
                let run = try HeadRun(configuration, spread, source: .safeTensors(path: golden.path))
                let outcome = try run.prepare(
                    step: 0, features: golden.features, labels: labels, learningRate: Float(try golden.number("lr")),
                    sampled: sampled)
                for (quantity, error) in zip(GoldenTests.quantities, try GoldenTests.errors(golden, outcome)) {
                    #expect(
                        error < 1e-4, "\(quantity) of \(name), \(slices) slices, \(spread): relative error \(error)")
                }
            }
        }
    }

    /// Sizes that no panel divides, more rows than a tile has, micro-batches with empty lanes.
    @Test(arguments: HalfPrecisionTests.formats, [48, 37]) func isTheSameHoweverItIsSpread(
        format: TableFormat, size: Int
    ) throws {
        var configuration = HeadConfiguration(
            classCount: 3001, embeddingSize: size, sliceCount: 8, seed: 5, scale: 32, sampleRate: 0.4,
            storage: format.rows, compute: .fma)
        configuration.keep(format)
        let reference = try HeadRun.outcomes(
            configuration, Spread(exchange: .features, shards: 1, workers: 1, microBatchSize: 4), steps: 3)
        for spread in [
            Spread(exchange: .features, shards: 3, workers: 2, microBatchSize: 4, threads: 3, scattered: true),
            Spread(exchange: .rows, shards: 2, workers: 3, microBatchSize: 4, threads: 2),
        ] {
            #expect(try HeadRun.outcomes(configuration, spread, steps: 3) == reference, "\(format), \(spread)")
        }
        configuration.compute = .f32
        let other = try HeadRun.outcomes(
            configuration, Spread(exchange: .features, shards: 1, workers: 1, microBatchSize: 4), steps: 1)
        let error = relativeError(reference[0].rowGradients, other[0].rowGradients.map(Double.init))
        #expect(error > 0 && error < 1e-5, "∂w differs from that of f32 by \(error)")
    }

    /// A process for each set would be needed to choose it: here the products are computed again one by one, as fma.h defines them.
    @Test func productsAreChainsOfMultiplyAdds() {
        let (samples, lanes, rows, padded, size) = (5, 16, 13, 24, 29)
        var random = KeyedRandom(seed: 3, purpose: .test)
        func numbers(_ count: Int) -> [Float] { (0..<count).map { _ in Float(random.unit() - 0.5) } }
        let (directions, centers, coefficients) = (
            numbers(samples * size), numbers(rows * size), numbers(padded * lanes)
        )
        let inverse = [Float](repeating: 1, count: rows)
        let wholeSize = (size + 11) / 12 * 12
        var byDimension = [Float](repeating: .nan, count: lanes * size)
        var bySample = [Float](repeating: .nan, count: samples * 32)
        var packed = [Float](repeating: .nan, count: wholeSize * padded)
        pfc_fma_pack_dimensions(directions, samples, lanes, size, &byDimension)
        pfc_fma_pack_samples(directions, samples, size, &bySample)
        pfc_fma_pack_rows(centers, inverse, rows, padded, size, &packed)
        var cosines = [Float](repeating: .nan, count: padded * lanes)
        pfc_fma_cosines(byDimension, lanes, packed, padded, size, &cosines)
        /// One chain of fused multiply-adds over pairs of numbers.
        func chain(_ count: Int, _ pair: (Int) -> (Float, Float)) -> Float {
            var sum: Float = 0
            for index in 0..<count {
                let (a, b) = pair(index)
                sum.addProduct(a, b)
            }
            return sum
        }
        for j in 0..<padded {
            for i in 0..<lanes {
                let isThere = j < rows && i < samples
                let expected = chain(isThere ? size : 0) { (directions[i * size + $0], centers[j * size + $0]) }
                #expect(cosines[j * lanes + i] == expected)
            }
        }

        var numerator = [Float](repeating: 0, count: wholeSize * lanes)
        let (kept, added) = ([Float](repeating: 0, count: lanes), [Float](repeating: 1, count: lanes))
        pfc_fma_numerator(coefficients, lanes, packed, rows, padded, size, kept, added, nil, &numerator)
        var unpacked = [Float](repeating: .nan, count: samples * size)
        pfc_fma_unpack(numerator, samples, size, &unpacked)
        for i in 0..<samples {
            for d in 0..<size {
                let expected = chain(rows) { (coefficients[$0 * lanes + i], centers[$0 * size + d]) }
                #expect(unpacked[i * size + d] == expected)
            }
        }

        var gradient = [Float](repeating: .nan, count: padded * size)
        coefficients.withUnsafeBufferPointer { c in
            bySample.withUnsafeBufferPointer { x in
                let leaf = pfc_fma_leaf(coefficients: c.baseAddress, directions: x.baseAddress)
                pfc_fma_row_gradient([leaf, leaf, leaf], 3, samples, lanes, padded, size, nil, &gradient)
            }
        }
        for j in 0..<padded {
            for d in 0..<size {
                let leaf = chain(samples) { (directions[$0 * size + d], coefficients[j * lanes + $0]) }
                #expect(gradient[j * size + d] == (leaf + leaf) + leaf)
            }
        }
    }

    /// exp within 2 units in the last place, through the coefficients of rows whose cosines give the logits.
    @Test func exponentialsAreExact() {
        let (lanes, rows) = (16, 2000)
        var margin = pfc_head_margin(scale: 64, m1: 1, m2: 0.5, m3: 0, filter: .infinity)
        let cosines = (0..<rows * lanes).map { Float($0) / Float(rows * lanes) * 2 - 1 }
        let targets = [Int32](repeating: -1, count: lanes)
        let (logZ, zeros) = ([Double](repeating: 40, count: lanes), [Float](repeating: 0, count: lanes))
        var coefficients = [Float](repeating: .nan, count: rows * lanes)
        pfc_fma_coefficients(
            &margin, cosines, targets, logZ, logZ, zeros, zeros, lanes, lanes, rows, rows, &coefficients)
        var worst = 0.0
        for (cosine, p) in zip(cosines, coefficients) {
            let logit = Double(64 * cosine - 40)
            if logit < -87 {
                #expect(p == 0)
            } else {
                worst = max(worst, abs(Double(p) / exp(logit) - 1))
            }
        }
        #expect(worst > 0 && worst < 2.5e-7, "relative error \(worst)")
    }
}
