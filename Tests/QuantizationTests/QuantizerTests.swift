import Determinism
import Inference
import Model
import Quantization
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct QuantizerTests {
    private func run(
        _ options: QuantizationOptions, threads: Int = 2, kernels: InferenceKernels? = nil
    ) throws -> (Quantizer, Quantizer.Result) {
        let quantizer = Quantizer(
            smallNetwork(), options: options, kernels: try kernels ?? .best(), blocks: ParallelBlocks(threads: threads))
        return (quantizer, try quantizer.run(smallImages(6)))
    }

    private func options(_ change: (inout QuantizationOptions) -> Void = { _ in }) -> QuantizationOptions {
        var options = QuantizationOptions()
        options.bits = 7
        options.places = nil
        change(&options)
        return options
    }

    /// ReLU makes zero of what is no number: the layer is named before.
    @Test func valuesThatAreNotFiniteAreNamed() throws {
        let quantizer = Quantizer(
            smallNetwork(), options: options(), kernels: try .best(), blocks: ParallelBlocks(threads: 1))
        let images = smallImages(4)
        #expect(quantizer.firstNonFinite(images) == nil)
        images.mutable(Float.self)[2 * 192 + 7] = .nan
        let found = quantizer.firstNonFinite(images)
        #expect(found?.layer == "first" && found?.image == 2)
        let error = #expect(throws: NonFiniteValue.self) { try quantizer.run(images) }
        #expect(error == found)
    }

    /// Both networks' values, and patches: counted by hand where they are most, at `deep`.
    @Test func memoryIsCounted() throws {
        let quantizer = Quantizer(
            smallNetwork(), options: options(), kernels: try .best(), blocks: ParallelBlocks(threads: 1))
        // What `first` gave in both; patches of 16 places with 9·8 numbers three times, and results; images of the calibration and the check.
        let numbers = 2 * 128 + 16 * 3 * (72 + 8) + 2 * 192
        #expect(quantizer.peakBytes(images: 1) == 4 * numbers)
        #expect(quantizer.peakBytes(images: 1000) == 4000 * numbers)
        #expect(quantizer.peakBytes(images: .max / 2) == .max)
    }

    @Test(arguments: WeightObjective.allCases, [true, false])
    func theSearchNeverLosesWhatItHad(objective: WeightObjective, zeroPoint: Bool) throws {
        for bits in [4, 6, 8] {
            let (_, result) = try run(
                options {
                    $0.objective = objective
                    $0.zeroPoint = zeroPoint
                    $0.bits = bits
                })
            for layer in result.layers {
                #expect(layer.after >= layer.before && layer.after <= 1 + 1e-9, "\(layer)")
                #expect(zeroPoint || layer.zero == 0)
            }
        }
    }

    /// The paper's point: scales that are searched give an embedding that is nearer to the float network's.
    @Test func theSearchBeatsTheLargestValue() throws {
        func mean(_ change: (inout QuantizationOptions) -> Void) throws -> Double {
            let (_, result) = try run(options(change))
            return result.cosines.reduce(0, +) / Double(result.cosines.count)
        }
        let searched = try mean { $0.bits = 4 }
        let largest = try mean {
            $0.bits = 4
            $0.method = .range(.max)
        }
        #expect(1 - searched < 0.8 * (1 - largest), "\(searched) \(largest)")
        #expect(try mean { $0.bits = 8 } > 0.999)
    }

    @Test func scalesAreTheSameForAnyThreadsAndKernels() throws {
        let (_, first) = try run(options { $0.places = 5 })
        for kernels in InferenceKernels.all {
            for threads in [1, 2, 3] {
                let (_, other) = try run(options { $0.places = 5 }, threads: threads, kernels: kernels)
                #expect(other.integers == first.integers, "\(kernels.name), \(threads) threads")
                #expect(other.cosines == first.cosines)
            }
        }
        let (_, seeded) = try run(
            options {
                $0.places = 5
                $0.seed = 2
            })
        #expect(seeded.integers != first.integers)
    }

    /// What the calibration saw is what the engine computes.
    @Test func theCalibrationSeesTheEnginesBits() throws {
        let (quantizer, result) = try run(options())
        let float = quantizer.floatEmbeddings(smallImages(6))
        #expect(quantizer.cosines(result.integers, smallImages(6), float: float) == result.cosines)
    }

    @Test func layersMayHaveOtherBitsOrNone() throws {
        let (quantizer, result) = try run(options { $0.bitsOf = ["deep": 8, "last": 0] })
        #expect(result.layers.map(\.bits) == [7, 8, 7])
        #expect(result.integers.map { $0?.input.bits } == [7, 8, 7, nil])
        let float = quantizer.floatEmbeddings(smallImages(6))
        let order = quantizer.sensitivities(result.integers, smallImages(6), float: float)
        #expect(Set(order.map(\.layer)) == ["first", "deep", "joined"])
        #expect(order.map(\.gain) == order.map(\.gain).sorted(by: >))
    }

    @Test(arguments: RangeMethod.allCases) func methodsCoverWhatTheySay(method: RangeMethod) throws {
        for zeroPoint in [true, false] {
            let (_, result) = try run(
                options {
                    $0.method = .range(method)
                    $0.zeroPoint = zeroPoint
                })
            let first = try #require(result.integers[0]).input
            let (low, high) = (
                Float(-first.limit - first.zero) / first.scale, Float(first.limit - first.zero) / first.scale
            )
            // The images are uniform in ±1: nothing is gained by leaving more than a little of them out.
            #expect((-1.02 ... -0.9).contains(low) && (0.9...1.02).contains(high), "\(method) \(low)…\(high)")
            if method == .max { #expect(high >= 0.99) }
            // Behind the ReLU only a zero point makes use of all codes.
            #expect((try #require(result.integers[1]).input.zero == -63) == zeroPoint)
        }
    }
}
